"""Pruning in Transformers' own decoder: a hook before each of its layers, for the time of a block.

In the prefill, which must be of one prompt and in one piece, layers behind a cut are given fewer tokens with their
rotations. Masks are left out or cut down: a prompt without padding is causal, and stays so without some of its tokens.
A decoded token reads, in each layer, what that layer's cache holds. It stands where it would without pruning, or, of a
method that counts anew, where the cache of the layer ends.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vtp_export.errors import ModelError, SpecError
from vtp_export.inllm._attention import Attention, Rotation, attention_rows, order
from vtp_export.inllm._budgets import Cut
from vtp_export.inllm.base import Span

if TYPE_CHECKING:
    from vtp_export.inllm._cutting import Cutting


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What one cut did.

    cut: as it was planned. scores: (visual,) of the tokens before it. slots: (left,) which are behind it: an index of
    the picture's tokens, or -m of the m-th merged token of the prompt. merged: (merged, d) the values of the new ones.
    """

    cut: Cut
    scores: Tensor
    slots: Tensor
    merged: Tensor


@contextlib.contextmanager
def pruning(decoder: Any, method: "Cutting", span: Span) -> Iterator[list[Stage]]:
    """Prune inside the decoder whatever prompt it reads within the block; `generate()` included.

    Args:
        decoder: one that the method accepts.
        method: what to prune by.
        span: where the visual tokens stand; behind them may stand more or less than it says.

    Yields:
        What was done at each cut, of the latest prompt.

    Raises:
        SpecError: the method cannot reach its budget; or, when asked, a prompt without a question behind the picture.
        ModelError: see `_decoders.refuse_unfit`; or, when asked, several prompts, padding, prompts in pieces, no cache.
    """
    method.refuse_unfit(decoder)
    running = _Running(decoder, method, span)
    hooks = [
        layer.register_forward_pre_hook(partial(running.before, index), with_kwargs=True)
        for index, layer in enumerate(decoder.layers)
    ]
    try:
        yield running.stages
    finally:
        for hook in hooks:
            hook.remove()


class _Running:
    """One prompt on its way through the layers."""

    def __init__(self, decoder: Any, method: "Cutting", span: Span) -> None:
        self.decoder, self.method, self.first, self.count = decoder, method, span.before, span.visual
        cuts = method.cuts(span.visual, len(decoder.layers))
        self.cuts, self.ranked = {cut.before: cut for cut in cuts}, {cut.ranks: cut for cut in cuts}
        self.stages: list[Stage] = []
        self.prefill = False

    def before(self, index: int, layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What a layer is to read in place of what it was given."""
        states, cache = args[0], kwargs.get("past_key_values")
        if index == 0:
            self._begin(states, cache, kwargs)
        if not self.prefill:
            return args, self._step(index, states, cache, kwargs)
        states = states[0]
        if index in self.cuts:
            states = self._cut(self.cuts[index], layer, states)
        if index in self.ranked and self.ranked[index].before > index:
            self.scores = self._ranked(layer, states)
        if not self.stages:
            return None
        mask = kwargs.get("attention_mask")
        mask = None if mask is None else mask[..., : len(states), : len(states)]
        changed = {"attention_mask": mask, "position_ids": None}
        rotation = tuple(part[None] for part in self.rotation)
        return (states[None], *args[1:]), {**kwargs, **changed, "position_embeddings": rotation}

    def _begin(self, states: Tensor, cache: Any, kwargs: dict[str, Any]) -> None:
        """A prompt, or a further token."""
        if cache is None or cache.is_compileable:
            raise ModelError("pruning inside the decoder needs a cache that grows: use_cache, and a DynamicCache")
        length = states.shape[1]
        self.prefill = cache.get_seq_length() == 0
        if len(states) != 1:
            raise ModelError(f"pruning inside the decoder is for one prompt at a time, and {len(states)} were given")
        if not self.prefill:
            if length > 1:
                raise ModelError(
                    "pruning inside the decoder is for prompts in one piece and answers token by token; "
                    f"{length} tokens were given behind a prompt"
                )
            return
        if length <= self.first + self.count:
            raise SpecError(
                f"the prompt has {length} tokens, and a question was expected behind the picture, which ends at "
                f"{self.first + self.count}"
            )
        if not _plain(kwargs.get("attention_mask"), length):
            raise ModelError("pruning inside the decoder is for a prompt without padding, and this one is masked")
        del self.stages[:]
        self.slots = torch.arange(self.count, device=states.device)
        self.rotation: Rotation = tuple(part[0] for part in kwargs["position_embeddings"])
        behind = self.first + self.count
        found = self.method.raters(states[0, self.first : behind], states[0, behind:])
        if not len(found):
            raise SpecError("no word of the question stands out against the picture, so none can rank its tokens")
        self.raters = found - (length - behind)  # counted from the end, where nothing is dropped

    def _ranked(self, layer: Any, states: Tensor) -> Tensor:
        """What each visual token that is left is worth to this layer."""
        rows, visual = self.raters + len(states), slice(self.first, self.first + len(self.slots))
        weights = attention_rows(layer, states, self.rotation, rows)[..., visual]
        turned: list[Any] = [tuple(part[place] for part in self.rotation) for place in (rows, visual)]
        scores = self.method.scores(Attention(weights=weights, raters=turned[0], visual=turned[1]))
        if not bool(scores.isfinite().all()):
            kind, place = str(states.dtype).removeprefix("torch."), layer.self_attn.layer_idx
            raise ModelError(
                f"attention of layer {place} is not finite in {kind}, and ranks nothing; try --dtype float32; if it is "
                "that, the weights are damaged"
            )
        return scores

    def _cut(self, cut: Cut, layer: Any, states: Tensor) -> Tensor:
        """The states that are left, in a sequence; their rotation is set."""
        scores = self._ranked(layer, states) if cut.ranks == cut.before else self.scores
        ahead, behind = states[: self.first], states[self.first + len(self.slots) :]
        visual = states[self.first : self.first + len(self.slots)]
        stays = torch.zeros_like(scores, dtype=torch.bool)
        stays[order(scores)[: cut.keep]] = True
        merged = self.method.merge(visual[~stays], scores[~stays], cut.merged)
        made = sum(len(stage.merged) for stage in self.stages)
        new = -torch.arange(made + 1, made + 1 + len(merged), device=stays.device)
        left = torch.cat([ahead, visual[stays], merged, behind])
        if self.method.renumbers:
            self.rotation = self._rotation(left, torch.arange(len(left), device=left.device))
        else:
            whole = stays.new_ones(len(states))
            whole[self.first : self.first + len(stays)] = stays
            cos, sin = self.rotation
            self.rotation = cos[whole], sin[whole]
        self.slots = torch.cat([self.slots[stays], new])
        self.stages.append(Stage(cut=cut, scores=scores, slots=self.slots, merged=merged))
        return left

    def _step(self, index: int, states: Tensor, cache: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        """A further token reads all that the layer's cache holds, whatever mask the first layer's would make."""
        changed: dict[str, Any] = {"attention_mask": None, "position_ids": None}
        if self.method.renumbers:
            place = torch.tensor([cache.get_seq_length(index)], device=states.device)
            changed["position_embeddings"] = tuple(part[None] for part in self._rotation(states[0], place))
        return {**kwargs, **changed}

    def _rotation(self, states: Tensor, places: Tensor) -> Rotation:
        cos, sin = self.decoder.rotary_emb(states, places[None])
        return cos[0], sin[0]


def _plain(mask: Tensor | None, length: int) -> bool:
    """Whether a mask says no more than that nothing looks ahead."""
    if mask is None:
        return True
    looks = mask if mask.dtype == torch.bool else mask == 0
    causal = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
    return looks.shape[-2:] == causal.shape and bool((looks == causal).all())
