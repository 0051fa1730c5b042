"""Random: k positions drawn once when the graph is built, by a seed; the floor that every method must clear.

The draw is a constant of the artefact: every image loses the same positions, so that a run can be repeated anywhere.
Average over several seeds to judge by it. A draw per image would need a random operator, which runtimes do not share,
or a hash of the pixels, which rounding would break.

Position i gets the key mix(seed * 2^32 + i), where mix is the finaliser of SplitMix64 (Steele et al. 2014), and the k
smallest keys are kept: a smaller k keeps a subset. CLS is dropped. Output in spatial order.

Source: the usual baseline (UniPruneBench, arXiv 2511.02650).
Licence: none needed.
Differs: usually a draw per image; here one per artefact.
Cost: none: the positions are a constant of the graph.
Published: UniPruneBench finds it hard to beat.
Use it when: a method is to be judged: it must clear this one, averaged over several seeds.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.settings import between
from vtp_export.spec import Candidates


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of the draw.

    seed: which draw.
    """

    seed: int = between(0, 0, 2**32 - 1, source="this package")


def needs(config: Config) -> frozenset[str]:
    """Nothing but `hidden`."""
    return frozenset()


class Pruner(base.Pruner):
    """The same draw for every image."""

    drawn: Tensor

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config), by_place=True)
        order = np.argsort(_keys(config.seed, candidates.n))  # the keys are distinct: mix is a bijection
        self.register_buffer("drawn", torch.from_numpy(np.sort(order[: self.keep])), persistent=False)

    def forward(self, tokens: Tokens) -> Selection:
        """The drawn positions for each of `hidden` (b, n, dv)."""
        return Selection(self.drawn.expand(tokens.hidden.shape[0], -1))


def _keys(seed: int, n: int) -> np.ndarray:
    """One key per position, (n,) uint64, modulo 2^64 throughout."""
    key = np.arange(n, dtype=np.uint64) + np.uint64(seed << 32)
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = key ^ (key >> np.uint64(31))
    return mixed
