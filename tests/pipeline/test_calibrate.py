"""Calibration: the numbers are right, an interrupted run goes on, a record serves only the model it was made for."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from vtp_export.benchmarks.shapes import Benchmark
from vtp_export.calibration.distribution import correlation, distribution
from vtp_export.calibration.journal import Journal, Measured
from vtp_export.calibrations import calibration_from_json
from vtp_export.errors import ArtefactError, ImageError, SpecError
from vtp_export.graphs.assembly import assemble, calibration_for, load_model, source_of
from vtp_export.json_records import to_json
from vtp_export.pipeline import calibrate as room
from vtp_export.pipeline.calibrate import calibrate
from vtp_export.pipeline.export import export
from vtp_export.reference.erank import effective_rank
from vtp_export.runtime.preprocess import pixel_values

LIMIT = 10


def measured(folder, **other):
    return calibrate("tiny-llava", "shapes", folder / "record.json", **{"limit": LIMIT, **other})


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration")
    return measured(folder), folder / "record.json"


def test_numbers_are_those_of_the_singular_values(record):
    model = load_model("tiny-llava")
    scenes = [example.open() for example in Benchmark("calibration").examples(LIMIT)]
    with torch.inference_mode():
        tokens = model.frontend.encode(torch.from_numpy(pixel_values(scenes, model.preprocessing)), ("projected",))
    exact = [effective_rank(one.numpy(), center=True) for one in tokens.projected]
    uncentred = [effective_rank(one.numpy(), center=False) for one in tokens.projected]
    assert record[0].erank.mean == pytest.approx(np.mean(exact), rel=1e-3)
    assert record[0].erank.max == pytest.approx(max(exact), rel=2e-3)
    assert record[0].erank_uncentred.mean == pytest.approx(np.mean(uncentred), rel=1e-3)
    assert record[0].images == LIMIT


def test_the_file_is_the_record(record):
    assert calibration_from_json(record[1].read_text()) == record[0]
    assert [path.name for path in record[1].parent.iterdir()] == ["record.json"]


def killed_after(monkeypatch, images):
    """Make calibration die once so many images are down."""
    add = room.Journal.add

    def dying(self, batch):
        if len(self.done) >= images:
            raise KeyboardInterrupt
        add(self, batch)

    monkeypatch.setattr(room.Journal, "add", dying)


def interrupted(folder, images, **other):
    """The journal of a run that was killed."""
    with pytest.MonkeyPatch.context() as patch:
        killed_after(patch, images)
        with pytest.raises(KeyboardInterrupt):
            measured(folder, **other)
    return folder / ".record.json.partial"


def test_an_interrupted_run_goes_on_to_the_same_record(record, monkeypatch, tmp_path):
    journal = interrupted(tmp_path, 4)
    assert not (tmp_path / "record.json").exists()
    with pytest.raises(ArtefactError, match="add --resume"):
        measured(tmp_path)
    journal.write_text(journal.read_text() + '[{"name": "scene-00')  # the line that the kill tore
    interrupted(tmp_path, 8, resume=True)  # killed again: the torn line must not have spoiled the next ones
    drawn = []
    whole = room.complexities
    monkeypatch.setattr(room, "complexities", lambda *given: drawn.append(len(given[1])) or whole(*given))
    assert measured(tmp_path, resume=True) == record[0]
    assert drawn == [LIMIT - 8]
    assert not journal.exists()


def test_what_was_killed_at_the_rename_is_swept(record, tmp_path):
    """The record was written beside its place, and the process ended before it had the name."""
    journal = interrupted(tmp_path, 8)
    (tmp_path / ".record.json.0123abcd").write_text("{}")
    assert measured(tmp_path, resume=True) == record[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["record.json"] and not journal.exists()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_a_journal_cut_anywhere_is_resumed_to_the_same_record(record, tmp_path, share):
    """By a full disk, for one. Where not even the head is whole there is nothing to resume, and no need to say so."""
    journal = interrupted(tmp_path, 8)
    text = journal.read_text()
    journal.write_text(text[: int(share * len(text))])
    assert measured(tmp_path, resume=share > 0.1) == record[0]


def test_a_full_disk_is_told_and_loses_no_batch(tmp_path):
    one = Measured(name="a", digest="0", erank=1.0, erank_uncentred=2.0, attention_entropy=3.0)
    journal = Journal(tmp_path / "record.json", {"model": "m"}, resume=False, kind=Measured)
    journal.add([one])
    with Path("/dev/full").open("w") as full:
        file, journal._file = journal._file, full
        with pytest.raises(ArtefactError, match=r"cannot write '.*\.record\.json\.partial': No space left on device"):
            journal.add([one, one])
        journal.close(finished=False)
    file.close()
    resumed = Journal(tmp_path / "record.json", {"model": "m"}, resume=True, kind=Measured)
    assert resumed.done == [one]
    resumed.close(finished=True)


STRANGE_LINES = [
    "not json",
    "{}",
    "[7]",
    '[{"name": "a"}]',
    "[" * 10_000,
    '[{"name": "\\ud800"}]',
    "null",
    '"' + "x" * 99_999,
]


@pytest.mark.parametrize("line", [*STRANGE_LINES, None], ids=range(len(STRANGE_LINES) + 1))
def test_a_damaged_journal_is_one_sentence(tmp_path, line):
    if line is None:
        one = Measured(name="a", digest="0", erank=float("nan"), erank_uncentred=2.0, attention_entropy=3.0)
        line = json.dumps([asdict(one)])
    path = tmp_path / ".record.json.partial"
    path.write_text('{"model": "m"}\n' + line + "\n[]\n")
    with pytest.raises(ArtefactError, match=r"is damaged \(line 2.*\); remove it and start again$") as caught:
        Journal(tmp_path / "record.json", {"model": "m"}, resume=True, kind=Measured)
    assert len(str(caught.value)) < 400


def test_a_journal_of_other_work_is_refused(tmp_path):
    journal = interrupted(tmp_path, 4)
    with pytest.raises(ArtefactError, match="was begun for"):
        measured(tmp_path, resume=True, limit=3)
    journal.unlink()
    journal.symlink_to("/dev/zero")
    with pytest.raises(ArtefactError, match=r"is damaged .* no regular file"):
        measured(tmp_path, resume=True)


def test_a_narrow_dtype_is_told(record, tmp_path):
    narrow = measured(tmp_path, dtype="bfloat16", limit=2)
    assert (record[0].dtype, narrow.dtype) == ("float32", "bfloat16")
    assert narrow.source.endswith("in bfloat16")
    wide = measured(tmp_path, limit=2)
    assert narrow.erank.mean == pytest.approx(wide.erank.mean, rel=0.05)
    assert narrow.erank.mean != wide.erank.mean


def test_a_record_sets_the_pruner(record):
    model = load_model("tiny-llava")
    calibrated = assemble(model, "adaptive", {"keep": 32}, record[0]).pruner
    assert calibrated.settings["average"] == record[0].erank.mean
    assert "shapes" in calibrated.origins["average"]
    entropy = assemble(model, "adaptive", {"keep": 32, "complexity": "entropy"}, record[0]).pruner
    assert entropy.settings["average"] == record[0].attention_entropy.mean
    assert assemble(model, "adaptive", {"keep": 32, "average": 7.0}, record[0]).pruner.settings["average"] == 7.0


def test_a_record_for_other_weights_is_refused(record, small_llava, tmp_path):
    with pytest.raises(SpecError, match=r"was made for tiny-llava .*, not for"):
        export(str(small_llava), tmp_path / "a", keep=8, calibration=record[1])
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("text", ["", "{}", '{"schema": 99}', "[1]", None])
def test_a_damaged_record_is_one_sentence(text, tmp_path):
    path = tmp_path / "c.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SpecError):
        calibration_for(load_model("tiny-llava"), path, "adaptive", {})


def test_the_embedded_model_carries_its_own_record():
    model = load_model("tiny-llava")
    found, _ = calibration_for(model, None, "adaptive", {})
    assert found is not None
    assert found.weights_sha256 == model.core.weights_sha256
    assert found.images >= 400
    assert found.data == "shapes"
    assert assemble(model, "adaptive", {"keep": 64}, found).pruner.settings["average"] == found.erank.mean
    beside = (room.Path(source_of("tiny-llava")) / "calibration.json").read_text()
    assert to_json(calibration_from_json(beside)) == beside


def test_no_images_is_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no images below"):
        calibrate("tiny-llava", str(tmp_path / "empty"), tmp_path / "c.json")
    assert not list(tmp_path.glob("*c.json*"))


def test_distribution_by_hand():
    found = distribution([1.0, 2.0, 3.0, 10.0])
    assert (found.mean, found.min, found.max) == (4.0, 1.0, 10.0)
    assert found.std == pytest.approx(np.std([1, 2, 3, 10], ddof=1))
    assert found.quantiles["0.5"] == 2.5
    assert sum(found.histogram) == 4
    assert len(found.edges) == len(found.histogram) + 1
    assert correlation([1, 2, 3], [3, 2, 1]) == -1.0
    assert correlation([1, 1], [1, 2]) is None


def test_neither_the_model_nor_an_image_is_written_over(small_llava, photo, tmp_path):
    model = shutil.copytree(small_llava, tmp_path / "model")
    for out in (model / "config.json", photo):
        before = out.read_bytes()
        with pytest.raises(SpecError, match="is read here, and would be written over"):
            calibrate(str(model), photo.parent, out)
        assert out.read_bytes() == before
    for _ in range(2):  # an earlier record may be
        calibrate(str(model), photo.parent, model / "calibration.json")
