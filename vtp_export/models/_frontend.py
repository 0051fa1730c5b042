"""A CLIP tower with an optional projector, behind the `Frontend` contract."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from vtp_export.errors import ModelError
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.tokens import Tokens
from vtp_export.models._clip import FOLLOWING, READINGS, ClipConfig, ClipTower, activation
from vtp_export.models.base import AttentionGroup
from vtp_export.spec import Candidates, Saliency

APART = FOLLOWING | {"cls", "keys"}
"""Signals in which CLS stands beside the candidates, and so cannot be one of them."""

PROJECTIONS = ("q_proj", "k_proj", "v_proj")


class Projector(nn.Module):
    """LLaVA's two linear layers; state-dict names of `multi_modal_projector`."""

    def __init__(self, width_in: int, width_out: int, act: str, bias: bool) -> None:
        super().__init__()
        self.activation = activation(act)
        self.linear_1 = nn.Linear(width_in, width_out, bias=bias)
        self.linear_2 = nn.Linear(width_out, width_out, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """(b, k, dv) to (b, k, d)."""
        projected: Tensor = self.linear_2(self.activation(at_least_float32(self.linear_1(features))))
        return projected


class ClipFrontend(nn.Module):
    """Tower and projector.

    Args:
        config: the tower's sizes.
        states: hidden states to read, see `ClipTower`.
        keep_cls: whether CLS is candidate 0 (`vision_feature_select_strategy="full"`) or dropped ("default").
        projector: what maps features to the language model, or None for a bare tower.
        needs: signals that it must be able to give.

    Raises:
        ModelError: CLS is a candidate and a signal sets it apart, or there is no layer after the last one read.
    """

    saliency: Saliency = "cls"
    positions = None
    planes = 0

    def __init__(
        self,
        config: ClipConfig,
        states: Sequence[int],
        keep_cls: bool,
        projector: Projector | None,
        needs: Collection[str] = (),
    ) -> None:
        super().__init__()
        following = not FOLLOWING.isdisjoint(needs)
        _check_needs(needs, keep_cls, following and max(states) == config.num_hidden_layers)
        self.image_size = (config.image_size, config.image_size)
        side = config.image_size // config.patch_size
        self.candidates = Candidates((side, side), keep_cls)
        self.tower = ClipTower(config, states, following)
        self.projector = projector
        width = config.hidden_size * len(self.tower.states)
        self.width = width if projector is None else projector.linear_2.out_features
        self.blocks = tuple(f"tower.encoder.layers.{i}" for i in range(len(self.tower.encoder.layers)))
        self.groups = tuple(
            AttentionGroup(tuple(f"{block}.self_attn.{own}" for own in PROJECTIONS), config.num_attention_heads)
            for block in self.blocks
        )
        apart = APART if keep_cls else frozenset()
        self.gives = frozenset({"projected", "cls", *READINGS, *(FOLLOWING if following else ())}) - apart

    def encode(self, pixel_values: Tensor, needs: Collection[str]) -> Tokens:
        """(b, 3, h, w) to the signals named in `needs`."""
        features, read = self.tower(pixel_values, needs)
        first = 0 if self.candidates.cls else 1
        hidden = features[:, first:]
        return Tokens(
            hidden=hidden,
            projected=self.project(hidden) if "projected" in needs else None,
            cls=features[:, :1] if "cls" in needs else None,
            **{name: signal[:, first:] for name, signal in read.items() if name in needs},
        )

    def project(self, features: Tensor) -> Tensor:
        """(b, k, dv) to (b, k, d), each token alone."""
        return features if self.projector is None else self.projector(features)


def _check_needs(needs: Collection[str], keep_cls: bool, past_the_end: bool) -> None:
    apart = sorted(APART.intersection(needs))
    if keep_cls and apart:
        raise ModelError(
            f"the pruner reads {', '.join(apart)}, where CLS stands beside the candidates, and this model keeps "
            "CLS among them (vision_feature_select_strategy 'full'); choose another pruner"
        )
    if past_the_end:
        raise ModelError(
            "the pruner reads the layer after the one that the features come from, and the features of this "
            "model come from its last layer; choose another pruner"
        )


def empty_frontend(
    config: ClipConfig,
    states: Sequence[int],
    keep_cls: bool,
    projector_shape: tuple[int, str, bool] | None,
    needs: Collection[str],
) -> ClipFrontend:
    """A front end whose weights are placeholders without memory, to be filled by `load_state_dict(assign=True)`.

    Args:
        config: the tower's sizes.
        states: hidden states to read.
        keep_cls: see `ClipFrontend`.
        projector_shape: (output width, activation, bias), or None.
        needs: see `ClipFrontend`.
    """
    with torch.device("meta"):
        projector = None
        if projector_shape is not None:
            width, act, bias = projector_shape
            projector = Projector(config.hidden_size * len(states), width, act, bias)
        return ClipFrontend(config, states, keep_cls, projector, needs).eval()
