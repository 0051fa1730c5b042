"""How the views of a picture are cut and joined, for a model that sees a picture in several."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vtp_export.errors import SpecError
from vtp_export.models.base import LoadedModel
from vtp_export.runtime.packing import Packer, PackingSettings, newline_file, newline_record
from vtp_export.runtime.pinpoints import canvases_of_longest, tiled
from vtp_export.runtime.resolution import stretching
from vtp_export.runtime.tiles import view_count
from vtp_export.settings import from_settings
from vtp_export.spec import BatchRange, Layout, Packing, Preprocessing


def packed(model: LoadedModel, settings: Mapping[str, Any]) -> tuple[LoadedModel, Packing | None]:
    """Let a model cut pictures into as many tiles as are wanted, and say how they are joined.

    Args:
        model: as it was loaded.
        settings: of `PackingSettings`, by name; values or texts.

    Returns:
        The model, and the record for the manifest; None where a picture is one view.

    Raises:
        UnknownNameError: no such setting.
        SpecError: one out of range, fewer tiles than any canvas has, or settings of a model that needs none.
    """
    chosen, tiling = from_settings(PackingSettings, settings, "setting of packing"), model.tiling
    if tiling is None:
        if settings:
            names = ", ".join(settings)
            raise SpecError(f"a picture is one view to '{model.core.id}', so that nothing is packed; leave out {names}")
        return model, None
    fits = model.preprocessing.filling == "fit"
    if not fits:
        _refuse_nothing_to_do(model, settings or {})
    vector = tiling.newline if chosen.newlines == "rows" else None
    record = Packing(
        newlines="none" if vector is None else "rows",
        unpad=chosen.unpad and fits,
        tiles=chosen.tiles,
        anyres_max=tiling.anyres_max,
        framing=tiling.framing,
        files={} if vector is None else newline_record(vector.numpy()),
    )
    return model if chosen.tiles is None else _limited(model, chosen.tiles), record


def _refuse_nothing_to_do(model: LoadedModel, settings: Mapping[str, Any]) -> None:
    """Settings of newlines and bars, where there are none; that they are left out may be said."""
    for name, none in (("newlines", "none"), ("unpad", False)):
        if str(settings.get(name, none)).lower() != str(none).lower():
            raise SpecError(
                f"{name} is {settings[name]}, and the pictures of '{model.core.id}' fill their canvas and have no "
                "newline vector; leave it out"
            )


def packing_notes(model: LoadedModel, packing: Packing | None, batch: BatchRange) -> tuple[str, ...]:
    """What the user should know of the pictures that an artefact will take.

    Args:
        model: as it was `packed`.
        packing: the record.
        batch: of the artefact.
    """
    if packing is None:
        return ()
    prep = model.preprocessing
    notes, cap, views = [], packing.anyres_max, max(view_count(canvas, prep) for canvas in prep.pinpoints)
    if cap is not None and views - 1 > cap:
        notes.append(
            f"pictures whose tiles give more tokens than {cap} do will be refused, because '{model.core.id}' shrinks "
            f"them, which cannot be done to pruned ones; --packing tiles={cap} cuts them into fewer"
        )
    if views > batch.max:
        notes.append(
            f"a picture has up to {views} views and the batch goes up to {batch.max}: they run one part after another"
        )
    return tuple(notes)


def write_newline(folder: Path, model: LoadedModel, packing: Packing | None) -> None:
    """Write the files of a packing into an artefact."""
    for name in () if packing is None else packing.files:
        assert model.tiling is not None and model.tiling.newline is not None
        (folder / name).write_bytes(newline_file(model.tiling.newline.numpy()))


def settings_of(packing: Packing | None) -> dict[str, Any]:
    """The settings that a record was made with."""
    names = () if packing is None else [field.name for field in dataclasses.fields(PackingSettings)]
    return {name: getattr(packing, name) for name in names}


def packer_for(model: LoadedModel, layout: Layout, packing: Packing | None) -> Packer:
    """What joins the views of a model that was `packed`, without an artefact."""
    vector = None if model.tiling is None or packing is None or packing.newlines == "none" else model.tiling.newline
    newline, prep = None if vector is None else vector.numpy(), stretching(model.preprocessing)  # it is measured
    return Packer(layout=layout, preprocessing=prep, packing=packing, newline=newline)


def _limited(model: LoadedModel, tiles: int) -> LoadedModel:
    """The model with the canvases of so many tiles and fewer."""
    prep = model.preprocessing
    assert prep.resize_exact is not None  # of every model in tiles
    tile = math.prod(prep.resize_exact)
    if prep.resize_longest is not None:
        return dataclasses.replace(model, preprocessing=_grown_less(prep, prep.resize_longest, tiles))
    left = tuple(canvas for canvas in prep.pinpoints if math.prod(canvas) <= tiles * tile)
    if not left:
        least = min(map(math.prod, prep.pinpoints)) // tile
        raise SpecError(f"tiles is {tiles}, and '{model.core.id}' cuts a picture into {least} or more; name as many")
    return dataclasses.replace(model, preprocessing=dataclasses.replace(prep, pinpoints=left))


def _grown_less(prep: Preprocessing, longest: int, tiles: int) -> Preprocessing:
    """With a long edge of the most pixels that so many tiles, in a square, hold."""
    assert prep.resize_exact is not None  # of every model in tiles
    edge, fewer = prep.resize_exact[0], min(longest, prep.resize_exact[0] * math.isqrt(tiles))
    if fewer == longest or len(prep.pinpoints) == 1:
        return prep
    fewer -= fewer % 2
    return tiled(prep, edge, canvases_of_longest(fewer, edge), prep.filling, fewer)
