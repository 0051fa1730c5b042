"""Ten thousand questions stream: a batch of pictures is in memory, whatever is asked."""

import itertools
import weakref

from tests.benchmarks.published import data_set
from vtp_export.benchmarks.base import Decoded
from vtp_export.comparing import looking
from vtp_export.comparing.looking import Asker
from vtp_export.comparing.subjects import Subject, asked_about
from vtp_export.parity.answer_store import AnswerStore, Line
from vtp_export.progress import silent
from vtp_export.runtime.images import as_image

QUESTIONS, BATCH = 10_000, 16


def test_ten_thousand_questions_stream(tmp_path, monkeypatch):
    made, most, count = [], [], itertools.count(1)

    def opened(image, name):
        photo = as_image(image, name)
        made.append(weakref.ref(photo))
        if next(count) % 100 == 0:
            made[:] = [one for one in made if one() is not None]
            most.append(len(made))
        return photo

    def look(asker, looks):
        for one in looks:
            answers = {key: Decoded((), one.example.name, ()) for key in one.keys}
            lines = Line(
                picture=one.picture, answers=answers, measures={"kept": 8, "erank of all": 1, "entropy of all": 1}
            )
            asker.stores[0].add([lines])

    monkeypatch.setattr(looking, "as_image", opened)
    monkeypatch.setattr(Asker, "_look", look)
    row = {"type": "human_test", "question": "What?", "answer": "7", "image": "a.png"}
    data = data_set(tmp_path, "chartqa", [row] * 3)
    (example, *_) = data.examples(None)
    many = [type(example)(f"{n}", example.open, example.questions) for n in range(QUESTIONS)]
    subject = Subject(name="chartqa", data=data, examples=many, left_out=())
    asker = Asker(model=None, answerer=None, contenders=[], stores=[AnswerStore(None, {})], batch=BATCH)
    found = asked_about(subject, asker, False, silent)
    assert len(found.seen) == QUESTIONS
    assert len(most) == QUESTIONS // 100 and BATCH - 1 <= max(most) <= 2 * BATCH
