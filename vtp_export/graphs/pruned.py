"""The graph that is exported: pixels in, pruned and projected tokens out."""

import torch
from torch import Tensor, nn

from vtp_export.errors import ModelError
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.sizes import static_size
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.models.base import Frontend
from vtp_export.pruners.base import Pruner
from vtp_export.spec import TensorSpec


class PrunedFrontend(nn.Module):
    """Tower, pruner, projector and gather, with the fixed output contract.

    Outputs, a plain tuple in the order of `outputs`: `tokens` (b, k, d); `kept` (b, k) int64, -1 in empty slots;
    `num_kept` (b,) int64; then `erank` (b,) and `attention_entropy` (b,), each only if the pruner measures it; then
    `position_ids` (b, axes, k) int64, only if the front end has positions, and `deepstack` (b, k, planes * d), only if
    it has planes. Slots past `num_kept` hold zeros, and -1 for positions, as a token does that stands for no place.

    Args:
        frontend: an `nn.Module` that is a `Frontend`.
        pruner: what chooses.
        tokens_dtype: of the tokens that are returned; None for that of the features.

    Raises:
        ModelError: the front end does not give a signal that the pruner needs.
    """

    def __init__(self, frontend: Frontend, pruner: Pruner, tokens_dtype: torch.dtype | None = None) -> None:
        super().__init__()
        missing = sorted(pruner.method.needs - frontend.gives)
        if missing:
            raise ModelError(
                f"the pruner reads {', '.join(missing)}, which this model, as it was loaded, does not give; "
                "load it for this pruner, or choose another pruner"
            )
        self.frontend = frontend
        self.pruner = pruner
        self.tokens_dtype = tokens_dtype

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the graph takes."""
        return (TensorSpec("pixel_values", "float32", ("b", 3, *self.frontend.image_size)),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the graph returns, in order."""
        method, dtype = self.pruner.method, str(self.tokens_dtype or torch.float32).removeprefix("torch.")
        return (
            TensorSpec("tokens", dtype, ("b", method.slots, self.frontend.width)),
            TensorSpec("kept", "int64", ("b", method.slots)),
            TensorSpec("num_kept", "int64", ("b",)),
            *(TensorSpec(name, "float32", ("b",)) for name in method.measures),
            *(TensorSpec("position_ids", "int64", ("b", len(table), method.slots)) for table in self._positions),
            *(TensorSpec("deepstack", dtype, ("b", method.slots, width)) for width in self._planes),
        )

    @property
    def _positions(self) -> tuple[Tensor, ...]:
        """The table (axes, n) of the front end's positions, where it has one."""
        table = self.frontend.positions
        return () if table is None else (table,)

    @property
    def _planes(self) -> tuple[int, ...]:
        """Channels of all planes together, where there are any."""
        return (self.frontend.planes * self.frontend.width,) if self.frontend.planes else ()

    def encode(self, pixel_values: Tensor) -> Tokens:
        """(b, 3, h, w) to the signals that the pruner reads."""
        return self.frontend.encode(pixel_values, self.pruner.method.needs)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """(b, 3, h, w) to the outputs above."""
        tokens = self.encode(pixel_values)
        return self.finish(tokens, self.pruner(tokens))

    def finish(self, tokens: Tokens, selection: Selection) -> tuple[Tensor, ...]:
        """Gather, project and lay out what was selected."""
        method = self.pruner.method
        features = tokens.hidden if method.stage == "hidden" else tokens.projected
        assert features is not None
        if selection.mix is not None and static_size(selection.mix, -1) > static_size(features, 1):
            assert tokens.cls is not None and method.stage == "hidden"
            features = torch.cat([tokens.cls, features], dim=1)  # CLS is candidate 0 of such a mixture
        chosen = _chosen(features, selection)
        if method.stage == "hidden":
            chosen = self.frontend.project(chosen)
        carried = [chosen, *(self._carried(tokens, selection) for _ in self._planes)]
        kept, batch = selection.kept, selection.kept.shape[0]
        if selection.num_kept is None:
            num_kept = torch.full((batch,), method.slots, dtype=torch.int64, device=kept.device)
        else:
            num_kept = selection.num_kept
            slot = torch.arange(method.slots, device=kept.device)
            real = slot < num_kept[:, None]  # (b, k)
            kept = torch.where(real, kept, -1)
            carried = [torch.where(real[:, :, None], one, 0.0) for one in carried]
        chosen, *planes = carried if self.tokens_dtype is None else [one.to(self.tokens_dtype) for one in carried]
        measured = tuple(getattr(selection, name) for name in method.measures)
        return (chosen, kept, num_kept, *measured, *(_places(table, kept) for table in self._positions), *planes)

    def _carried(self, tokens: Tokens, selection: Selection) -> Tensor:
        """The planes (b, k, planes * d) of what was selected, chosen or mixed where the tokens are."""
        planes = tokens.planes
        assert planes is not None
        if selection.mix is not None and self.pruner.method.stage == "projected":
            return _chosen(self.frontend.project_planes(planes), selection)
        return self.frontend.project_planes(_chosen(planes, selection))


def _places(table: Tensor, kept: Tensor) -> Tensor:
    """Positions (b, axes, k) of what is kept (b, k), by a table (axes, n); -1 where that is -1."""
    slots = static_size(kept, 1)
    places = table.index_select(1, kept.clamp(min=0).flatten()).reshape(static_size(table, 0), -1, slots)
    return torch.where(kept[:, None] >= 0, places.transpose(0, 1), -1)


def _chosen(features: Tensor, selection: Selection) -> Tensor:
    """The output tokens (b, k, ...): gathered rows, or a mixture."""
    if selection.mix is not None:
        features = at_least_float32(features)
        return selection.mix.to(features.dtype) @ features
    width = features.shape[-1]
    return features.gather(1, selection.kept[:, :, None].expand(-1, -1, width))
