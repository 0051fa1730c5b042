"""Words without Transformers are those of Transformers."""

import dataclasses
import json

import numpy as np
import pytest
from transformers import AutoTokenizer

from vtp_export.errors import ModelError
from vtp_export.graphs.assembly import source_of
from vtp_export.integrations.greedy import GreedyAnswerer
from vtp_export.integrations.prompts import Frames
from vtp_export.integrations.words import RECORD, SCHEMA, TOKENIZER, Wording, Words, write_words
from vtp_export.json_records import to_json
from vtp_export.parity.asking import Prompt
from vtp_export.runtime.output import Kept
from vtp_export.runtime.packing import Picture

QUESTIONS = ["Is there a red cross?", "Describe the image.", " how many  rings", ""]
OF_TINY = {"before": "", "behind": "", "after": "", "mark": "<image>", "image": 4, "ends": (2,), "axes": 1}


def in_runs(*lengths, width=128, text=None):
    tokens = np.random.default_rng(0).standard_normal((sum(lengths), width)).astype(np.float32)
    kept = np.arange(len(tokens))
    words = text or ("",) * (len(lengths) + 1)
    return Picture(
        tokens=tokens, view=kept * 0, kept=kept, views=(Kept(kept=kept, tokens=tokens),), runs=lengths, text=words
    )


@pytest.fixture
def folder(tmp_path):
    wording = Wording(schema=SCHEMA, model="tiny-llava", width=128, layers=4, **OF_TINY)
    write_words(tmp_path, wording, AutoTokenizer.from_pretrained(source_of("tiny-llava")))
    return tmp_path


@pytest.mark.parametrize("picture", [in_runs(5), in_runs(2, 3, text=("red", "blue ring", "."))], ids=["one", "two"])
def test_prompts_are_split_as_transformers_splits_them(folder, picture):
    words, frames = Words(folder), Frames(AutoTokenizer.from_pretrained(source_of("tiny-llava")), OF_TINY["image"])
    for question in QUESTIONS:
        split = words.split(Prompt((picture,), question))
        assert (split.before, split.after) == frames.split(question, [picture.text])


def test_what_stands_around_a_question_is_kept(folder):
    """As of LLaVA-1.5, whose checkpoint carries no template."""
    own = json.loads((folder / TOKENIZER).read_text())
    wording = dataclasses.replace(Words(folder).wording, before="red ", behind="\nblue ", after=" ring")
    (folder / RECORD).write_text(to_json(wording))
    split = Words(folder).split(Prompt((in_runs(3),), "is there a cross"))
    names = {number: word for word, number in own["model"]["vocab"].items()}
    assert [names[i] for i in split.before[0]][-1] == "red"
    assert [names[i] for i in split.after] == ["blue", "is", "there", "a", "cross", "ring"]


def test_text_is_that_of_transformers(folder):
    tokenizer = AutoTokenizer.from_pretrained(source_of("tiny-llava"))
    for ids in ([9, 12, 30, 2], [], [1, 5]):
        assert Words(folder).text(ids) == tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_several_pictures_and_a_mark_in_the_question_are_refused(folder):
    words = Words(folder)
    with pytest.raises(ModelError, match="one picture here, not 2"):
        words.split(Prompt((in_runs(1), in_runs(1)), "?"))
    with pytest.raises(ModelError, match="holds '<image>', which stands for a picture"):
        words.split(Prompt((in_runs(1),), "what is <image>"))


@pytest.mark.parametrize("name", [RECORD, TOKENIZER])
def test_a_missing_or_damaged_file_is_refused(folder, name):
    content = (folder / name).read_text()
    (folder / name).write_text(content[:-20])
    with pytest.raises(ModelError, match="cannot be"):
        Words(folder)
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"has no {name}; name a folder that vtp-export decoder wrote"):
        Words(folder)


class Counting:
    """A reader that always says the next id, and remembers what it was given."""

    def __init__(self):
        self.read_tokens, self.places = [], []

    def begin(self, parts, places):
        self.parts = parts
        return self.of(5)

    def read(self, token, place):
        self.read_tokens.append(token)
        self.places.append(place)
        return self.of(token + 1 if token < 7 else 2)

    def of(self, token):
        logits = np.zeros(47, np.float32)
        logits[token], logits[token - 1] = 3, 1
        return logits


def test_decoding_ends_where_the_model_or_the_asker_ends_it(folder):
    reader = Counting()
    model = GreedyAnswerer(reader, Words(folder))
    (whole,) = model.answer(in_runs(4), ["Is there a red cross?"])
    assert (whole.ids, whole.gaps, reader.read_tokens) == ((5, 6, 7), (2.0,) * 4, [5, 6, 7])
    assert [len(part) for part in reader.parts] == [1, 4, 6]
    reader.read_tokens.clear()
    (short,) = model.answer(in_runs(4), ["Is there a red cross?"], longest=2)
    assert short.ids == (5, 6) and reader.read_tokens == [5]
    assert len(model.waits) == 2 and model.layers == 4


def test_tokens_of_another_model_are_refused(folder):
    model = GreedyAnswerer(Counting(), Words(folder))
    with pytest.raises(ModelError, match="have 48 channels, and the language model of 'tiny-llava' reads 128"):
        model.answer(in_runs(4, width=48), ["?"])
    placed = dataclasses.replace(in_runs(4), position_ids=np.zeros((3, 4), np.int64), extent=2)
    with pytest.raises(ModelError, match="places tokens on 1 axes"):
        model.answer(placed, ["?"])
    with pytest.raises(ModelError, match="planes of deepstack"):
        model.answer(dataclasses.replace(in_runs(4), deepstack=np.zeros((4, 128), np.float32)), ["?"])
    with pytest.raises(ModelError, match="inside the language model needs Transformers"):
        model.answer_each([], within=object())
