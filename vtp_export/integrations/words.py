"""What a language model without Transformers must know of words: ids, what stands around a question, where it ends.

Written once, where Transformers is; read with `tokenizers` alone.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtp_export.errors import ModelError, SpecError, UnavailableError, first_line
from vtp_export.extras import install
from vtp_export.integrations.batching import Tokenised
from vtp_export.json_records import from_json, read_text, to_json
from vtp_export.parity.asking import Prompt

RECORD, TOKENIZER = "words.json", "tokenizer.json"
"""The two files, in the folder of a language model."""

SCHEMA = 1
REMEDY = "write the folder again with vtp-export decoder"


@dataclass(frozen=True, kw_only=True)
class Wording:
    """How a checkpoint puts a question about one picture.

    model: folder or hub id. width: channels of an embedding. layers: of the language model.
    before, behind: the text before the picture; that between it and the question. after: that after the question.
    mark: the text that stands for a run of visual tokens. image: its id. ends: ids that end an answer.
    axes: of positions: 3 where rows and columns are counted, 1 where tokens alone are.
    """

    schema: int
    model: str
    width: int
    layers: int
    before: str
    behind: str
    after: str
    mark: str
    image: int
    ends: tuple[int, ...]
    axes: int


class Words:
    """The tokenizer of a folder, and its wording.

    Args:
        folder: with the files `RECORD` and `TOKENIZER`.

    Raises:
        UnavailableError: tokenizers is not installed.
        ModelError: a file is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        """See the class."""
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise UnavailableError(f"tokenizers is not installed: {install('decoder')}") from error
        for name in (RECORD, TOKENIZER):
            if not (folder / name).is_file():
                raise ModelError(f"'{folder}' has no {name}; name a folder that vtp-export decoder wrote")
        try:
            self.wording = from_json(Wording, read_text(folder / RECORD, "the wording"), "wording", SCHEMA, REMEDY)
        except SpecError as error:
            raise ModelError(f"'{folder}' cannot be used: {error}") from error
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(folder / TOKENIZER))
        except Exception as error:  # the library raises nothing but Exception
            raise ModelError(f"'{folder / TOKENIZER}' cannot be read: {first_line(error)}") from error

    def split(self, prompt: Prompt) -> Tokenised:
        """Token ids before each run of visual tokens, and after the last.

        Raises:
            ModelError: the prompt is about several pictures, or the question holds the mark of a picture.
        """
        if len(prompt.pictures) != 1:
            raise ModelError(f"a prompt is about one picture here, not {len(prompt.pictures)}; ask Transformers")
        (picture,), own = prompt.pictures, self.wording
        text = own.before + own.mark.join(picture.text) + own.behind + prompt.text + own.after
        ids = self._tokenizer.encode(text).ids
        places = [-1, *(place for place, token in enumerate(ids) if token == own.image), len(ids)]
        if len(places) != len(picture.text) + 1:
            raise ModelError(f"the question holds '{own.mark}', which stands for a picture; leave it out")
        *before, after = (tuple(ids[a + 1 : b]) for a, b in itertools.pairwise(places))
        return Tokenised(before=tuple(before), pictures=prompt.pictures, after=after, longest=prompt.longest)

    @property
    def count(self) -> int:
        """Words of the tokenizer, those that were added among them."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def text(self, ids: Sequence[int]) -> str:
        """Of an answer."""
        said: str = self._tokenizer.decode(list(ids), skip_special_tokens=True)
        return said.strip()


def write_words(folder: Path, wording: Wording, tokenizer: Any) -> None:
    """Write both files.

    Args:
        folder: where.
        wording: the record.
        tokenizer: of Transformers, a fast one.
    """
    (folder / RECORD).write_text(to_json(wording), encoding="utf-8")
    tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
