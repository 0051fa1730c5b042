"""Where kept tokens stand for a language model that counts rows and columns (M-RoPE). NumPy only.

The tokens of a picture have three positions: in time, which is 0 throughout a still picture; of the row; of the column.
A host adds the position that the picture starts at, and the text goes on at that plus the larger edge of the whole
grid, however few tokens are kept.
"""

import numpy as np
import numpy.typing as npt


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
