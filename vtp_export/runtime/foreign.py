"""Files that other tools made of an artefact's: simplified, quantised, converted. Opened in its place, to be judged."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vtp_export import rooms
from vtp_export.errors import ArtefactError, SpecError, UnavailableError
from vtp_export.runtime.artefact import Artefact, sha256
from vtp_export.runtime.brief import brief_of
from vtp_export.runtime.checks import way
from vtp_export.runtime.formats import prepared, refuse_unknown
from vtp_export.runtime.front_end import PrunedArtefact
from vtp_export.settings import usable_threads
from vtp_export.spec import BatchRange, Build, FileRecord

ALONE = BatchRange(1, 1, 1)


def record_of(file: Path) -> FileRecord:
    """Size and SHA-256 of a file.

    Raises:
        ArtefactError: it cannot be read.
    """
    try:
        if not file.is_file():
            raise ArtefactError(f"no file '{file}'; name one that another tool made of the artefact's")
        return FileRecord(file.stat().st_size, sha256(file))
    except OSError as error:
        raise ArtefactError(f"the file '{file}' cannot be read: {error.strerror}") from error


def format_of(file: Path) -> str:
    """The format whose files end as this one does.

    Raises:
        SpecError: none does, or more than one.
    """
    endings: dict[str, list[str]] = {}
    for name in rooms.names("backends"):
        try:
            ending = Path(rooms.load("backends", name).Backend().main).suffix
        except (UnavailableError, ImportError):  # a name that depends on a device
            continue
        endings.setdefault(ending, []).append(name)
    found = endings.get(file.suffix, [])
    if len(found) != 1:
        known = ", ".join(ending for ending, formats in sorted(endings.items()) if len(formats) == 1)
        raise SpecError(f"the name of '{file}' does not tell its format, as {known} do; name the format")
    return found[0]


def load_file(
    artefact: Artefact,
    file: Path,
    fmt: str,
    *,
    device: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> PrunedArtefact:
    """Open a file in the place of an artefact's own, as that artefact; one that takes single images only as such.

    Args:
        artefact: which the file was made of.
        file: whatever else it takes lies beside it.
        fmt: its format.
        device: see `load`, as `threads` and `options`.
        threads: CPU threads of one run.
        options: of the format.

    Raises:
        VtpError: as `load`; what the file takes and returns is not what the artefact promises.
    """
    threads = usable_threads(threads)
    refuse_unknown(device)
    backend, where, chosen = prepared(fmt, device, options)
    build = Build(fmt, file.name, {file.name: record_of(file)})
    refusals = []
    for batch in dict.fromkeys((artefact.manifest.batch, ALONE)):
        manifest = dataclasses.replace(artefact.manifest, batch=batch)
        brief = brief_of(manifest, foreign=True)
        try:
            session = backend.open(file.parent, build, brief, where, threads, chosen)
        except ArtefactError as error:
            refusals.append(error)
            continue
        return PrunedArtefact(Artefact(artefact.folder, manifest), fmt, session, way(manifest, build, where, chosen))
    raise refusals[0]
