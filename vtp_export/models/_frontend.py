"""A CLIP tower with an optional projector, behind the `Frontend` contract."""

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

from vtp_export.errors import ModelError
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.tokens import Tokens
from vtp_export.models._clip import FOLLOWING, ClipConfig, ClipTower, activation
from vtp_export.spec import Candidates

APART = FOLLOWING | {"cls", "keys"}
"""Signals in which CLS stands beside the candidates, and so cannot be one of them."""


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
        with_following: see `ClipTower`.
    """

    fetch_following: Callable[[], dict[str, Tensor]] | None = None
    """Reads the weights of `tower.following`, by their names in it, when a pruner turns out to need them."""

    def __init__(
        self,
        config: ClipConfig,
        states: Sequence[int],
        keep_cls: bool,
        projector: Projector | None,
        with_following: bool = False,
    ) -> None:
        super().__init__()
        self.image_size = (config.image_size, config.image_size)
        side = config.image_size // config.patch_size
        self.candidates = Candidates((side, side), keep_cls)
        self.tower = ClipTower(config, states, with_following)
        self.projector = projector
        width = config.hidden_size * len(self.tower.states)
        self.blocks = tuple(f"tower.encoder.layers.{i}" for i in range(len(self.tower.encoder.layers)))
        self.width = width if projector is None else projector.linear_2.out_features

    def serving(self, needs: Collection[str]) -> "ClipFrontend":
        """This front end, or one around the same weights that has the layer after the last one read as well.

        Raises:
            ModelError: CLS is a candidate and a signal sets it apart, or there is no layer after the last one read.
        """
        apart = sorted(APART.intersection(needs))
        if self.candidates.cls and apart:
            raise ModelError(
                f"the pruner reads {', '.join(apart)}, where CLS stands beside the candidates, and this model keeps "
                "CLS among them (vision_feature_select_strategy 'full'); choose another pruner"
            )
        if FOLLOWING.isdisjoint(needs) or self.tower.following is not None:
            return self
        config, states = self.tower.config, self.tower.states
        if max(states) == config.num_hidden_layers or self.fetch_following is None:
            raise ModelError(
                "the pruner reads the layer after the one that the features come from, and the features of this "
                "model come from its last layer; choose another pruner"
            )
        weights = {f"following.{name}": tensor.float() for name, tensor in self.fetch_following().items()}
        with torch.device("meta"):
            served = ClipFrontend(config, states, self.candidates.cls, self.projector, with_following=True)
        served.tower.load_state_dict({**self.tower.state_dict(), **weights}, assign=True)
        return served.requires_grad_(False).eval()

    def encode(self, pixel_values: Tensor, needs: Collection[str]) -> Tokens:
        """(b, 3, h, w) to the signals named in `needs`."""
        features, read = self.tower(pixel_values, needs)
        first = 0 if self.candidates.cls else 1
        hidden = features[:, first:]
        rows = {name: signal[:, first:] for name, signal in read.items() if not name.endswith("keys")}
        return Tokens(
            hidden=hidden,
            projected=self.project(hidden) if "projected" in needs else None,
            cls=features[:, :1] if "cls" in needs else None,
            **{name: signal for name, signal in {**read, **rows}.items() if name in needs},
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
