"""Open, verify and write the folder that an export makes. Standard library only.

`manifest.json` says what was promised, and the size and SHA-256 of every other file. Each format has one main
file named `model.*` and whatever that needs beside it.
"""

import dataclasses
import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vtp_export.errors import ArtefactError, SpecError
from vtp_export.json_records import to_json
from vtp_export.runtime.replacing import abandoned, locked, replacing, write_atomically
from vtp_export.spec import EngineRecord, FileRecord, Manifest, Scalar, manifest_from_json

MANIFEST = "manifest.json"
CHUNK_BYTES = 1 << 20
ADDING = ".adding-"
"""Begins the name of a folder inside an artefact whose files are not yet part of it."""


@dataclass(frozen=True)
class Artefact:
    """A folder whose manifest has been read; the files are checked by `verify`."""

    folder: Path
    manifest: Manifest

    def verify(self, fmt: str | None = None) -> None:
        """Check that the files are those that were written.

        Args:
            fmt: check this format's files only; None checks all.

        Raises:
            ArtefactError: no such format, or a file is missing, or has another size or other bytes.
        """
        names = sorted(self.manifest.files) if fmt is None else self._names_of(fmt)
        if not names:
            raise ArtefactError(f"the artefact '{self.folder}' records no files; export it again")
        for name in names:
            _verify_file(self.folder, name, self.manifest.files[name])

    def model_file(self, fmt: str) -> Path:
        """The file that a runtime opens for a format: `model.onnx`, `model.ts`, `model.pt2`, ...

        Raises:
            ArtefactError: the artefact has no such format; the message lists those it has.
        """
        for name in self._names_of(fmt):
            if "/" not in name and name.startswith("model.") and not name.endswith((".data", ".json")):
                return self.folder / name
        raise ArtefactError(f"the artefact '{self.folder}' has no 'model.*' for '{fmt}'; export it again")

    def _names_of(self, fmt: str) -> list[str]:
        names = sorted(name for name, record in self.manifest.files.items() if record.format == fmt)
        if not names:
            present = ", ".join(self.manifest.formats()) or "none"
            raise ArtefactError(f"the artefact '{self.folder}' has no format '{fmt}'; it has: {present}")
        return names


def open_artefact(folder: Path) -> Artefact:
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
    for name in manifest.files:
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


def record_files(folder: Path, fmt: str, paths: Iterable[Path]) -> dict[str, FileRecord]:
    """Measure files for the manifest.

    Args:
        folder: the artefact's folder.
        fmt: the format they belong to.
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
            records[name] = FileRecord(format=fmt, bytes=full.stat().st_size, sha256=_sha256(full))
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
    open_artefact(folder).model_file(fmt)
    with locked(folder):  # two validations at once must not lose one another's numbers
        manifest = open_artefact(folder).manifest
        validation = {**manifest.validation, fmt: dict(values)}
        write_manifest(folder, dataclasses.replace(manifest, validation=validation))


@contextmanager
def extending(folder: Path, fmt: str) -> Iterator[tuple[Path, dict[str, EngineRecord]]]:
    """Add files of a format to an artefact; a process that is killed meanwhile leaves the artefact as it was.

    Yields a fresh folder for the files, and a dictionary for what each was compiled on. When the block ends well they
    move into the artefact. The folder lies inside of the artefact, which may be a mount of its own; one that a killed
    process left is removed by the next. Files of the same names are withdrawn before they are replaced, and so is what
    validation measured for the format: at no instant does the manifest tell of other bytes than those that are there.

    Raises:
        ArtefactError: no artefact there, or it cannot be written.
    """
    folder = Path(folder)
    open_artefact(folder)
    engines: dict[str, EngineRecord] = {}
    try:
        for left in folder.glob(f"{ADDING}*"):
            if abandoned(left):
                shutil.rmtree(left, ignore_errors=True)
        place = Path(tempfile.mkdtemp(prefix=ADDING, dir=folder))
    except OSError as error:
        raise ArtefactError(f"cannot write '{folder}': {error.strerror}") from error
    try:
        with locked(place):
            yield place, engines
            with locked(folder):
                _take_in(folder, place, fmt, engines)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _take_in(folder: Path, place: Path, fmt: str, engines: Mapping[str, EngineRecord]) -> None:
    manifest, new = open_artefact(folder).manifest, sorted(path.name for path in place.iterdir())
    records = record_files(place, fmt, [Path(name) for name in new])
    before = dataclasses.replace(
        manifest,
        files={name: record for name, record in manifest.files.items() if name not in new},
        engines={name: record for name, record in manifest.engines.items() if name not in new},
        validation={name: values for name, values in manifest.validation.items() if name != fmt},
    )
    if before != manifest:
        write_manifest(folder, before)
    try:
        for name in new:
            (place / name).replace(folder / name)
    except OSError as error:
        raise ArtefactError(f"cannot write '{folder / name}': {error.strerror}") from error
    known, built = {**before.files, **records}, {**before.engines, **engines}
    write_manifest(folder, dataclasses.replace(before, files=known, engines=built))


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
