"""A model of VLMEvalKit that runs an artefact inside its data sets.

VLMEvalKit has no entry points: `supported_VLM`, the table of its `vlmeval/config.py`, is given the model under a name,
before `run.py` is asked for that name. All pictures of a message stand before its texts, which are joined by line ends.

Source: VLMEvalKit, `vlmeval/vlm/base.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vtp_export.errors import SpecError
from vtp_export.integrations.pruned_model import Asked, PrunedModel

try:
    from vlmeval.vlm.base import BaseModel as Base
except ImportError:  # it can be read without; only VLMEvalKit has a use for it
    Base = object

LONGEST = 2048
"""Most tokens of an answer, as VLMEvalKit's own LLaVA has it."""


class Model(Base):  # type: ignore[misc] # what it inherits from is known where VLMEvalKit is
    """See the module.

    Args:
        artefact: the folder.
        format: one of its formats.
        longest: most tokens of an answer.
        named: see `PrunedModel`.

    Raises:
        VtpError: the artefact or the checkpoint cannot be used.
    """

    INTERLEAVE = True

    def __init__(self, artefact: str, format: str | None = None, *, longest: int = LONGEST, **named: Any) -> None:
        """See the class."""
        super().__init__()
        self._longest = longest
        self._model = PrunedModel(artefact, format, **named)

    def generate_inner(self, message: Sequence[Mapping[str, Any]], dataset: str | None = None) -> str:
        """The answer to one message.

        Args:
            message: parts, each with its type and value: "image" and a path, or "text" and a text.
            dataset: of no use here.

        Raises:
            SpecError: a part is something else, or there is no picture.
            ModelError, ImageError: as `PrunedModel.answer`.
        """
        parts: dict[str, list[str]] = {"image": [], "text": []}
        for part in message:
            if part["type"] not in parts:
                raise SpecError(f"a part of a message is {part['type']!r}; an artefact reads image and text")
            parts[part["type"]].append(part["value"])
        asked = Asked(tuple(parts["image"]), "\n".join(parts["text"]), self._longest)
        return self._model.answer([asked])[0]
