"""The texts around pictures and a question, as token ids."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from vtp_export.errors import ModelError, UnknownNameError, first_line

TEMPLATE = "template"

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
"""What Vicuna was trained to read first."""

FORMS = {
    TEMPLATE: "USER: {images}{question} ASSISTANT:",
    "vicuna_v1": f"{SYSTEM} USER: {{images}}{{question}} ASSISTANT:",
}
"""How a prompt is worded: the checkpoint's own template, and LLaVA-1.5's where it carries none; as LLaVA's evaluation
asks LLaVA-1.5, whatever the checkpoint carries."""


class Frames:
    """Puts questions into the words of a checkpoint, and into token ids.

    Args:
        tokenizer: of the checkpoint, as Transformers has it.
        image: the id that stands for pictures.
        form: one of `FORMS`.

    Raises:
        UnknownNameError: no such form.
    """

    def __init__(self, tokenizer: Any, image: int, form: str = TEMPLATE) -> None:
        """See the class."""
        if form not in FORMS:
            raise UnknownNameError("prompt form", form, list(FORMS))
        self.tokenizer, self._image, self.form = tokenizer, image, form

    def split(
        self, question: str, texts: Sequence[Sequence[str]] = (("", ""),)
    ) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
        """Token ids before each run of visual tokens, and after the last.

        Args:
            question: what is asked.
            texts: of each picture, what stands before, between and after its runs.

        Raises:
            ModelError: the chat template cannot be used.
        """
        _, ids = self._usable(question, texts)
        places = [-1, *(place for place, token in enumerate(ids) if token == self._image), len(ids)]
        *before, after = (tuple(ids[a + 1 : b]) for a, b in itertools.pairwise(places))
        return tuple(before), after

    def around(self, question: str) -> tuple[str, str]:
        """The texts of a prompt before its one picture, and behind it.

        Args:
            question: what is asked.

        Raises:
            ModelError: the chat template cannot be used.
        """
        before, behind = self._usable(question, (("", ""),))[0].split(self.mark)
        return before, behind

    @property
    def mark(self) -> str:
        """The text that stands for a picture."""
        return str(self.tokenizer.convert_ids_to_tokens(self._image))

    def _usable(self, question: str, texts: Sequence[Sequence[str]]) -> tuple[str, list[int]]:
        """The prompt as text, a mark for each picture; and as ids, a mark for each run of visual tokens."""
        faults, image = [], self.mark
        for prompt in self._prompts(question, len(texts), image):
            try:
                whole = prompt()
                count = self.tokenizer(whole)["input_ids"].count(self._image)
                around = whole.split(image)
                framed = [image.join(text) + behind for text, behind in zip(texts, around[1:], strict=False)]
                ids: list[int] = self.tokenizer("".join([around[0], *framed]))["input_ids"]
            except Exception as error:  # a template is a program, and Jinja raises whatever it raises
                faults.append(f"{type(error).__name__}: {first_line(error)}")
                continue
            if count == len(around) - 1 == len(texts) and ids.count(self._image) == sum(map(len, texts)) - len(texts):
                return whole, ids
            faults.append(
                f"it puts {count} images into the prompt, and {len(texts)} {'is' if len(texts) == 1 else 'are'} needed"
            )
        raise ModelError(f"the chat template cannot be used: {'; '.join(dict.fromkeys(faults))}")

    def _prompts(self, question: str, images: int, image: str) -> list[Callable[[], str]]:
        """What makes the prompt: of content in parts, as templates of today read it; of one text, as older ones do."""
        if self.form != TEMPLATE or not self.tokenizer.chat_template:
            return [lambda: FORMS[self.form].format(images=f"{image}\n" * images, question=question)]
        parts = [*([{"type": "image"}] * images), {"type": "text", "text": question}]
        return [partial(self._templated, parts), partial(self._templated, f"{image}\n" * images + question)]

    def _templated(self, content: Any) -> str:
        turns = [{"role": "user", "content": content}]
        text: str = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return text
