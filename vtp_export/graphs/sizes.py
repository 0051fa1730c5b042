"""What is built of a model of any resolution: one graph for each grid that was asked for."""

from collections.abc import Sequence
from pathlib import Path

from vtp_export.graphs.assembly import name_of, refuse_size, room_of
from vtp_export.models._grid_loading import size_rule
from vtp_export.models._sizes import AskedSize, distinct


def sizes_of(model: str | Path, revision: str | None, sizes: Sequence[AskedSize]) -> tuple[AskedSize | None, ...]:
    """What is to be built, a graph each: at least one; no two have the same grid.

    Args:
        model: as in `load_model`; of one whose pictures have one size nothing may be asked.
        revision: likewise.
        sizes: what was asked for; a number of tokens alone stands for several shapes, see `models._sizes.SHAPES`.

    Raises:
        ModelError: as `load_model`, or a size that no picture has.
    """
    if not sizes:
        return (None,)
    name = name_of(model)
    room, checkpoint = room_of(name, revision)
    if not getattr(room, "ANY_SIZE", False):
        refuse_size(name, sizes[0])
    return distinct(sizes, size_rule(checkpoint, room.FAMILY), name)
