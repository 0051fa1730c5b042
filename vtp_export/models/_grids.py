"""What a grid of tokens makes constant in a tower: the order of its patches, its windows, and where patches stand."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Windows:
    """Windows of one size that stand side by side: patches from `start` up to `stop`, `size` in each."""

    start: int
    stop: int
    size: int


def windows_of(grid: tuple[int, int], edge: int | None, patches: int) -> tuple[Tensor, tuple[Windows, ...]]:
    """The tokens, window by window, and the windows.

    The last windows of a row or a column of them are as much smaller as the grid ends earlier. Windows of as many
    tokens stand together, whatever their shape: attention sees no order.

    Args:
        grid: (rows, columns) of tokens.
        edge: tokens along an edge of a window; None for one window.
        patches: of a token.

    Returns:
        (n,) int64 raster positions of the tokens, in the order of the windows; and the windows, in patches.

    Example:
        >>> windows_of((2, 5), 4, 4)[1]
        (Windows(start=0, stop=32, size=32), Windows(start=32, stop=40, size=8))
    """
    rows, columns = grid
    edge = max(grid) if edge is None else edge
    raster = np.arange(rows * columns).reshape(grid)
    windows = [
        raster[row : row + edge, column : column + edge].ravel()
        for row in range(0, rows, edge)
        for column in range(0, columns, edge)
    ]
    groups, start = [], 0
    for size in sorted({len(window) for window in windows}, reverse=True):
        stop = start + patches * sum(len(window) for window in windows if len(window) == size)
        groups.append(Windows(start, stop, patches * size))
        start = stop
    windows.sort(key=len, reverse=True)  # keeps the order of equals
    return torch.from_numpy(np.concatenate(windows)), tuple(groups)


def patch_order(grid: tuple[int, int], merge: int, tokens: Tensor) -> Tensor:
    """Raster positions of the patches (m,) int64, token by token.

    Args:
        grid: (rows, columns) of tokens.
        merge: patches along an edge of a token.
        tokens: (n,) raster positions, in the order that is wanted.
    """
    rows, columns = grid
    patches = np.arange(rows * columns * merge**2).reshape(rows, merge, columns, merge)
    by_token = torch.from_numpy(patches.transpose(0, 2, 1, 3).reshape(rows * columns, merge**2).copy())
    return by_token[tokens].flatten()


def patch_places(grid: tuple[int, int], merge: int, order: Tensor) -> Tensor:
    """Row and column of the patches: (m, 2) int64, in the order given."""
    columns = grid[1] * merge
    return torch.stack([order // columns, order % columns], dim=1)


def learned_taps(places: Tensor, size: tuple[int, int], side: int) -> tuple[Tensor, Tensor]:
    """Which learned positions are mixed for each patch, and in which shares: bilinear, corners on corners.

    As `torch.nn.functional.interpolate(..., align_corners=True)` of a square table of positions.

    Args:
        places: (m, 2) rows and columns of patches.
        size: (rows, columns) of patches in all.
        side: of the table.

    Returns:
        (m, 4) int64 rows of the table, and (m, 4) float32 shares.
    """
    taps, shares = [], []
    for axis in (0, 1):
        at = places[:, axis].float() * (side - 1) / max(size[axis] - 1, 1)
        low = at.floor()
        taps.append(torch.stack([low, low + 1], dim=1).long().clamp(max=side - 1))
        shares.append(torch.stack([1 - (at - low), at - low], dim=1))
    rows, columns = taps
    both = shares[0][:, :, None] * shares[1][:, None, :]
    return (rows[:, :, None] * side + columns[:, None, :]).flatten(1), both.flatten(1)
