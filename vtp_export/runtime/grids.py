"""A folder of several grids: an artefact for each in a folder of its own, and `grids.json`, which holds them together.

Each of them is a whole artefact, and knows nothing of the others. The index says which there are and, by the identity
of its manifest, that each is the one that was written, under the name of the grid that it is for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vtp_export.arguments import path_of
from vtp_export.errors import ArtefactError, SpecError
from vtp_export.json_records import from_json, read_text, to_json
from vtp_export.runtime.artefact import ATTEMPTS, GRIDS, MANIFEST, Artefact, open_artefact, stamp
from vtp_export.runtime.writing import write_atomically
from vtp_export.spec import Manifest

SCHEMA = 1
AGAIN = "copy the whole folder or export it again"


@dataclass(frozen=True, kw_only=True)
class GridIndex:
    """grids: the identity of the manifest of each, see `Manifest.identity`, by the name of its folder: "26x46"."""

    grids: dict[str, str]
    schema: int = SCHEMA


def grid_name(manifest: Manifest) -> str:
    """What the folder of a grid is called: rows and columns of tokens, "26x46"."""
    return "{}x{}".format(*manifest.layout.candidates.grid)


def write_index(folder: Path, manifests: Mapping[str, Manifest]) -> None:
    """Write the index of artefacts that lie in the folder already.

    Raises:
        ArtefactError: it cannot be written.
    """
    index = GridIndex(grids={name: manifest.identity() for name, manifest in manifests.items()})
    write_atomically(folder / GRIDS, to_json(index))


def grids_of(folder: str | Path) -> dict[str, Artefact] | None:
    """The artefacts of a folder of several grids, by name, rows before columns; None where it is no such folder.

    Raises:
        SpecError: no path.
        ArtefactError: the index cannot be read, or the folder holds other grids than it names.
    """
    folder = path_of("the artefact", folder)
    index = folder / GRIDS
    for _ in range(ATTEMPTS):
        if (before := stamp(index)) == ():
            return None
        try:
            return _artefacts(folder, index)
        except ArtefactError:
            if stamp(index) == before:
                raise
    raise ArtefactError(f"'{folder}' was replaced meanwhile, again and again; start again when its writer is done")


def files_of(folder: str | Path) -> list[Path]:
    """All that an artefact is made of, of one grid or of several.

    Raises:
        SpecError, ArtefactError: as `grids_of` and `open_artefact`.
    """
    artefacts = grids_of(folder)
    if artefacts is None:
        return open_artefact(folder).paths()
    return [Path(folder) / GRIDS, *(path for artefact in artefacts.values() for path in artefact.paths())]


def _artefacts(folder: Path, path: Path) -> dict[str, Artefact]:
    try:
        index = from_json(GridIndex, read_text(path, f"the index '{path}'"), "index of grids", SCHEMA, "export again")
    except SpecError as error:
        raise ArtefactError(f"'{path}' cannot be used: {error}") from error
    present = {name for one in folder.glob(f"*/{MANIFEST}") if not (name := one.parent.name).startswith(".")}
    if (folder / MANIFEST).exists():
        raise ArtefactError(f"'{folder}' holds both {GRIDS} and {MANIFEST}, and can be only one; {AGAIN}")
    if len(index.grids) < 2 or (missing := sorted(set(index.grids) - present)):
        what = f"the grid '{missing[0]}' is missing" if len(index.grids) > 1 else "it names fewer than two grids"
        raise ArtefactError(f"'{folder}' is not what its {GRIDS} says: {what}; {AGAIN}")
    if added := sorted(present - set(index.grids)):
        raise ArtefactError(f"'{folder}' is not what its {GRIDS} says: '{added[0]}' was added; {AGAIN}")
    artefacts = {name: open_artefact(folder / name) for name in index.grids}
    for name, artefact in artefacts.items():
        refuse_exchanged(artefact, index.grids[name])
        if artefact.manifest.preprocessing.any_resolution is None or grid_name(artefact.manifest) != name:
            raise ArtefactError(f"'{artefact.folder}' was built for {grid_name(artefact.manifest)} tokens; {AGAIN}")
    if len({artefact.manifest.preprocessing.any_resolution for artefact in artefacts.values()}) > 1:
        raise ArtefactError(f"the grids of '{folder}' bound pictures differently; {AGAIN}")
    return dict(sorted(artefacts.items(), key=lambda pair: pair[1].manifest.layout.candidates.grid))


def refuse_exchanged(artefact: Artefact, identity: str) -> None:
    """See that a grid's artefact is the one that was meant.

    Raises:
        ArtefactError: it is another.
    """
    if artefact.manifest.identity() != identity:
        raise ArtefactError(
            f"'{artefact.folder}' is not the artefact that {GRIDS} beside it names: it was exchanged or renamed; "
            + AGAIN
        )
