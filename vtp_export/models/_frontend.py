"""A CLIP tower with an optional projector, behind the `Frontend` contract."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from vtp_export.functional.tokens import Tokens
from vtp_export.models._clip import ClipConfig, ClipTower, activation


class Projector(nn.Module):
    """LLaVA's two linear layers; state-dict names of `multi_modal_projector`."""

    def __init__(self, width_in: int, width_out: int, act: str, bias: bool) -> None:
        super().__init__()
        self.activation = activation(act)
        self.linear_1 = nn.Linear(width_in, width_out, bias=bias)
        self.linear_2 = nn.Linear(width_out, width_out, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """(b, k, dv) to (b, k, d)."""
        projected: Tensor = self.linear_2(self.activation(self.linear_1(features)))
        return projected


class ClipFrontend(nn.Module):
    """Tower and projector.

    Args:
        config: the tower's sizes.
        states: hidden states to read, see `ClipTower`.
        keep_cls: whether CLS is candidate 0 (`vision_feature_select_strategy="full"`) or dropped ("default").
        projector: what maps features to the language model, or None for a bare tower.
    """

    def __init__(self, config: ClipConfig, states: Sequence[int], keep_cls: bool, projector: Projector | None) -> None:
        super().__init__()
        self.image_size = config.image_size
        side = config.image_size // config.patch_size
        self.grid = (side, side)
        self.cls_candidate = keep_cls
        self.tower = ClipTower(config, states)
        self.projector = projector
        width = config.hidden_size * len(self.tower.states)
        self.width = width if projector is None else projector.linear_2.out_features

    def encode(self, pixel_values: Tensor, needs: Collection[str]) -> Tokens:
        """(b, 3, h, w) to the signals named in `needs`."""
        features, row = self.tower(pixel_values, "saliency" in needs)
        first = 0 if self.cls_candidate else 1
        hidden = features[:, first:]
        return Tokens(
            hidden=hidden,
            projected=self.project(hidden) if "projected" in needs else None,
            saliency=None if row is None else row[:, first:],
        )

    def project(self, features: Tensor) -> Tensor:
        """(b, k, dv) to (b, k, d), each token alone."""
        return features if self.projector is None else self.projector(features)


def empty_frontend(
    config: ClipConfig, states: Sequence[int], keep_cls: bool, projector_shape: tuple[int, str, bool] | None
) -> ClipFrontend:
    """A front end whose weights are placeholders without memory, to be filled by `load_state_dict(assign=True)`.

    Args:
        config: the tower's sizes.
        states: hidden states to read.
        keep_cls: see `ClipFrontend`.
        projector_shape: (output width, activation, bias), or None.
    """
    with torch.device("meta"):
        projector = None
        if projector_shape is not None:
            width, act, bias = projector_shape
            projector = Projector(config.hidden_size * len(states), width, act, bias)
        return ClipFrontend(config, states, keep_cls, projector).eval()
