"""What all published data sets share: where they are looked for, formats, subsets, memory."""

import base64
import json
import sys
import types
import weakref
from collections import Counter
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.benchmarks.published import BROKEN, data_set
from vtp_export import rooms
from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.benchmarks._published import Published
from vtp_export.errors import SpecError, UnavailableError, VtpWarning
from vtp_export.pipeline.compare import compare
from vtp_export.reports.tally import Entry, Outcome, Seen, compared
from vtp_export.runtime.images import read_image

PUBLISHED = [
    name for name in rooms.names("benchmarks") if isinstance(rooms.load("benchmarks", name).Benchmark(), Published)
]


PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def chart(number, kind="human_test", image="a.png"):
    return {"type": kind, "question": f"What is {number}?", "answer": str(number), "image": image}


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """The user's cache is empty, and nothing is there that fetches data sets."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.setattr("vtp_export.benchmarks._published.can_fetch", lambda: False)
    return tmp_path / "vtp-export" / "benchmarks"


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_to_fetch_is_one_sentence(name, offline):
    source = rooms.load("benchmarks", name).Benchmark.source
    folder = offline / name.removesuffix("_plain")
    words = rf"^the benchmark '{name}' is not here: fetch .*{source.split}.* of the data set {source.hub} .*'{folder}'"
    with pytest.raises(UnavailableError, match=words):
        benchmark_of(name)


def test_a_set_in_the_cache_is_known_by_its_name(offline):
    data_set(offline / "chartqa", "chartqa", [chart(0)])
    (example,) = benchmark_of("chartqa").examples(None)
    assert (example.name, example.open().size) == ("test-000000", (4, 3))


def test_a_subset_has_the_kinds_of_the_whole_and_grows(tmp_path):
    rows = [chart(n, "human_test" if n % 3 else "augmented_test") for n in range(30)]
    data = data_set(tmp_path, "chartqa", rows)
    few, more = list(data.examples(6)), list(data.examples(12))
    assert Counter(one.questions[0].kind for one in few) == {"human_test": 4, "augmented_test": 2}
    names = [one.name for one in more]
    assert (
        {one.name for one in few} < set(names)
        and names == sorted(names)
        and names != [f"test-{n:06d}" for n in range(12)]
    )
    assert [one.name for one in data.examples(12)] == names
    # A picture that cannot be read makes room for the next one, and the others stay.
    rows[int(few[0].name[5:])]["image"] = BROKEN
    data = data_set(tmp_path, "chartqa", rows)
    with pytest.warns(VtpWarning, match=f"^1 questions .*{BROKEN}"):
        again = {one.name for one in data.examples(6)}
    assert len(again) == 6 and {one.name for one in few[1:]} < again
    with pytest.raises(SpecError, match="limit"):
        list(data.examples(0))


def test_only_files_of_the_split_and_configuration_are_read(tmp_path):
    data = data_set(tmp_path, "chartqa", [chart(0)])
    (tmp_path / "data" / "testing.jsonl").write_text("{")
    (tmp_path / "data" / "train.jsonl").write_text("{")
    (tmp_path / "data" / "test-00001-of-00002.json").write_text(json.dumps([chart(1), 7]))
    with pytest.warns(VtpWarning, match="^1 questions .* row 1 of .* is no object"):
        assert [one.questions[0].answer for one in data.examples(None)] == ["1", "0"]
    (tmp_path / "data" / "test-00001-of-00002.json").write_text("{}")
    with pytest.raises(SpecError, match="must hold a list of rows"):
        list(data.examples(None))
    other = data_set(tmp_path, "mmbench", [{}], config="cn")
    assert not other._files("en") and other._files("cn")


def test_one_picture_of_ten_thousand_is_held(tmp_path, monkeypatch):
    data = data_set(tmp_path, "chartqa", [chart(n) for n in range(10_000)])
    made, most = [], []

    def read(path):
        image = read_image(path)
        made.append(weakref.ref(image))
        most.append(sum(one() is not None for one in made))
        return image

    monkeypatch.setattr("vtp_export.benchmarks._tables.read_image", read)
    assert len(list(data.examples(300))) == 300
    assert len(most) == 300 and max(most) <= 2  # the last one, while the next is decoded


def test_parquet(tmp_path):
    import pyarrow as arrow
    import pyarrow.parquet

    data = data_set(tmp_path, "chartqa", [])
    (tmp_path / "data" / "test.jsonl").unlink()
    content = BytesIO()
    Image.new("RGB", (7, 5)).save(content, "PNG")
    cells = [{"bytes": content.getvalue(), "path": None}, {"bytes": b"no picture", "path": "x.png"}, None]
    rows = [{**chart(n), "image": cells[0 if n < 5 else n - 4]} for n in range(7)]
    pyarrow.parquet.write_table(
        arrow.Table.from_pylist(rows), tmp_path / "data" / "test-00000-of-00001.parquet", row_group_size=2
    )
    with pytest.warns(VtpWarning, match="^2 questions of 'chartqa'"):
        examples = list(data.examples(None))
    assert [one.questions[0].answer for one in examples] == ["0", "1", "2", "3", "4"]
    assert {one.open().size for one in examples} == {(7, 5)}
    (tmp_path / "data" / "test-00000-of-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(SpecError, match=r"\.parquet' cannot be read"):
        list(data.examples(None))


class Fetched(list):
    """What the library of data sets gives, as far as it is used."""

    column_names = ("type", "question", "answer", "image")

    def cast_column(self, name, feature):
        assert (name, feature) == ("image", "encoded")
        return self

    def remove_columns(self, names):
        return Fetched({key: value for key, value in row.items() if key not in names} for row in self)


def test_from_the_hub(tmp_path, monkeypatch):
    content = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
    )
    calls = []

    def load_dataset(*args, **named):
        calls.append((args, named))
        if len(calls) > 1:
            raise ConnectionError("no\nnetwork")
        return Fetched([{**chart(0), "image": {"bytes": content, "path": None}}])

    library = types.SimpleNamespace(load_dataset=load_dataset, Image=lambda decode: "decoded" if decode else "encoded")
    monkeypatch.setitem(sys.modules, "datasets", library)
    monkeypatch.setattr("vtp_export.benchmarks._published.can_fetch", lambda: True)
    data = rooms.load("benchmarks", "chartqa").Benchmark(tmp_path)
    (example,) = data.examples(None)
    assert calls == [(("lmms-lab-encoder/ChartQA", None), {"split": "test", "revision": "9e63b7df1592"})]
    assert example.open().size == (1, 1)
    with pytest.raises(UnavailableError, match=r"^'lmms-lab-encoder/ChartQA' cannot be fetched: no network$"):
        list(data.examples(None))


def test_degrees_of_right_reach_the_interval(offline):
    """0.6 against 0 is 60 points, not 100."""
    row = {"question_id": "0", "question": "What?", "category": "other", "image": "a.png"}
    row["answers"] = ["blue"] * 2 + ["red"] * 8
    data = data_set(offline / "vizwiz", "vizwiz", [row, {**row, "question_id": "1"}])
    examples = list(data.examples(None))

    def seen(name, texts):
        outcomes = tuple(Outcome(answers=(text,), kept=8, erank=1, entropy=1) for text in texts)
        return Seen(name=name, erank=1, attention_entropy=1, outcomes=outcomes)

    report = compared(
        name="vizwiz",
        benchmark=data,
        examples=examples,
        seen=[seen(examples[0].name, ("blue", "x")), seen(examples[1].name, ("red", "red"))],
        entries=[Entry(name=name, keep=8) for name in ("none", "other")],
    )
    full, other = report.rows
    assert (full.score, other.score) == pytest.approx((0.8, 0.5))
    # Of two pictures that lose 0.6 and 0 the mean is 0.3, and what is left of each 0.3: 1.96 sqrt(2 / 1 * 0.18) / 2.
    low, high = other.interval
    assert (high - low) / 2 == pytest.approx(1.96 * 0.3)


@pytest.mark.whole
def test_compare_asks_them_and_counts_what_is_left_out(offline):
    row = {"question_id": "0", "question": "Is there a dog?", "answer": "yes", "image_source": "one", "image": "a.png"}
    row["category"] = "random"
    rows = [row, {**row, "answer": "no"}, {**row, "image_source": "two", "image": BROKEN}, "not JSON"]
    data_set(offline / "pope", "pope", rows)
    with pytest.warns(VtpWarning, match="^2 questions of 'pope' are left out"):
        (result,) = compare("tiny-llava", 8, benchmark="pope", pruners=["fastervlm"]).benchmarks
    assert (result.images, result.questions, result.metric, len(result.left_out)) == (1, 2, "F1", 2)
    assert all(set(one.metrics) == {"F1", "F1 random", "accuracy"} and one.interval is None for one in result.rows)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_page_says_where_each_is_from(name):
    source = rooms.load("benchmarks", name).Benchmark.source
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(f"| `{name}` | `")]
    configs = [f"`{one}/{source.split}`" for one in (source.config, source.pictures) if one]
    for words in (f"`{source.hub}`", source.revision or "-", " and ".join(configs) or f"`{source.split}`"):
        assert f"| {words} |" in line
