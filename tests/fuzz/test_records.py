"""Calibration records, journals and folders of pictures."""

import dataclasses
import json
import os
import random
from pathlib import Path

import pytest
from PIL import Image

from tests.fuzz.hostile import SEVERAL, STRANGE, damaged, places, replaced, with_value
from tests.fuzz.rule import outcome
from tests.sealing import sealed
from vtp_export.benchmarks._lookup import examples_of
from vtp_export.calibration.columns import Block, Row
from vtp_export.calibration.journal import Journal
from vtp_export.calibrations import Broken
from vtp_export.errors import VtpError
from vtp_export.graphs.assembly import assemble, calibration_for, embedded_models, load_model, source_of
from vtp_export.pipeline.calibrate import calibrate

SEED = 7
HEAD = {"model": "0" * 64, "images": "shapes", "limit": None, "dtype": "float32"}
ROW = Row(position=0, name="a", view=0, variant=0, digest="0" * 64, numbers=(1.5, 2.0, 3.0))
LINE = [dataclasses.asdict(Block(number=0, rows=(ROW,), broken=(Broken(1, "b", "damaged"),)))]


@pytest.fixture(scope="module")
def trained():
    """The embedded model that carries a record."""
    return load_model("tiny-llava")


@pytest.fixture(scope="module")
def record():
    assert "tiny-llava" in embedded_models()
    return json.loads((Path(source_of("tiny-llava")) / "calibration.json").read_text())


def used(model, path):
    """A graph that is set by the record."""
    record, _ = calibration_for(model, path, "adaptive", {"keep": 8})
    assemble(model, "adaptive", {"keep": 8}, record)


def use_records(trained, path, texts):
    for text in texts:
        path.write_text(text)
        outcome(used, trained, path)


def strange_records(record):
    cases = [(way, text) for way in places(record) for text in STRANGE]
    return [replaced(record, way, text) for way, text in cases]


def forged_records(record):
    return [sealed(with_value(record, way, new)) for way in places(record) if way for new in SEVERAL]


@pytest.mark.parametrize("make", [strange_records, forged_records])
def test_a_sample_of_records(trained, record, tmp_path, make):
    use_records(trained, tmp_path / "record.json", random.Random(SEED).sample(make(record), 6))


@pytest.mark.whole
@pytest.mark.parametrize("make", [strange_records, forged_records])
def test_records(trained, record, tmp_path, make):
    use_records(trained, tmp_path / "record.json", random.Random(SEED).sample(make(record), 800))


def resumed(out):
    journal = Journal(out, HEAD, True, Block)
    journal.close(finished=False)
    return journal.done


def journals():
    """Text of a journal with something strange in it."""
    for way in places(HEAD):
        yield from (f"{replaced(HEAD, way, text)}\n{json.dumps(LINE)}\n" for text in STRANGE)
    for way in places(LINE):
        yield from (f"{json.dumps(HEAD)}\n{json.dumps(LINE)}\n{replaced(LINE, way, text)}\n" for text in STRANGE)


@pytest.mark.parametrize(
    "count", [pytest.param(60, id="sample"), pytest.param(800, id="whole", marks=pytest.mark.whole)]
)
def test_journals(tmp_path, count):
    rng, path = random.Random(SEED), tmp_path / ".record.json.partial"
    whole = "".join(json.dumps(line) + "\n" for line in (HEAD, LINE, LINE, LINE)).encode()
    contents = [*(text.encode() for text in journals()), *(damaged(whole, rng) for _ in range(500))]
    for content in rng.sample(contents, count):
        path.write_bytes(content)
        done = outcome(resumed, tmp_path / "record.json")
        if not isinstance(done, VtpError):
            assert all(type(one) is Block for one in done)


NAMES = ("a", "é", "\udcff", "a\nb", "\x1b[1m", "-x", "a" * 200, " ", "%s", "{}", "a b", "日本", "..x", "\u202e")


def test_folders_of_pictures_with_any_name(tmp_path):
    """Read but for the hidden one, measured, and the record can be read back."""
    folder = tmp_path / "photos-\udcfe\n"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        Image.effect_noise((30, 40), 10 + 10 * number).convert("RGB").save(folder / f"{name}.png")
    for inner in ("\udcfd", "b\nc.png"):
        (folder / inner).mkdir()
        Image.effect_noise((30, 40), 90).convert("RGB").save(folder / inner / "p.jpg")
    os.mkfifo(folder / "pipe.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "dangling.png").symlink_to("gone.png")
    (folder / "up").symlink_to("..")
    examples = outcome(examples_of, folder, None)
    assert len({example.name for example in examples}) == len(examples) == 1 + len(NAMES)
    out = tmp_path / "record.json"
    record = outcome(lambda: calibrate("tiny-llava", folder, out, limit=6))
    assert record.images == 6
    outcome(used, load_model("tiny-llava"), out)
    assert calibration_for(load_model("tiny-llava"), out, "adaptive", {})[0] == record


@pytest.mark.parametrize("inside", [(), ("empty.png",), ("text.jpg",), ("pipe.png",), (".hidden.png",)])
def test_folders_of_nothing(tmp_path, inside):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in inside:
        if name == "pipe.png":
            os.mkfifo(folder / name)
        else:
            (folder / name).write_text("text" if "text" in name else "")
    assert isinstance(outcome(lambda: calibrate("tiny-llava", folder, tmp_path / "record.json")), VtpError)
