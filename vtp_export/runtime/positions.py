"""Where kept tokens stand for a language model that counts rows and columns (M-RoPE). NumPy only.

The tokens of a picture have three positions: in time, which is 0 throughout a still picture; of the row; of the column.
A host adds the position that the picture starts at, and the text goes on at that plus the larger edge of the whole
grid, however few tokens are kept.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vtp_export.manifests import AXES

if TYPE_CHECKING:
    from vtp_export.runtime.packing import Picture


def axes_positions(grid: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Of all tokens of a grid (rows, columns): (3, n).

    Example:
        >>> axes_positions((2, 2)).tolist()
        [[0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1]]
    """
    rows, columns = np.divmod(np.arange(grid[0] * grid[1], dtype=np.int64), grid[1])
    return np.stack([np.zeros_like(rows), rows, columns])


def positions_of(kept: npt.NDArray[np.integer], grid: tuple[int, int]) -> npt.NDArray[np.int64]:
    """Of kept candidates (k,), -1 for those that stand for no place: (3, k), -1 for these.

    Example:
        >>> positions_of(np.array([3, -1]), (2, 2)).tolist()
        [[0, -1], [1, -1], [1, -1]]
    """
    table = axes_positions(grid)
    return np.where(kept >= 0, table[:, np.maximum(kept, 0)], -1)


def following(grid: tuple[int, int]) -> int:
    """How far after its start the text behind a picture stands.

    Example:
        >>> following((26, 46))
        46
    """
    return max(grid)


def places_of(before: Sequence[int], pictures: Sequence["Picture"]) -> tuple[npt.NDArray[np.int64], int] | None:
    """Where every token of a prompt stands, up to and with its last picture.

    Args:
        before: how many tokens of text stand before each picture.
        pictures: what is read of each, in the order of the prompt.

    Returns:
        (3, m) positions, and that of the text behind; None where the language model counts tokens alone.

    Example:
        A prompt of four tokens and a picture of 2 x 3 of which two are kept:

        >>> from types import SimpleNamespace
        >>> kept = positions_of(np.array([1, 5]), (2, 3))
        >>> places, start = places_of([4], [SimpleNamespace(position_ids=kept, extent=3)])
        >>> places[1].tolist(), places[2].tolist(), start
        ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 5, 6], 7)
    """
    parts, start = list[npt.NDArray[np.int64]](), 0
    if any(picture.position_ids is None for picture in pictures):
        return None
    for text, picture in zip(before, pictures, strict=True):  # which have no text among their tokens
        assert picture.position_ids is not None and picture.extent is not None
        parts.append(np.tile(np.arange(start, start + text), (AXES, 1)))
        parts.append(start + text + np.maximum(picture.position_ids, 0))  # what stands for no place, at the start
        start += text + picture.extent
    return np.concatenate(parts, axis=1), start


def prompt_places(
    before: Sequence[int], pictures: Sequence["Picture"], after: int
) -> tuple[npt.NDArray[np.int64], int] | None:
    """Where every token of a prompt stands, and the next one behind it.

    Args:
        before: see `places_of`.
        pictures: see `places_of`.
        after: how many tokens of text stand behind the last picture.

    Returns:
        (3, m) positions, and that of the next token; None where the language model counts tokens alone.
    """
    if (begun := places_of(before, pictures)) is None:
        return None
    places, start = begun
    behind = np.tile(np.arange(start, start + after), (AXES, 1))
    return np.concatenate([places, behind], axis=1), start + after
