"""The contract of a model file.

A file `models/MODEL_TYPE.py`, named after the `model_type` of a Hugging Face `config.json`, defines
`load(checkpoint, needs) -> LoadedModel`: the tensors that signals named in `needs` take are read, and no others. An
embedded model, which needs no checkpoint, sets `EMBEDDED = True` and takes None. One whose pictures have sizes of their
own sets `ANY_SIZE = True`, is told third what it is to be built for (`_sizes.AskedSize`), and has a `FAMILY`
(`_grid_loading.GridFamily`).

Laws, checked for every family: `encode` gives what `gives` says, finite and of the declared shapes; `project` acts on
each token alone, so that projecting and gathering commute (what makes pruning before the projector legitimate); the
same pixels give the same tokens, and pixels beyond the grid change none; the digest changes with every tensor that is
read; a signal that the model cannot give is refused (`ModelError`, "... choose another pruner") before a tensor is
read.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from vtp_export.functional.tokens import Tokens
from vtp_export.spec import Candidates, Framing, ModelRecord, Preprocessing, Saliency


@dataclass(frozen=True)
class AttentionGroup:
    """Layers that meet in one product of attention: they share a dtype, and half precision must hold their logits.

    layers: paths in the module: of query, key and value, in this order, or of one that gives all three side by side.
    heads: how many.
    """

    layers: tuple[str, ...]
    heads: int


class Frontend(Protocol):
    """A vision tower and its projector, as the graph uses them."""

    image_size: tuple[int, int]
    """Height and width of `pixel_values`."""

    candidates: Candidates
    """The tokens that a pruner chooses from."""

    patch: tuple[int, int]
    """Height and width of the pixels that one cell of their grid covers, the first at the top left."""

    width: int
    """Channels d of a projected token."""

    blocks: tuple[str, ...]
    """Paths of the transformer blocks of the tower in the module, first to last."""

    groups: tuple[AttentionGroup, ...]
    """Every attention of the tower."""

    gives: frozenset[str]
    """Signals that `encode` can be asked for, besides `hidden`."""

    saliency: Saliency
    """What the signal of that name is."""

    positions: Tensor | None
    """(axes, n) int64 positions of the candidates in the language model, or None where it counts them itself."""

    planes: int
    """How many more vectors of d channels a token brings to the language model."""

    def encode(self, pixel_values: Tensor, needs: Collection[str]) -> Tokens:
        """(b, 3, h, w) to the signals named in `needs`, `hidden` always."""
        ...

    def project(self, features: Tensor) -> Tensor:
        """(b, k, dv) to (b, k, d), each token alone."""
        ...

    def project_planes(self, features: Tensor) -> Tensor:
        """(b, k, planes * dv) of `Tokens.planes` to (b, k, planes * d), each token alone; if there are planes."""
        ...


@dataclass(frozen=True)
class Tiling:
    """What joins the views of a picture, in a model whose pictures are several.

    newline: (d,) float32 the vector that ends a row of the picture; None where there is none.
    anyres_max: more tokens than those of so many tiles are shrunk by the model; None where it never shrinks them.
    framing: the text that stands among the tokens.
    """

    newline: Tensor | None
    anyres_max: int | None
    framing: Framing


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A front end with where it came from. `module` is both an `nn.Module` and a `Frontend`.

    core: which weights, of those that are read whatever is needed; what calibrations are made of.
    extra: which weights, of all that were read, where signals were asked for that take more; else None.
    beyond: the signals that take more than the core.
    published: whether it is a LLaVA-1.5, whose published numbers a pruner may go by where no others are at hand.
    folder: where its files lie; None for a model of the hub, or one that has no files.
    tiling: None where a picture is one view.
    notes: sentences that the user should read.
    """

    module: nn.Module
    preprocessing: Preprocessing
    core: ModelRecord
    extra: ModelRecord | None = None
    beyond: frozenset[str] = frozenset()
    published: bool = False
    folder: Path | None = None
    tiling: Tiling | None = None
    notes: tuple[str, ...] = ()

    @property
    def frontend(self) -> Frontend:
        """`module`, seen through the contract."""
        return self.module  # type: ignore[return-value]

    def record(self, needs: Collection[str]) -> ModelRecord:
        """Which weights give the signals named in `needs`."""
        return self.core if self.extra is None or self.beyond.isdisjoint(needs) else self.extra
