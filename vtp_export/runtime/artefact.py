"""Open and verify the folder that an export makes. Standard library only. What writes into it is in `changing.py`.

`manifest.json` says what was promised, and what was built: for each build the file that a runtime opens, and the size
and SHA-256 of that and of all files beside it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from vtp_export.arguments import path_of
from vtp_export.errors import ArtefactError, SpecError, VtpError
from vtp_export.json_records import read_text
from vtp_export.manifests import manifest_from_json
from vtp_export.precision_plans import PrecisionPlan, read_plan
from vtp_export.spec import Build, FileRecord, Manifest

Result = TypeVar("Result")

MANIFEST = "manifest.json"
GRIDS = "grids.json"
"""In a folder of several artefacts, each for a grid of its own; see `grids.py`."""

CHUNK_BYTES = 1 << 20
ATTEMPTS = 3
"""So often is an artefact opened that others exchange meanwhile."""


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
            build: check this build's files only; None checks all that the manifest names.

        Raises:
            ArtefactError: nothing was built, or a file is missing, or has another size or other bytes.
        """
        builds = self.manifest.builds if build is None else (build,)
        if not builds:
            raise ArtefactError(f"the artefact '{self.folder}' records no files; export it again")
        records = {(name, record) for each in builds for name, record in each.files.items()}  # builds may share files
        if build is None:
            records |= {*self.manifest.golden.items(), *self.manifest.shared_files.items()}
        for name, record in sorted(records, key=lambda pair: pair[0]):
            verify_file(self.folder, name, record)

    def plan(self) -> PrecisionPlan | None:
        """What stays in float32 in int8, and why; None where no such file was written.

        Raises:
            ArtefactError: the file is missing or damaged, or no plan.
        """
        for name, record in self.manifest.precision.files.items():
            verify_file(self.folder, name, record)
            try:
                return read_plan(self.folder / name)
            except SpecError as error:
                raise ArtefactError(f"{error}; export again") from error
        return None

    def paths(self) -> list[Path]:
        """All that it is made of: the manifest, and every file that this tells of."""
        m = self.manifest
        names = [MANIFEST, *m.golden, *m.shared_files, *(name for build in m.builds for name in build.files)]
        return [self.folder / name for name in names]

    def is_replaced(self, *builds: Build) -> bool:
        """Whether the folder holds another artefact by now, or none, or has lost one of the builds named.

        What validation measured, and what has been built besides, may have been added.
        """
        try:
            now = open_artefact(self.folder).manifest
        except ArtefactError:
            return True
        return now.identity() != self.manifest.identity() or any(build not in now.builds for build in builds)

    def refuse_replaced(self, *builds: Build) -> None:
        """See that the folder still holds this artefact.

        Raises:
            ArtefactError: `is_replaced`.
        """
        if self.is_replaced(*builds):
            raise ArtefactError(f"the artefact '{self.folder}' was replaced meanwhile; start again")


def open_artefact(folder: str | Path) -> Artefact:
    """Read an artefact's manifest; call `Artefact.verify` before a runtime sees a byte of its files.

    Raises:
        SpecError: no path.
        ArtefactError: no such folder, no manifest in it, one that cannot be read or has another schema, or a
            file name that is no plain one.

    Example:
        >>> open_artefact(Path("missing"))
        Traceback (most recent call last):
        vtp_export.errors.ArtefactError: no artefact folder 'missing'; make one with 'vtp-export export'
    """
    folder = path_of("the artefact", folder)
    path = folder / MANIFEST
    try:
        if not folder.exists():
            raise ArtefactError(f"no artefact folder '{folder}'; make one with 'vtp-export export'")
        if not folder.is_dir():
            raise ArtefactError(f"'{folder}' is a file; an artefact is a folder with a {MANIFEST}")
        if (folder / GRIDS).exists():
            grids = ", ".join(f"'{one.parent}'" for one in sorted(folder.glob(f"*/{MANIFEST}"))) or "none is left"
            raise ArtefactError(f"'{folder}' holds several grids, and this takes one; name it: {grids}")
        if not path.exists():
            raise ArtefactError(f"'{folder}' is not an artefact: it has no {MANIFEST}")
        text = read_text(path, f"the manifest '{path}'")
    except OSError as error:
        raise ArtefactError(f"the artefact folder '{folder}' cannot be read: {error.strerror}") from error
    except SpecError as error:
        raise ArtefactError(str(error)) from error
    try:
        manifest = manifest_from_json(text)
    except SpecError as error:
        raise ArtefactError(f"the manifest '{path}' cannot be used: {error}") from error
    for files in (manifest.golden, manifest.shared_files, *(build.files for build in manifest.builds)):
        for name in files:
            _refuse_strange(folder, name)
    return Artefact(folder, manifest)


def steadily(
    folder: str | Path, use: Callable[[Artefact], Result], discard: Callable[[Result], None] = lambda _: None
) -> Result:
    """Use an artefact that others may exchange or add to at any time, and see that it was one and the same throughout.

    What `use` has returned or refused counts only if the artefact afterwards is the one before; otherwise it is opened
    again, a few times.

    Args:
        folder: the artefact.
        use: reads its files.
        discard: takes what `use` has returned of an artefact that was replaced meanwhile.

    Raises:
        ArtefactError: as `open_artefact`, or it was replaced again and again.
        VtpError: what `use` has raised.
    """
    folder = path_of("the artefact", folder)
    for _ in range(ATTEMPTS):
        before = stamp(folder / MANIFEST)
        artefact = open_artefact(folder)
        builds = artefact.manifest.builds
        try:
            result = use(artefact)
        except (VtpError, OSError):
            if stamp(folder / MANIFEST) == before and not artefact.is_replaced(*builds):
                raise
            continue
        if not artefact.is_replaced(*builds):
            return result
        discard(result)
    times = f"{ATTEMPTS} times in a row"
    raise ArtefactError(f"the artefact '{folder}' was replaced meanwhile, {times}; start again when its writer is done")


def stamp(path: Path) -> tuple[int, ...]:
    """Of a manifest as a file, empty where there is none: what was replaced twice may be equal to what it was."""
    try:
        now = path.stat()
    except (OSError, ValueError):
        return ()
    return now.st_dev, now.st_ino, now.st_mtime_ns, now.st_ctime_ns


def _refuse_strange(folder: Path, name: str) -> None:
    pure = PurePosixPath(name)
    plain = bool(name) and not pure.is_absolute() and ".." not in pure.parts and pure.as_posix() == name
    if not plain or name in (".", MANIFEST) or any(letter in name for letter in "\\:\0") or not name.isprintable():
        raise ArtefactError(f"the artefact '{folder}' names the file {name!r}, not a plain name inside it")


def refuse_escape(folder: Path, name: str) -> None:
    """See that a manifest, which may be from elsewhere, makes no runtime open a file outside of the artefact.

    Links may lead to other files of the artefact, and of a Hugging Face cache that the artefact is in.

    Raises:
        ArtefactError: the name is no plain one, or leads elsewhere.
    """
    _refuse_strange(folder, name)
    try:
        home, place = folder.resolve(), (folder / name).resolve()
    except (OSError, RuntimeError) as error:
        raise ArtefactError(f"the file '{folder / name}' cannot be followed: {error}") from error
    if not any(place.is_relative_to(root) for root in (home, *_blobs(home))):
        raise ArtefactError(f"the file '{folder / name}' leads out of the artefact; copy the file itself")


def _blobs(home: Path) -> list[Path]:
    """Where the files of a Hugging Face cache are to which those of a snapshot are links.

    Example:
        >>> [str(path) for path in _blobs(Path("/hub/models--a--b/snapshots/0123/llava64"))]
        ['/hub/models--a--b/blobs']
    """
    return [at.parent.parent / "blobs" for at in (home, *home.parents) if at.parent.name == "snapshots"]


def verify_file(folder: Path, name: str, record: FileRecord) -> None:
    """Check that a file is the one that was written.

    Raises:
        ArtefactError: it leads out of the folder, is missing, no regular file, or has another size or other bytes.
    """
    refuse_escape(folder, name)
    path = folder / name
    again = "copy the artefact or export it again"
    try:
        if not path.exists():
            raise ArtefactError(f"the file '{path}' is missing; {again}")
        if not path.is_file():
            raise ArtefactError(f"'{path}' is no regular file; {again}")
        size = path.stat().st_size
        if size != record.bytes:
            raise ArtefactError(f"the file '{path}' has {size} bytes, not {record.bytes}; {again}")
        if (digest := sha256(path)) != record.sha256:
            raise ArtefactError(f"the file '{path}' is damaged: its SHA-256 is {digest}, not {record.sha256}; {again}")
    except OSError as error:
        raise ArtefactError(f"the file '{path}' cannot be read: {error.strerror}") from error


def sha256(path: Path) -> str:
    """Of a file's bytes.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
