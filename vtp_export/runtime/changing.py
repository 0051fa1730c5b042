"""Write an artefact, and change one that is there. Standard library only.

Whoever writes into a folder that is there holds its one lock (`replacing.locked`), and so does who replaces the folder.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from vtp_export.errors import ArtefactError
from vtp_export.json_records import to_json
from vtp_export.manifests import refuse_contradictions
from vtp_export.runtime.artefact import GRIDS, MANIFEST, Artefact, open_artefact, refuse_escape, sha256
from vtp_export.runtime.replacing import concerns, discard, fresh_folder, locked, replacing, sweep_folders
from vtp_export.runtime.writing import sentence, write_atomically
from vtp_export.spec import Build, FileRecord, Manifest, Scalar

ADDING = ".adding-"
"""Begins the name of a folder inside an artefact whose files are not yet part of it."""


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
        refuse_escape(folder, name)
        try:
            records[name] = FileRecord(full.stat().st_size, sha256(full))
        except OSError as error:
            raise ArtefactError(f"cannot record '{full}': {error.strerror}") from error
    return dict(sorted(records.items()))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write, or replace, the manifest: a reader finds the old one or the new one.

    Raises:
        ArtefactError: it holds a NaN or an infinity, or the folder cannot be written.
        SpecError: it contradicts itself.
    """
    refuse_contradictions(manifest)
    try:
        text = to_json(manifest)
    except (TypeError, ValueError) as error:
        raise ArtefactError(f"the manifest of '{folder}' has what JSON cannot hold: {error}") from error
    write_atomically(Path(folder) / MANIFEST, text, follow=False)  # in a cache it is a link to what has its digest


def record_validation(artefact: Artefact, fmt: str, values: Mapping[str, Scalar]) -> None:
    """Put what validation measured for a format into the manifest, replacing what was there for that format.

    The identity of what was validated is written beside it: see `Manifest.proven`.

    Args:
        artefact: as it was read when its validation began.
        fmt: one of its formats.
        values: what was measured.

    Raises:
        ArtefactError: the artefact was replaced meanwhile, it has no such format, or the folder cannot be written.
    """
    builds = artefact.builds(fmt)
    with _locked(artefact.folder):  # two validations at once must not lose one another's numbers
        artefact.refuse_replaced(*builds)
        manifest = open_artefact(artefact.folder).manifest
        validation = {**manifest.validation, fmt: {**values, "identity": manifest.identity()}}
        write_manifest(artefact.folder, dataclasses.replace(manifest, validation=validation))


def add_build(artefact: Artefact, make: Callable[[Path], Build], *sources: Build) -> Build:
    """Add a build to an artefact; a process that is killed meanwhile leaves the artefact as it was.

    The files are made in a fresh folder inside of the artefact, which may be a mount of its own, and move up when they
    are whole; a folder that a killed process left is removed by the next. A build with the same main file is withdrawn
    before its files are replaced, and so is what validation measured for the format: at no instant does the manifest
    tell of other bytes than those that are there.

    Args:
        artefact: as it was read before the sources were.
        make: writes files into the folder that it is given, and returns their record.
        sources: builds of the artefact that it is made from.

    Raises:
        ArtefactError: it was replaced meanwhile, it cannot be written, or a file of another format has the name of a
            new one.
    """
    folder = artefact.folder
    try:
        sweep_folders(folder, ADDING)
        place, lock = fresh_folder(folder, ADDING)
    except OSError as error:
        raise ArtefactError(sentence(error, folder)) from error
    try:
        try:
            build = make(place)
        except Exception as error:
            artefact.refuse_replaced(*sources)  # the place went with the folder, and that is why
            if isinstance(error, OSError) and concerns(error, folder, place):
                raise ArtefactError(sentence(error, folder)) from error
            raise
        with _locked(folder):
            artefact.refuse_replaced(*sources)
            _take_in(folder, place, build)
        return build
    finally:
        discard(place)
        os.close(lock)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """`locked`, and of one of several grids the folder of all, too: who replaces that has no lock on this."""
    home = folder.resolve().parent
    with contextlib.ExitStack() as stack:
        if (home / GRIDS).exists():
            stack.enter_context(locked(home))
        stack.enter_context(locked(folder))
        yield


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
            raise ArtefactError(sentence(error, folder / name)) from error
    write_manifest(folder, dataclasses.replace(before, builds=(*before.builds, build)))


def _why_not_replaceable(out: Path) -> str | None:
    if not out.is_dir():
        return "it is not a folder"
    if any(out.iterdir()) and not any((out / name).is_file() for name in (MANIFEST, GRIDS)):
        return f"it is not an artefact (it has no {MANIFEST}), and its files are not ours to remove"
    return None
