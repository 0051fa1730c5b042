"""Open, verify and write the folder that an export makes. Standard library only.

`manifest.json` says what was promised, and what was built: for each build the file that a runtime opens, and the size
and SHA-256 of that and of all files beside it.
"""

import dataclasses
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vtp_export.errors import ArtefactError, SpecError
from vtp_export.json_records import to_json
from vtp_export.runtime.replacing import abandoned, locked, replacing
from vtp_export.runtime.writing import write_atomically
from vtp_export.spec import Build, FileRecord, Manifest, Scalar, manifest_from_json

MANIFEST = "manifest.json"
CHUNK_BYTES = 1 << 20
ADDING = ".adding-"
"""Begins the name of a folder inside an artefact whose files are not yet part of it."""


@dataclass(frozen=True)
class Artefact:
    """A folder whose manifest has been read; the files are checked by `verify`."""

    folder: Path
    manifest: Manifest

    def builds(self, fmt: str) -> tuple[Build, ...]:
        """The builds of a format, at least one.

        Raises:
            ArtefactError: the artefact has no such format; the message lists those it has.
        """
        builds = tuple(build for build in self.manifest.builds if build.format == fmt)
        if not builds:
            present = ", ".join(self.manifest.formats()) or "none"
            raise ArtefactError(f"the artefact '{self.folder}' has no format '{fmt}'; it has: {present}")
        return builds

    def verify(self, build: Build | None = None) -> None:
        """Check that the files are those that were written.

        Args:
            build: check this build's files only; None checks all.

        Raises:
            ArtefactError: nothing was built, or a file is missing, or has another size or other bytes.
        """
        builds = self.manifest.builds if build is None else (build,)
        if not builds:
            raise ArtefactError(f"the artefact '{self.folder}' records no files; export it again")
        records = {(name, record) for each in builds for name, record in each.files.items()}  # builds may share files
        for name, record in sorted(records, key=lambda pair: pair[0]):
            _verify_file(self.folder, name, record)


def open_artefact(folder: str | Path) -> Artefact:
    """Read an artefact's manifest; call `Artefact.verify` before a runtime sees a byte of its files.

    Raises:
        ArtefactError: no such folder, no manifest in it, one that cannot be read or has another schema, or a
            file name that leads out of the folder.

    Example:
        >>> open_artefact(Path("missing"))
        Traceback (most recent call last):
        vtp_export.errors.ArtefactError: no artefact folder 'missing'; make one with 'vtp-export export'
    """
    folder = Path(folder)
    path = folder / MANIFEST
    try:
        if not folder.exists():
            raise ArtefactError(f"no artefact folder '{folder}'; make one with 'vtp-export export'")
        if not folder.is_dir():
            raise ArtefactError(f"'{folder}' is a file; an artefact is a folder with a {MANIFEST}")
        if not path.exists():
            raise ArtefactError(f"'{folder}' is not an artefact: it has no {MANIFEST}")
        manifest = manifest_from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ArtefactError(f"the manifest '{path}' cannot be read: {error}") from error
    except SpecError as error:
        raise ArtefactError(f"the manifest '{path}' cannot be used: {error}") from error
    for build in manifest.builds:
        for name in build.files:
            _refuse_escape(folder, name)
    return Artefact(folder, manifest)


@contextmanager
def writing(out: Path, force: bool) -> Iterator[Path]:
    """Write an artefact as a whole or not at all.

    Yields a temporary folder beside `out`. When the block ends well it takes the name `out`, at once; when it
    does not, KeyboardInterrupt included, nothing is left of it. What a killed process left behind is removed
    by the next writer of the same name.

    Args:
        out: the artefact's folder; parents are made as needed.
        force: replace an artefact (or an empty folder) that is there. Nothing else is ever replaced.

    Raises:
        ArtefactError: `out` is there and may not be replaced, or it cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as home, writing(Path(home, "out"), force=False) as folder:
        ...     _ = (folder / "model.onnx").write_bytes(b"...")
    """
    with replacing(Path(out), force, _why_not_replaceable) as partial:
        yield partial


def record_files(folder: Path, paths: Iterable[Path]) -> dict[str, FileRecord]:
    """Measure files for the manifest.

    Args:
        folder: the artefact's folder.
        paths: files inside `folder`, absolute or relative to it.

    Returns:
        File name (relative, with forward slashes) to record.

    Raises:
        ArtefactError: a file is missing or lies outside of `folder`.
    """
    records = {}
    for path in paths:
        full = folder / path
        name = full.relative_to(folder).as_posix() if full.is_relative_to(folder) else str(path)
        _refuse_escape(folder, name)
        try:
            records[name] = FileRecord(full.stat().st_size, _sha256(full))
        except OSError as error:
            raise ArtefactError(f"cannot record '{full}': {error.strerror}") from error
    return dict(sorted(records.items()))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write, or replace, the manifest: a reader finds the old one or the new one.

    Raises:
        ArtefactError: it holds a NaN or an infinity, or the folder cannot be written.
    """
    try:
        text = to_json(manifest)
    except (TypeError, ValueError) as error:
        raise ArtefactError(f"the manifest of '{folder}' has what JSON cannot hold: {error}") from error
    write_atomically(Path(folder) / MANIFEST, text)


def record_validation(folder: Path, fmt: str, values: Mapping[str, Scalar]) -> None:
    """Put what validation measured for a format into the manifest, replacing what was there for that format.

    Raises:
        ArtefactError: no artefact there, no such format in it, or the folder cannot be written.
    """
    folder = Path(folder)
    open_artefact(folder).builds(fmt)
    with locked(folder):  # two validations at once must not lose one another's numbers
        manifest = open_artefact(folder).manifest
        validation = {**manifest.validation, fmt: dict(values)}
        write_manifest(folder, dataclasses.replace(manifest, validation=validation))


def add_build(folder: Path, make: Callable[[Path], Build]) -> Build:
    """Add a build to an artefact; a process that is killed meanwhile leaves the artefact as it was.

    The files are made in a fresh folder inside of the artefact, which may be a mount of its own, and move up when they
    are whole; a folder that a killed process left is removed by the next. A build with the same main file is withdrawn
    before its files are replaced, and so is what validation measured for the format: at no instant does the manifest
    tell of other bytes than those that are there.

    Args:
        folder: the artefact.
        make: writes files into the folder that it is given, and returns their record.

    Raises:
        ArtefactError: no artefact there, it cannot be written, or a file of another format has the name of a new one.
    """
    folder = Path(folder)
    open_artefact(folder)
    try:
        for left in folder.glob(f"{ADDING}*"):
            if abandoned(left):
                shutil.rmtree(left, ignore_errors=True)
        place = Path(tempfile.mkdtemp(prefix=ADDING, dir=folder))
    except OSError as error:
        raise ArtefactError(f"cannot write '{folder}': {error.strerror}") from error
    try:
        with locked(place):
            build = make(place)
            with locked(folder):
                _take_in(folder, place, build)
        return build
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _take_in(folder: Path, place: Path, build: Build) -> None:
    manifest = open_artefact(folder).manifest
    for other in manifest.builds:
        if other.format != build.format and (shared := sorted(set(other.files) & set(build.files))):
            raise ArtefactError(f"{build.format} would replace '{shared[0]}', which belongs to {other.format}")
    before = dataclasses.replace(
        manifest,
        builds=tuple(other for other in manifest.builds if not set(other.files) & set(build.files)),
        validation={name: values for name, values in manifest.validation.items() if name != build.format},
    )
    if before != manifest:
        write_manifest(folder, before)
    for name in sorted(build.files):
        try:
            (place / name).replace(folder / name)
        except OSError as error:
            raise ArtefactError(f"cannot write '{folder / name}': {error.strerror}") from error
    write_manifest(folder, dataclasses.replace(before, builds=(*before.builds, build)))


def _why_not_replaceable(out: Path) -> str | None:
    if not out.is_dir():
        return "it is not a folder"
    if any(out.iterdir()) and not (out / MANIFEST).is_file():
        return f"it is not an artefact (it has no {MANIFEST}), and its files are not ours to remove"
    return None


def _refuse_escape(folder: Path, name: str) -> None:
    """A manifest from elsewhere must not make a runtime open a file outside of the artefact."""
    pure = PurePosixPath(name)
    plain = bool(name) and not pure.is_absolute() and ".." not in pure.parts and pure.as_posix() == name
    if not plain or name in (".", MANIFEST) or any(letter in name for letter in "\\:\0"):
        raise ArtefactError(f"the artefact '{folder}' names the file {name!r}, not a plain name inside it")
    try:
        inside = (folder / name).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:
        raise ArtefactError(f"the file '{folder / name}' cannot be followed: {error}") from error
    if not inside:
        raise ArtefactError(f"the file '{folder / name}' leads out of the artefact; copy the file itself")


def _verify_file(folder: Path, name: str, record: FileRecord) -> None:
    path = folder / name
    again = "copy the artefact or export it again"
    try:
        if not path.is_file():
            raise ArtefactError(f"the file '{path}' is missing; {again}")
        size = path.stat().st_size
        if size != record.bytes:
            raise ArtefactError(f"the file '{path}' has {size} bytes, not {record.bytes}; {again}")
        if (digest := _sha256(path)) != record.sha256:
            raise ArtefactError(f"the file '{path}' is damaged: its SHA-256 is {digest}, not {record.sha256}; {again}")
    except OSError as error:
        raise ArtefactError(f"the file '{path}' cannot be read: {error.strerror}") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
