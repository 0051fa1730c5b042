"""A checkpoint's language model, as Transformers has it, which reads pruned visual tokens.

The tokens may come from the eager graph or from any artefact. They stand where the image stood in the prompt, with the
text that belongs around and between them, at consecutive positions, as LLaVA and every pre-LLM pruner for it do; or,
for a language model that counts rows and columns, where they stood in the whole picture, with the text going on behind
it. The prompt up to and with the image is run once an image; all its questions share that cache.
"""

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vtp_export.benchmarks.base import Decoded
from vtp_export.errors import ModelError, SpecError, UnavailableError, first_line
from vtp_export.extras import install
from vtp_export.functional.devices import dtype_of, prepare
from vtp_export.integrations.processors import quiet
from vtp_export.manifests import AXES
from vtp_export.runtime.packing import Picture
from vtp_export.runtime.positions import places_of

LLAVA_PROMPT = "USER: {images}{question} ASSISTANT:"
"""Of LLaVA-1.5, for checkpoints that carry no chat template."""

BOTH_WAYS = frozenset({"gemma3", "paligemma"})
"""Families whose language model is given, of a picture, more than a causal sequence."""

ONE_VIEW_OF_SEVERAL = frozenset({"llava_onevision"})
"""Families that cut an image into tiles only where it is the only one of its prompt."""


class Answerer:
    """The language model of a checkpoint, fed with visual tokens from elsewhere.

    Args:
        source: folder or hub id of a LLaVA, LLaVA-NeXT, LLaVA-OneVision, InternVL, SmolVLM, Idefics3 or Qwen-VL.
        revision: commit, branch or tag on the hub.
        device: "cpu" or "cuda"; an order, as everywhere.
        dtype: what it computes with, one of `functional.devices.DTYPES`.

    Raises:
        UnknownNameError: no such device or dtype.
        UnavailableError: transformers is not installed, or there is no such device here.
        ModelError: the checkpoint has no language model that Transformers can load, or one that attends both ways.
    """

    def __init__(
        self, source: str, revision: str | None = None, *, device: str = "cpu", dtype: str = "float32"
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
                self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(source, **at)
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
        self._image = self._model.config.image_token_id
        eos = self._model.generation_config.eos_token_id
        self._ends = set(eos) if isinstance(eos, list) else {eos if eos is not None else self._tokenizer.eos_token_id}

    @torch.inference_mode()
    def answer(self, pictures: Picture | Sequence[Picture], prompts: Sequence[str], longest: int = 64) -> list[Decoded]:
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
        if not shown:
            raise SpecError("no pictures were given; a question is about one or more")
        if len(shown) > 1 and self._model.config.model_type in ONE_VIEW_OF_SEVERAL:
            raise ModelError(
                f"{self._model.config.model_type} sees several images of one prompt without tiles, which is not there; "
                "ask about one image at a time"
            )
        split = [self._split(prompt, [picture.text for picture in shown]) for prompt in prompts]
        answers: dict[int, Decoded] = {}
        for before in dict.fromkeys(before for before, _ in split):
            cache, start = self._begun(before, shown)
            same = [i for i, (other, _) in enumerate(split) if other == before]
            for group in _batches(cache, {i: len(split[i][1]) for i in same}):
                decoded = self._decode(cache, [split[i][1] for i in group], longest, start)
                answers.update(zip(group, decoded, strict=True))
        return [answers[i] for i in range(len(prompts))]

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
        lengths = [length for ids, run in zip(before, _runs(pictures), strict=True) for length in (len(ids), run)]
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
        runs = tokens.split(_runs(pictures), dim=1)
        return torch.cat([part for ids, run in zip(before, runs, strict=True) for part in (self._embed([ids]), run)], 1)

    def _split(
        self, question: str, texts: Sequence[Sequence[str]] = (("", ""),)
    ) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
        """Token ids before each run of visual tokens, and after the last.

        Args:
            question: what is asked.
            texts: of each picture, what stands before, between and after its runs.
        """
        faults, image = [], self._tokenizer.convert_ids_to_tokens(self._image)
        for prompt in self._prompts(question, len(texts)):
            try:
                whole = prompt()
                count = self._tokenizer(whole)["input_ids"].count(self._image)
                around = whole.split(image)
                framed = [image.join(text) + behind for text, behind in zip(texts, around[1:], strict=False)]
                ids = self._tokenizer("".join([around[0], *framed]))["input_ids"]
            except Exception as error:  # a template is a program, and Jinja raises whatever it raises
                faults.append(f"{type(error).__name__}: {first_line(error)}")
                continue
            if count == len(around) - 1 == len(texts) and ids.count(self._image) == sum(map(len, texts)) - len(texts):
                places = [-1, *(place for place, token in enumerate(ids) if token == self._image), len(ids)]
                *before, after = (tuple(ids[a + 1 : b]) for a, b in itertools.pairwise(places))
                return tuple(before), after
            faults.append(
                f"it puts {count} images into the prompt, and {len(texts)} {'is' if len(texts) == 1 else 'are'} needed"
            )
        raise ModelError(f"the chat template cannot be used: {'; '.join(dict.fromkeys(faults))}")

    def _prompts(self, question: str, images: int = 1) -> list[Callable[[], str]]:
        """What makes the prompt: of content in parts, as templates of today read it; of one text, as older ones do."""
        if not self._tokenizer.chat_template:
            return [lambda: LLAVA_PROMPT.format(images="<image>\n" * images, question=question)]
        parts = [*([{"type": "image"}] * images), {"type": "text", "text": question}]
        text = f"{self._tokenizer.convert_ids_to_tokens(self._image)}\n" * images + question
        return [partial(self._templated, parts), partial(self._templated, text)]

    def _templated(self, content: Any) -> str:
        turns = [{"role": "user", "content": content}]
        text: str = self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return text

    def _embed(self, ids: Sequence[Sequence[int]]) -> Tensor:
        embedded: Tensor = self._model.get_input_embeddings()(
            torch.tensor(ids, dtype=torch.int64, device=self._model.device)
        )
        return embedded

    def _decode(
        self, cache: Any, suffixes: Sequence[tuple[int, ...]], longest: int, start: int | None = None
    ) -> list[Decoded]:
        cache = copy.deepcopy(cache)
        if len(suffixes) > 1:
            cache.batch_repeat_interleave(len(suffixes))
        step = self._embed(suffixes)
        ids: list[list[int]] = [[] for _ in suffixes]
        gaps: list[list[float]] = [[] for _ in suffixes]
        running = set(range(len(suffixes)))
        for _ in range(longest):
            rows = {}
            if start is not None:  # the model itself would count the tokens that are left
                places = torch.arange(start, start + step.shape[1], device=step.device)
                rows["position_ids"] = places.expand(AXES, len(suffixes), -1)
                start += step.shape[1]
            out = self._model(inputs_embeds=step, past_key_values=cache, use_cache=True, logits_to_keep=1, **rows)
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
            step = self._embed(chosen[:, None].tolist())
        texts = [self._tokenizer.decode(row, skip_special_tokens=True).strip() for row in ids]
        return [Decoded(tuple(i), text, tuple(g)) for i, text, g in zip(ids, texts, gaps, strict=True)]


def _runs(pictures: Sequence[Picture]) -> list[int]:
    return [run for picture in pictures for run in picture.runs]


def _batches(cache: Any, lengths: Mapping[int, int]) -> list[list[int]]:
    """Questions that are answered together, by their lengths in tokens.

    Those of one length make a batch that needs no padding, and so no other arithmetic than one alone. A cache of linear
    attention serves one.
    """
    if not all(hasattr(layer, "batch_repeat_interleave") for layer in getattr(cache, "layers", ())):
        return [[i] for i in lengths]
    return [[i for i, own in lengths.items() if own == length] for length in sorted(set(lengths.values()))]
