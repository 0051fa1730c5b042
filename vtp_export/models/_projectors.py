"""What maps the features of a token to the language model; state-dict names of `multi_modal_projector`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from vtp_export.functional.precision import at_least_float32
from vtp_export.models._config import activation
from vtp_export.models._norms import RmsNorm


@dataclass(frozen=True, kw_only=True)
class ProjectorConfig(ABC):
    """What shapes a projector, and how its tensors are named and shaped.

    width: channels of the language model.
    pool: patches along an edge of a token, which are joined before a pruner chooses.
    shuffled: whether they stand side by side in it, in raster order (a pixel shuffle); else it is their mean.
    what: for messages. root: what its names begin with, less what stands before it in the checkpoint. mark: the tensor,
        by such a name, that each of them has.
    """

    width: int
    pool: int = 1
    shuffled: ClassVar[bool] = False
    what: ClassVar[str]
    root: ClassVar[str] = "multi_modal_projector."
    mark: ClassVar[str]

    @abstractmethod
    def build(self, width_in: int) -> nn.Module:
        """The module, (b, k, dv) to (b, k, d)."""

    def own_name(self, name: str) -> str:
        """Of a name in the module, that in the checkpoint, after `root`."""
        return name

    def fitted(self, name: str, tensor: Tensor) -> Tensor:
        """Of a tensor of the checkpoint, by the module's name, what the module has in its place."""
        return tensor


@dataclass(frozen=True, kw_only=True)
class TwoLayers(ProjectorConfig):
    """LLaVA's, and ViP-LLaVA's with its norm.

    act: name of the activation. bias: whether the layers have one. norm_eps: of the norm before them, or None.
    """

    what = "two-layer multi-modal projector"
    mark = "multi_modal_projector.linear_1.weight"
    act: str = "gelu"
    bias: bool = True
    norm_eps: float | None = None

    def build(self, width_in: int) -> nn.Module:
        """The module, (b, k, dv) to (b, k, d)."""
        return TwoLayerProjector(width_in, self)


class TwoLayerProjector(nn.Module):
    """Two linear layers, in ViP-LLaVA after a norm."""

    def __init__(self, width_in: int, config: TwoLayers) -> None:
        super().__init__()
        eps = config.norm_eps
        self.projector_layernorm = None if eps is None else nn.LayerNorm(width_in, eps)
        self.activation = activation(config.act)
        self.linear_1 = nn.Linear(width_in, config.width, bias=config.bias)
        self.linear_2 = nn.Linear(config.width, config.width, bias=config.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(b, k, dv) to (b, k, d)."""
        if self.projector_layernorm is not None:
            features = self.projector_layernorm(features)
        projected: Tensor = self.linear_2(self.activation(at_least_float32(self.linear_1(features))))
        return projected


@dataclass(frozen=True, kw_only=True)
class ShuffledTwoLayers(TwoLayers):
    """InternVL's."""

    what = "multi-modal projector of InternVL"
    shuffled = True

    def own_name(self, name: str) -> str:
        """Of a name in the module, that in the checkpoint, after `root`."""
        return name.replace("projector_layernorm.", "layer_norm.")


@dataclass(frozen=True, kw_only=True)
class OneLayer(ProjectorConfig):
    """PaliGemma's."""

    what = "linear multi-modal projector"
    mark = "multi_modal_projector.linear.weight"

    def build(self, width_in: int) -> nn.Module:
        """The module, (b, k, dv) to (b, k, d)."""
        return nn.Sequential(nn.Linear(width_in, self.width))

    def own_name(self, name: str) -> str:
        """Of a name in the module, that in the checkpoint, after `root`."""
        return name.replace("0.", "linear.")


@dataclass(frozen=True, kw_only=True)
class ShuffledMatrix(ProjectorConfig):
    """SmolVLM's and Idefics3's."""

    what = "connector of SmolVLM"
    root = "connector.modality_projection."
    mark = "connector.modality_projection.proj.weight"
    shuffled = True

    def build(self, width_in: int) -> nn.Module:
        """The module, (b, k, dv) to (b, k, d)."""
        return nn.Sequential(nn.Linear(width_in, self.width, bias=False))

    def own_name(self, name: str) -> str:
        """Of a name in the module, that in the checkpoint, after `root`."""
        return name.replace("0.", "proj.")


@dataclass(frozen=True, kw_only=True)
class NormAndMatrix(ProjectorConfig):
    """Gemma 3's. norm_eps: of the norm."""

    what = "multi-modal projector of Gemma 3"
    mark = "multi_modal_projector.mm_input_projection_weight"
    norm_eps: float

    def build(self, width_in: int) -> nn.Module:
        """The module, (b, k, dv) to (b, k, d)."""
        norm, matrix = RmsNorm(width_in, self.norm_eps), nn.Linear(width_in, self.width, bias=False)
        return nn.Sequential(norm, matrix)

    def own_name(self, name: str) -> str:
        """Of a name in the module, that in the checkpoint, after `root`."""
        return {"0.weight": "mm_soft_emb_norm.weight", "1.weight": "mm_input_projection_weight"}[name]

    def fitted(self, name: str, tensor: Tensor) -> Tensor:
        """The norm's weights count from 1, and the matrix stands the other way."""
        return tensor.float() + 1 if name == "0.weight" else tensor.T
