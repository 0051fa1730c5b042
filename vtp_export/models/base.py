"""The contract of a model file.

A file `models/MODEL_TYPE.py`, named after the `model_type` of a Hugging Face `config.json`, defines
`load(checkpoint) -> LoadedModel`. An embedded model, which needs no checkpoint, sets `EMBEDDED = True` and takes None.

Laws, checked for every family: `encode` gives finite signals of the declared shapes; `project` acts on each token
alone, so that projecting and gathering commute (what makes pruning before the projector legitimate); the same
pixels give the same tokens.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from vtp_export.functional.tokens import Tokens
from vtp_export.spec import Candidates, ModelRecord, Preprocessing


class Frontend(Protocol):
    """A vision tower and its projector, as the graph uses them."""

    image_size: tuple[int, int]
    """Height and width of `pixel_values`."""

    candidates: Candidates
    """The tokens that a pruner chooses from."""

    width: int
    """Channels d of a projected token."""

    blocks: tuple[str, ...]
    """Paths of the transformer blocks of the tower in the module, first to last."""

    def serving(self, needs: Collection[str]) -> "Frontend":
        """A front end that can give the signals named in `needs`: itself, or one that holds more of the checkpoint.

        Weights that only some pruners read are fetched here and not by `load`.

        Raises:
            ModelError: this tower has no such signal; says which and why.
        """
        ...

    def encode(self, pixel_values: Tensor, needs: Collection[str]) -> Tokens:
        """(b, 3, h, w) to the signals named in `needs`, `hidden` always."""
        ...

    def project(self, features: Tensor) -> Tensor:
        """(b, k, dv) to (b, k, d), each token alone."""
        ...


@dataclass(frozen=True)
class LoadedModel:
    """A front end with where it came from. `module` is both an `nn.Module` and a `Frontend`."""

    module: nn.Module
    record: ModelRecord
    preprocessing: Preprocessing

    @property
    def frontend(self) -> Frontend:
        """`module`, seen through the contract."""
        return self.module  # type: ignore[return-value]
