"""A checkpoint's language model, as Transformers has it, which reads pruned visual tokens.

The tokens may come from the eager graph or from any artefact. They stand where the image stood in the prompt, with the
text that belongs around and between them, at consecutive positions, as LLaVA and every pre-LLM pruner for it do; or,
for a language model that counts rows and columns, where they stood in the whole picture, with the text going on behind
it. The prompt up to and with the image is run once an image; all its questions share that cache.

Questions are answered together where none has to be padded: prompts up to the image of one length, and what follows of
one length. Padding would shift positions and mask keys, which is other arithmetic than that of a question alone.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vtp_export.benchmarks.base import Decoded
from vtp_export.costs.decoder import DecoderShape, shape_of
from vtp_export.errors import ModelError, UnavailableError, first_line
from vtp_export.extras import install
from vtp_export.functional.devices import dtype_of, prepare
from vtp_export.inllm.base import Method, Span
from vtp_export.integrations.batching import Step, Tokenised, alike_in, groups_of, refuse_unreadable, runs_of
from vtp_export.integrations.identity import language_model_digest
from vtp_export.integrations.processors import quiet
from vtp_export.integrations.prompts import TEMPLATE, Frames
from vtp_export.manifests import AXES
from vtp_export.parity.asking import BATCH, LONGEST, Prompt
from vtp_export.runtime.images import batched
from vtp_export.runtime.packing import Picture
from vtp_export.runtime.positions import places_of, prompt_places

BOTH_WAYS = frozenset({"gemma3", "paligemma"})
"""Families whose language model is given, of a picture, more than a causal sequence."""


class Answerer:
    """The language model of a checkpoint, fed with visual tokens from elsewhere.

    Args:
        source: folder or hub id of a LLaVA, LLaVA-NeXT, LLaVA-OneVision, InternVL, SmolVLM, Idefics3 or Qwen-VL.
        revision: commit, branch or tag on the hub.
        device: "cpu" or "cuda"; an order, as everywhere.
        dtype: what it computes with, one of `functional.devices.DTYPES`.
        form: how prompts are worded, one of `integrations.prompts.FORMS`.

    Raises:
        UnknownNameError: no such device, dtype or form.
        UnavailableError: transformers is not installed, or there is no such device here.
        ModelError: the checkpoint has no language model that Transformers can load, or one that attends both ways.
    """

    def __init__(
        self,
        source: str,
        revision: str | None = None,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        form: str = TEMPLATE,
    ) -> None:
        kind = dtype_of(dtype)
        prepare(device)
        try:
            import transformers
        except ImportError as error:
            raise UnavailableError(f"answers need transformers: {install('export')}") from error
        try:
            with quiet(transformers):
                at = {} if revision is None else {"revision": revision}
                loader: Any = transformers.AutoModelForImageTextToText
                self._model = loader.from_pretrained(source, dtype=kind, **at).to(device).eval()
                tokenizer: Any = transformers.AutoTokenizer.from_pretrained(source, **at)
        except Exception as error:  # whatever a strange config.json makes of Transformers' own checks
            raise ModelError(
                f"'{source}' has no language model that answers can come from: {first_line(error)}"
            ) from error
        if (family := self._model.config.model_type) in BOTH_WAYS:
            raise ModelError(
                f"answers cannot come from '{source}': the language model of {family} attends both ways among a "
                "picture's tokens, which is not there"
            )
        self._model.requires_grad_(False)
        self._version: str = transformers.__version__
        self._frames, self._tokenizer = Frames(tokenizer, self._model.config.image_token_id, form), tokenizer
        eos = self._model.generation_config.eos_token_id
        self._ends = set(eos) if isinstance(eos, list) else {eos if eos is not None else tokenizer.eos_token_id}

    @property
    def frames(self) -> Frames:
        """What puts questions into the checkpoint's words."""
        return self._frames

    @property
    def layers(self) -> int:
        """Of the language model."""
        return int(self._model.config.get_text_config().num_hidden_layers)

    @property
    def shape(self) -> DecoderShape:
        """Of the language model.

        Raises:
            SpecError: its config names no such sizes, as one of several experts.
        """
        return shape_of(self._model.config.get_text_config().to_dict())

    @property
    def itemsize(self) -> int:
        """Bytes of a number that it computes with."""
        return int(self._model.dtype.itemsize)

    def refuse_unfit(self, within: Method) -> None:
        """See that a method can prune inside this language model, before a prompt comes.

        Raises:
            ModelError: it cannot.
        """
        within.refuse_unfit(self._model.model.language_model)

    def length(self, prompt: Prompt) -> int:
        """Tokens of a prompt, text and pictures together.

        Raises:
            ModelError: the chat template cannot be used.
        """
        asked = self._split(prompt)
        return sum(map(len, asked.before)) + sum(runs_of(asked.pictures)) + len(asked.after)

    def identity(self) -> dict[str, str]:
        """What decides its answers: versions, weights, words, and what it computes with."""
        return {
            "torch": torch.__version__,
            "transformers": self._version,
            "language model": language_model_digest(self._model, self._tokenizer),
            "form": self._frames.form,
            "device": self._model.device.type,
            "dtype": str(self._model.dtype),
        }

    def answer(
        self, pictures: Picture | Sequence[Picture], prompts: Sequence[str], longest: int = LONGEST
    ) -> list[Decoded]:
        """Answer questions about one image, or about several together.

        Args:
            pictures: what is read of each, in the order in which the prompt shows them, before the question.
            prompts: the questions.
            longest: most tokens of an answer.

        Returns:
            One answer a question, in order.

        Raises:
            SpecError: there is no image.
            ModelError: the chat template cannot be used, or the model would see several images otherwise than one.
        """
        shown = (pictures,) if isinstance(pictures, Picture) else tuple(pictures)
        return self.answer_each([Prompt(shown, prompt, longest) for prompt in prompts])

    @torch.inference_mode()
    def answer_each(self, prompts: Sequence[Prompt], batch: int = BATCH, within: Method | None = None) -> list[Decoded]:
        """Answer questions, each about images of its own.

        Args:
            prompts: the questions; those about the very same `Picture` share its work.
            batch: so many are decoded together at most.
            within: prunes inside the language model. Then every prompt is run whole and alone, because what is pruned
                depends on its question.

        Returns:
            One answer a question, in order.

        Raises:
            SpecError: there is no image.
            ModelError: as `answer`; or `within` cannot prune such a prompt.
        """
        for prompt in prompts:
            refuse_unreadable(prompt, self._model.config.model_type)
        if within is not None:
            return [self._answer_within(within, prompt) for prompt in prompts]
        asked = [self._split(prompt) for prompt in prompts]
        answers: dict[int, Decoded] = {}
        for alike in alike_in(asked):
            for few in batched(alike, batch):
                cache, start = self._begun_together([(asked[own[0]].before, asked[own[0]].pictures) for own in few])
                rows = {number: row for row, own in enumerate(few) for number in own}
                for group in groups_of(cache, {number: asked[number] for number in rows}, batch):
                    decoded = self._decode(cache, [(rows[i], asked[i].after) for i in group], asked[group[0]], start)
                    answers.update(zip(group, decoded, strict=True))
        return [answers[i] for i in range(len(prompts))]

    def _split(self, prompt: Prompt) -> Tokenised:
        before, after = self._frames.split(prompt.text, [picture.text for picture in prompt.pictures])
        return Tokenised(before=before, pictures=prompt.pictures, after=after, longest=prompt.longest)

    def _answer_within(self, within: Method, prompt: Prompt) -> Decoded:
        """The prompt whole, the decoder pruning while it reads."""
        asked = self._split(prompt)
        (picture, *others), (before, *between) = asked.pictures, asked.before
        if others or between or picture.deepstack is not None:
            raise ModelError(
                f"pruning inside the language model of {self._model.config.model_type} is not there: it takes one run "
                "of visual tokens, and these are several runs, or planes beside them"
            )
        whole = torch.cat([self._spliced(asked.before, asked.pictures), self._embed([asked.after])], 1)
        placed = prompt_places([len(before)], asked.pictures, len(asked.after))
        places, start = (None, None) if placed is None else placed
        span = Span(len(before), len(picture.tokens), len(asked.after))
        within = within.of_views(span.visual, picture.views[0].num_kept)
        with within.pruning(self._model.model.language_model, span):
            return self._greedily(Step(whole, None, places), 1, asked.longest, start)[0]

    def _begun_together(self, prompts: Sequence[tuple[Any, Any]]) -> tuple[Any, int | None]:
        """As `_begun`, of several prompts of one length, whose caches are the rows of one."""
        if len(prompts) == 1:
            return self._begun(*prompts[0])
        prefixes = torch.cat([self._spliced(before, pictures) for before, pictures in prompts])
        return self._model(inputs_embeds=prefixes, use_cache=True, logits_to_keep=1).past_key_values, None

    def _begun(self, before: Sequence[Sequence[int]], pictures: Sequence[Picture]) -> tuple[Any, int | None]:
        """The cache of a prompt up to and with its images, and where the next token stands; None if it is counted."""
        prefix, places = self._spliced(before, pictures), places_of([len(ids) for ids in before], pictures)
        if places is None:
            return self._model(inputs_embeds=prefix, use_cache=True, logits_to_keep=1).past_key_values, None
        positions, start = places
        rows = {"position_ids": torch.from_numpy(positions)[:, None].to(prefix.device)}
        deepstack = [picture.deepstack for picture in pictures if picture.deepstack is not None]
        if not deepstack:
            return self._model(inputs_embeds=prefix, **rows, use_cache=True, logits_to_keep=1).past_key_values, start
        planes = self._on_device(np.concatenate(deepstack)).split(prefix.shape[-1], dim=-1)
        lengths = [length for ids, run in zip(before, runs_of(pictures), strict=True) for length in (len(ids), run)]
        visual = np.repeat([False, True] * len(before), lengths)
        rows["visual_pos_masks"] = torch.from_numpy(visual)[None].to(prefix.device)
        text: Any = self._model.model.language_model
        return text(inputs_embeds=prefix, **rows, deepstack_visual_embeds=planes, use_cache=True).past_key_values, start

    def _on_device(self, rows: np.ndarray) -> Tensor:
        plain = np.ascontiguousarray(rows, rows.dtype.newbyteorder("="))
        return torch.from_numpy(plain).to(self._model.device, self._model.dtype)

    def _spliced(self, before: Sequence[Sequence[int]], pictures: Sequence[Picture]) -> Tensor:
        """(1, m, d): the texts before each run of visual tokens, and the runs."""
        tokens = self._on_device(np.concatenate([picture.tokens for picture in pictures]))[None]
        runs = tokens.split(runs_of(pictures), dim=1)
        return torch.cat([part for ids, run in zip(before, runs, strict=True) for part in (self._embed([ids]), run)], 1)

    def _embed(self, ids: Sequence[Sequence[int]]) -> Tensor:
        embedded: Tensor = self._model.get_input_embeddings()(
            torch.tensor(ids, dtype=torch.int64, device=self._model.device)
        )
        return embedded

    def _decode(
        self, cache: Any, suffixes: Sequence[tuple[int, tuple[int, ...]]], like: Tokenised, start: int | None
    ) -> list[Decoded]:
        """Answers to what follows a row of the cache; all of one length."""
        cache, rows = copy.deepcopy(cache), [row for row, _ in suffixes]
        if rows != [0]:
            cache.batch_select_indices(torch.tensor(rows, device=self._model.device))
        step = self._embed([after for _, after in suffixes])
        places = None if start is None else np.tile(np.arange(start, start + len(like.after)), (AXES, 1))
        behind = None if start is None else start + len(like.after)
        return self._greedily(Step(step, cache, places), len(rows), like.longest, behind)

    def _greedily(self, step: Step, count: int, longest: int, start: int | None) -> list[Decoded]:
        """Decode from a first step; `start`: where the token behind it stands, None if the model counts them."""
        ids: list[list[int]] = [[] for _ in range(count)]
        gaps: list[list[float]] = [[] for _ in range(count)]
        running = set(range(count))
        for number in range(longest):
            rows = {}
            if step.places is not None:  # the model itself would count the tokens that are left
                places = torch.from_numpy(step.places).to(self._model.device)
                rows["position_ids"] = places[:, None].expand(-1, count, -1)
            out = self._model(
                inputs_embeds=step.embeds, past_key_values=step.cache, use_cache=True, logits_to_keep=1, **rows
            )
            logits = out.logits[:, -1].float()  # (questions, words)
            best = logits.topk(2, dim=-1).values
            chosen = logits.argmax(-1)
            for i in sorted(running):
                gaps[i].append(float(best[i, 0] - best[i, 1]))
                if int(chosen[i]) in self._ends:
                    running.discard(i)
                else:
                    ids[i].append(int(chosen[i]))
            if not running:
                break
            place = None if start is None else np.full((AXES, 1), start + number)
            step = Step(self._embed(chosen[:, None].tolist()), out.past_key_values, place)
        texts = [self._tokenizer.decode(row, skip_special_tokens=True).strip() for row in ids]
        return [Decoded(tuple(i), text, tuple(g)) for i, text, g in zip(ids, texts, gaps, strict=True)]
