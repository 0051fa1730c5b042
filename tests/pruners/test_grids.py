"""Methods that look at neighbours, on grids that are not square: rows are rows, and columns are columns."""

import dataclasses

import numpy as np
import pytest
import torch

from vtp_export import rooms
from vtp_export.errors import SpecError
from vtp_export.functional.tokens import Tokens
from vtp_export.parity.noise import signals_of
from vtp_export.settings import from_settings
from vtp_export.spec import Candidates

GRIDS = [(16, 36), (36, 16), (5, 9), (4, 1)]


def chosen(name, grid, tokens, **settings):
    """What the pruner keeps of one image, and what its reference does."""
    room, candidates = rooms.load("pruners", name), Candidates(grid)
    config = from_settings(room.Config, settings)
    signals = signals_of(tokens, 0, candidates)
    expected = rooms.load("reference", name).select(signals, dataclasses.asdict(config)).kept
    return room.Pruner(config, candidates)(tokens).kept[0].numpy(), expected


def tokens_of(n, **weights):
    """One image of `n` tokens with random signals but for those given."""
    generator = np.random.default_rng(n)
    drawn = {name: generator.random((1, n)) / n for name in ("saliency", "early_saliency", "received")}
    drawn |= {name: generator.standard_normal((1, n, 8)) for name in ("hidden", "projected")}
    return Tokens(**{name: torch.from_numpy(array) for name, array in {**drawn, **weights}.items()})


@pytest.mark.parametrize("grid", GRIDS[:3])
def test_hiprune_keeps_the_four_neighbours_of_its_anchor(grid):
    rows, columns = grid
    row, column = rows // 2, columns // 2
    weights = np.zeros((1, rows * columns))
    weights[0, row * columns + column] = 1
    tokens = tokens_of(rows * columns, early_received=weights)
    kept, expected = chosen("hiprune", grid, tokens, keep=5, alpha=1.0)
    cross = [(row - 1, column), (row, column - 1), (row, column), (row, column + 1), (row + 1, column)]
    assert kept.tolist() == expected.tolist() == [r * columns + c for r, c in cross]


@pytest.mark.parametrize("grid", GRIDS[:2])
def test_vscan_takes_as_many_from_each_of_sixteen_windows(grid):
    rows, columns = grid
    early = np.random.default_rng(1).random((1, rows * columns))
    saliency = np.zeros((1, rows * columns))  # the global half: a tie, which the lowest positions win
    tokens = tokens_of(rows * columns, early_saliency=early, saliency=saliency)
    kept, expected = chosen("vscan", grid, tokens, keep=64)
    assert kept.tolist() == expected.tolist()
    best = set()
    for window in early.reshape(4, rows // 4, 4, columns // 4).transpose(0, 2, 1, 3).reshape(16, -1):
        best |= set(np.sort(window)[-2:])
    assert best <= set(early[0, kept])


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("name", ["hiprune", "vscan"])
def test_the_reference_agrees_on_every_grid(name, grid):
    n = grid[0] * grid[1]
    early = np.random.default_rng(2).random((1, n))
    tokens = tokens_of(n, early_received=early, early_saliency=early)
    for keep in (1, 3, n // 2 + 1, n):
        kept, expected = chosen(name, grid, tokens, keep=keep)
        assert kept.tolist() == expected.tolist(), keep


@pytest.mark.parametrize("name", ["hiprune", "vscan"])
def test_cls_among_the_candidates_has_no_neighbours(name):
    room = rooms.load("pruners", name)
    with pytest.raises(SpecError, match=f"{name} looks at neighbours in the picture, and this model keeps CLS"):
        room.Pruner(room.Config(), Candidates((3, 5), cls=True))  # 16 in all, which is a square number
