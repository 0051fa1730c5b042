"""A tower of any family with an optional projector, behind the `Frontend` contract."""

from collections.abc import Collection, Sequence

from torch import Tensor, nn

from vtp_export.errors import ModelError
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.tokens import Tokens
from vtp_export.models._config import TowerConfig
from vtp_export.models._projectors import ProjectorConfig
from vtp_export.models._tower import FOLLOWING, READINGS, Tower
from vtp_export.models.base import AttentionGroup
from vtp_export.spec import Candidates, Saliency

OF_CLS = FOLLOWING | {"cls"}
"""Signals that take a class token."""

APART = OF_CLS | {"keys"}
"""Signals in which CLS, where there is one, stands beside the candidates, and so cannot be one of them."""

PROJECTIONS = ("q_proj", "k_proj", "v_proj")


class VisionFrontend(nn.Module):
    """Tower and projector.

    Args:
        config: the tower's sizes.
        states: hidden states to read, see `Tower`.
        normed: see `Tower`.
        keep_cls: whether CLS is candidate 0 (`vision_feature_select_strategy="full"`) or dropped ("default"). Registers
            are never candidates.
        projector: what maps features to the language model, or None for a bare tower.
        needs: signals that it must be able to give.

    Raises:
        ModelError: a signal takes CLS apart and the tower has none, or keeps it among the candidates; CLS is no token
            beside those that are made of several patches; or there is no layer after the last one read.
    """

    positions = None
    planes = 0

    def __init__(
        self,
        config: TowerConfig,
        states: Sequence[int],
        *,
        normed: bool = False,
        keep_cls: bool = False,
        projector: ProjectorConfig | None = None,
        needs: Collection[str] = (),
    ) -> None:
        super().__init__()
        following = not FOLLOWING.isdisjoint(needs)
        self.shuffled = projector is not None and projector.shuffled
        lacking = (APART if keep_cls else frozenset()) if config.cls else OF_CLS
        if self.shuffled and config.cls:
            _refuse_cls(needs)
            lacking |= {"cls"}
        check_needs(lacking.intersection(needs), config.cls, following and max(states) == config.num_hidden_layers)
        self.saliency: Saliency = "cls" if config.cls else "received"
        self.image_size = (config.image_size, config.image_size)
        self.pool = 1 if projector is None else projector.pool
        side = config.side // self.pool
        self.candidates = Candidates((side, side), keep_cls)
        self.patch = (config.patch_size * self.pool, config.patch_size * self.pool)
        self.tower = Tower(config, states, normed, following)
        width = config.hidden_size * len(self.tower.states) * (self.pool**2 if self.shuffled else 1)
        self.projector = None if projector is None else projector.build(width)
        self.width = width if projector is None else projector.width
        self.blocks = tuple(f"tower.encoder.layers.{i}" for i in range(len(self.tower.encoder.layers)))
        self.groups = tuple(
            AttentionGroup(tuple(f"{block}.self_attn.{own}" for own in PROJECTIONS), config.num_attention_heads)
            for block in self.blocks
        )
        self.gives = frozenset({"projected", "cls", *READINGS, *(FOLLOWING if following else ())}) - lacking

    def encode(self, pixel_values: Tensor, needs: Collection[str]) -> Tokens:
        """(b, 3, h, w) to the signals named in `needs`."""
        features, read = self.tower(pixel_values, needs)
        first = 0 if self.candidates.cls else self.tower.config.before
        hidden = self._pooled(features[:, first:], self.shuffled)
        return Tokens(
            hidden=hidden,
            projected=self.project(hidden) if "projected" in needs else None,
            cls=features[:, :1] if "cls" in needs else None,
            **{name: self._pooled(signal[:, first:]) for name, signal in read.items() if name in needs},
        )

    def _pooled(self, patches: Tensor, shuffled: bool = False) -> Tensor:
        """(b, patches) or (b, patches, .) to (b, n) or (b, n, .): the mean of a token's patches, or all of them."""
        if self.pool == 1:
            return patches
        rows, columns = self.candidates.grid
        if shuffled:
            square = patches.unflatten(1, (rows, self.pool, columns, self.pool)).transpose(2, 3)
            whole: Tensor = square.flatten(3).flatten(1, 2)
            return whole
        wide = at_least_float32(patches)
        means: Tensor = wide.unflatten(1, (rows, self.pool, columns, self.pool)).mean((2, 4))
        return means.flatten(1, 2)

    def project(self, features: Tensor) -> Tensor:
        """(b, k, dv) to (b, k, d), each token alone."""
        if self.projector is None:
            return features
        projected: Tensor = self.projector(features)
        return projected


def _refuse_cls(needs: Collection[str]) -> None:
    if "cls" in needs:
        raise ModelError(
            "the pruner reads cls, which the projector of this model cannot take: its tokens are several patches side "
            "by side; choose another pruner"
        )


def check_needs(lacking: Collection[str], has_cls: bool, past_the_end: bool) -> None:
    """See that a front end gives what it is asked for.

    Args:
        lacking: signals that are asked for and cannot be given.
        has_cls: whether the tower has a class token.
        past_the_end: whether the layer after the last one is asked for.

    Raises:
        ModelError: it does not.
    """
    names = ", ".join(sorted(lacking))
    if lacking and not has_cls:
        raise ModelError(
            f"the pruner reads {names}, made with a CLS token, and the tower of this model has none; "
            "choose another pruner"
        )
    if lacking:
        raise ModelError(
            f"the pruner reads {names}, where CLS stands beside the candidates, and this model keeps "
            "CLS among them (vision_feature_select_strategy 'full'); choose another pruner"
        )
    if past_the_end:
        raise ModelError(
            "the pruner reads the layer after the one that the features come from, and the features of this "
            "model come from its last layer; choose another pruner"
        )
