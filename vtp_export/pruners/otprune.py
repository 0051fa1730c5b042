"""OTPrune: the k tokens that carry most of the picture's covariance, by greedy log-determinant.

The projected features are scaled so that every channel has unit length *over the tokens* (not every token over its
channels), S = V V^T, and k tokens are chosen greedily by the determinant of I + gamma S S^T.

CLS takes no part and is dropped. Output in spatial order.

Source: OTPrune (CVPR 2026, arXiv 2602.20205) and its release.
Licence: Apache-2.0.
Differs: the release returns the choice in the order of a Python hash set, an accident by which the picture reaches the
language model scrambled; here in spatial order. It keeps the Cholesky rows in float16, which changes up to a quarter of
the choice; here at least float32, and the kernel is first scaled to a diagonal of 1, which changes no choice and keeps
precision. Gains whose logarithms round to the same multiple of 2^-20 tie. It is handed the question and ignores it.
Cost: two n x n products, the second of n^3, then k rounds in one loop, O(k n) each for the Cholesky rows.
Published: none that we found in text.
Use it when: coverage of the whole picture matters.
"""

from dataclasses import dataclass

from torch import Tensor

from vtp_export.functional.greedy import largest_determinant
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import positions
from vtp_export.functional.similarity import of_originals, originals, snapped
from vtp_export.functional.sizes import diagonal, identity, static_size
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.settings import positive
from vtp_export.spec import Candidates


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of OTPrune.

    gamma: weight of the covariance beside the identity.
    """

    gamma: float = positive(0.01, source="the release")


def needs(config: Config) -> frozenset[str]:
    """What `forward` reads."""
    return frozenset({"projected"})


class Pruner(base.Pruner):
    """Greedy log-determinant by Cholesky rows."""

    def __init__(self, config: Config, candidates: Candidates) -> None:
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config), stage="projected")
        self.gamma = config.gamma

    def forward(self, tokens: Tokens) -> Selection:
        """Choose from `projected` (b, n, d)."""
        assert tokens.projected is not None
        kernel = self._kernel(at_least_float32(tokens.projected))
        residual = diagonal(kernel)  # (b, n), at least 1
        scale = residual.rsqrt()
        correlation = snapped(kernel * scale[:, :, None] * scale[:, None, :])
        # The identity keeps every residual positive: nothing is ever explained away.
        chosen = largest_determinant(correlation, residual.log(), self.keep, 0.0)
        return Selection(positions(chosen, self.keep))

    def _kernel(self, features: Tensor) -> Tensor:
        """I + gamma S S^T, (b, n, n)."""
        channels = features / features.norm(dim=-2, keepdim=True).clamp(min=1e-12)
        similarity = channels @ channels.transpose(-1, -2)
        eye = identity(static_size(features, 1), features)
        covariance = similarity @ similarity.transpose(-1, -2)
        return eye + self.gamma * of_originals(covariance, originals(features, similarity))
