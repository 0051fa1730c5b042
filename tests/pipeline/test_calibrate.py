"""Calibration: the numbers are right, an interrupted run goes on, a record serves only the model it was made for."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vtp_export.benchmarks.shapes import Benchmark
from vtp_export.calibration.columns import columns_beside, from_file
from vtp_export.calibration.journal import Journal
from vtp_export.calibrations import calibration_from_json
from vtp_export.errors import ArtefactError, ImageError, SpecError, VtpWarning
from vtp_export.graphs.assembly import assemble, calibration_for, load_model, source_of
from vtp_export.graphs.complexity import EagerEngine
from vtp_export.json_records import to_json
from vtp_export.pipeline.calibrate import calibrate, merge
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
    found = record[0].measures
    assert found["erank"].mean == pytest.approx(np.mean(exact), rel=1e-3)
    assert found["erank"].max == pytest.approx(max(exact), rel=2e-3)
    assert found["erank_uncentred"].mean == pytest.approx(np.mean(uncentred), rel=1e-3)
    assert record[0].images == record[0].views == found["erank"].count == LIMIT
    columns = from_file(columns_beside(record[1]), record[0].columns_sha256)
    np.testing.assert_allclose(columns.numbers["erank"], exact, rtol=2e-3)
    for place, one in enumerate(tokens.projected.numpy().astype(np.float64)):
        unit = one / np.linalg.norm(one, axis=1, keepdims=True)
        pairs = np.sort((1 - unit @ unit.T)[np.triu_indices(len(one), 1)])
        mean, near, median = (columns.numbers[f"distance_{name}"][place] for name in ("mean", "near", "median"))
        np.testing.assert_allclose((mean, median), (pairs.mean(), np.median(pairs)), rtol=1e-4)
        assert (pairs <= near + 1e-6).sum() * 2 / len(one) == pytest.approx(8, abs=0.02)
    assert record[0].tau_max == np.median(columns.numbers["distance_near"])


def test_the_file_is_the_record(record):
    assert calibration_from_json(record[1].read_text()) == record[0]
    assert sorted(path.name for path in record[1].parent.iterdir()) == ["record.columns.npz", "record.json"]


def killed_after(monkeypatch, images):
    """Make calibration die once so many images are down."""
    add = Journal.add

    def dying(self, batch):
        if sum(len(block.rows) for block in self.done) >= images:
            raise KeyboardInterrupt
        add(self, batch)

    monkeypatch.setattr(Journal, "add", dying)


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
    journal.write_text(journal.read_text() + '[{"number": 1, "ro')  # the line that the kill tore
    interrupted(tmp_path, 8, resume=True)  # killed again: the torn line must not have spoiled the next ones
    drawn, whole = [], EagerEngine.__call__
    monkeypatch.setattr(EagerEngine, "__call__", lambda *given: drawn.append(len(given[1])) or whole(*given))
    assert measured(tmp_path, resume=True) == record[0]
    assert drawn == [LIMIT - 8]
    assert not journal.exists()


def test_what_was_killed_at_the_rename_is_swept(record, tmp_path):
    """The record was written beside its place, and the process ended before it had the name."""
    journal = interrupted(tmp_path, 8)
    (tmp_path / ".record.json.0123abcd").write_text("{}")
    assert measured(tmp_path, resume=True) == record[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["record.columns.npz", "record.json"]
    assert not journal.exists()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_a_journal_cut_anywhere_is_resumed_to_the_same_record(record, tmp_path, share):
    """By a full disk, for one. Where not even the head is whole there is nothing to resume, and no need to say so."""
    journal = interrupted(tmp_path, 8)
    text = journal.read_text()
    journal.write_text(text[: int(share * len(text))])
    assert measured(tmp_path, resume=share > 0.1) == record[0]


def test_a_journal_of_other_work_is_refused(tmp_path):
    journal = interrupted(tmp_path, 4)
    with pytest.raises(ArtefactError, match="was begun for"):
        measured(tmp_path, resume=True, limit=3)
    journal.unlink()
    journal.symlink_to("/dev/zero")
    with pytest.raises(ArtefactError, match=r"is damaged .*no regular file"):
        measured(tmp_path, resume=True)


def test_a_narrow_dtype_is_told(record, tmp_path):
    narrow = measured(tmp_path, dtype="bfloat16", limit=2)
    assert (record[0].dtype, narrow.dtype) == ("float32", "bfloat16")
    assert narrow.source.endswith("in bfloat16")
    wide = measured(tmp_path, limit=2)
    assert narrow.measures["erank"].mean == pytest.approx(wide.measures["erank"].mean, rel=0.05)
    assert narrow.measures["erank"].mean != wide.measures["erank"].mean


def test_a_record_sets_the_pruner(record):
    model = load_model("tiny-llava")
    calibrated = assemble(model, "adaptive", {"keep": 32}, record[0]).pruner
    assert calibrated.settings["average"] == record[0].measures["erank"].mean
    assert "shapes" in calibrated.origins["average"]
    entropy = assemble(model, "adaptive", {"keep": 32, "complexity": "entropy"}, record[0]).pruner
    assert entropy.settings["average"] == record[0].measures["attention_entropy"].mean
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
    assert assemble(model, "adaptive", {"keep": 64}, found).pruner.settings["average"] == found.measures["erank"].mean
    beside = (Path(source_of("tiny-llava")) / "calibration.json").read_text()
    assert to_json(calibration_from_json(beside)) == beside


def test_no_images_is_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no images below"):
        calibrate("tiny-llava", str(tmp_path / "empty"), tmp_path / "c.json")
    assert not list(tmp_path.glob("*c.json*"))


def test_neither_the_model_nor_an_image_is_written_over(small_llava, photo, tmp_path):
    model = shutil.copytree(small_llava, tmp_path / "model")
    for out in (model / "config.json", photo):
        before = out.read_bytes()
        with pytest.raises(SpecError, match="is read here, and would be written over"):
            calibrate(str(model), photo.parent, out)
        assert out.read_bytes() == before
    for _ in range(2):  # an earlier record may be
        calibrate(str(model), photo.parent, model / "calibration.json")


def test_pictures_that_a_list_names_are_not_written_over(photo, tmp_path):
    question = {"image": photo.name, "prompt": "Is it?", "answer": "yes"}
    (tmp_path / "q.jsonl").write_text(json.dumps(question))
    (tmp_path / "l.json").write_text(json.dumps([{"image": photo.name}]))
    before = photo.read_bytes()
    for images, out in (("q.jsonl", photo), ("l.json", photo), ("q.jsonl", tmp_path / "q.jsonl")):
        with pytest.raises(SpecError, match="is read here, and would be written over"):
            calibrate("toy", tmp_path / images, out)
    assert photo.read_bytes() == before


# Shards


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Of the same images as `record`: three batches in two shards."""
    folder = tmp_path_factory.mktemp("shards")
    for number in (1, 2):
        calibrate("tiny-llava", "shapes", folder, limit=LIMIT, shard=(number, 2))
    return folder


def test_shards_make_the_record_that_one_run_makes(record, shards, tmp_path):
    assert sorted(path.name for path in shards.glob("*.json")) == ["shard-1-of-2.json", "shard-2-of-2.json"]
    assert merge(shards, tmp_path / "merged.json") == record[0]
    for merged, one in (
        (tmp_path / "merged.json", record[1]),
        (columns_beside(tmp_path / "merged.json"), columns_beside(record[1])),
    ):
        assert merged.read_bytes() == one.read_bytes()


def test_a_killed_shard_goes_on(shards, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        killed_after(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            calibrate("tiny-llava", "shapes", tmp_path, limit=LIMIT, shard="2/2")
    calibrate("tiny-llava", "shapes", tmp_path, limit=LIMIT, shard="2/2", resume=True)
    for name in ("shard-2-of-2.json", "shard-2-of-2.columns.npz"):
        assert (tmp_path / name).read_bytes() == (shards / name).read_bytes()


def test_a_shard_is_no_record(shards):
    with pytest.raises(SpecError, match=r"shard 1 of 2; join them with 'vtp-export calibrate --merge"):
        calibration_for(load_model("tiny-llava"), shards / "shard-1-of-2.json", "adaptive", {})


def forged(path, **changes):
    record = dataclasses.replace(calibration_from_json(path.read_text()), **changes)
    path.write_text(to_json(record))


def other_columns(folder):
    shutil.copy(folder / "shard-1-of-2.columns.npz", folder / "shard-2-of-2.columns.npz")


def copied(folder):
    (folder / "again").mkdir()
    for ending in ("json", "columns.npz"):
        shutil.copy(folder / f"shard-2-of-2.{ending}", folder / "again" / f"x.{ending}")


SPOILED = {
    "empty": (lambda folder: [path.unlink() for path in folder.iterdir()], "there is no shard below"),
    "missing": (lambda folder: (folder / "shard-1-of-2.json").unlink(), "1 of 2 shards are missing: 1; run"),
    "twice": (copied, r"shard 2 is there twice, as '.*x\.json' and '.*shard-2-of-2\.json'; remove one"),
    "same": (lambda folder: forged(folder / "shard-2-of-2.json", shard=(1, 2)), "shard 1 is there twice"),
    "model": (
        lambda folder: forged(folder / "shard-2-of-2.json", weights_sha256="0"),
        "weights_sha256 is 0, and .* th",
    ),
    "number": (lambda folder: forged(folder / "shard-2-of-2.json", shard=(2, 3)), r"shard is \(2, 3\), and \(1, 2\)"),
    "whole": (lambda folder: forged(folder / "shard-2-of-2.json", shard=None), "is a whole record and no shard"),
    "broken": (lambda folder: forged(folder / "shard-2-of-2.json", broken=1), "tell of 11 pictures and 10 were to be"),
    "numbers": (other_columns, r"columns\.npz' was changed after it was written, or belongs to another record"),
    "lost": (lambda folder: (folder / "shard-2-of-2.columns.npz").unlink(), r"columns\.npz', which cannot be read"),
    "schema": (lambda folder: (folder / "shard-2-of-2.json").write_text('{"schema": 1}'), "schema 1 and schema 2 is"),
    "text": (lambda folder: (folder / "notes.json").write_text("notes"), "'.*notes.json' cannot be used: .* not JSON"),
}


@pytest.mark.parametrize("way", SPOILED)
def test_shards_that_do_not_make_a_whole_are_one_sentence(shards, tmp_path, way):
    folder = shutil.copytree(shards, tmp_path / "parts")
    spoil, words = SPOILED[way]
    spoil(folder)
    with pytest.raises(SpecError, match=words):
        merge(folder, tmp_path / "merged.json")
    assert not (tmp_path / "merged.json").exists()


@pytest.mark.parametrize("shard", ["", "2", "0/2", "3/2", "1/0", "a/b", "-1/2", (0, 1), [1, 2], 3])
def test_a_shard_is_named_by_two_numbers(shard, tmp_path):
    with pytest.raises(SpecError, match="it must be I/N with I from 1 to N"):
        calibrate("toy", "shapes", tmp_path, shard=shard)


def test_more_shards_than_batches_are_refused(tmp_path):
    with pytest.raises(SpecError, match="there are 2 batches of 4 images; make fewer shards"):
        calibrate("toy", "shapes", tmp_path, shard=(1, 3), limit=5)
    assert not list(tmp_path.iterdir())


# Broken images


@pytest.fixture
def photos(tmp_path):
    """Ten, of which two are broken."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(10):
        Image.effect_noise((60, 50), 10 * number + 10).convert("RGB").save(folder / f"{number}.png")
    (folder / "3.png").write_bytes((folder / "3.png").read_bytes()[:700])
    (folder / "7.png").write_text("no image")
    return folder


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.whole)])
def test_broken_images_are_passed_over_and_listed(photos, tmp_path, workers):
    found = calibrate("toy", photos, tmp_path / "c.json", max_broken=0.2, workers=workers)
    assert (found.images, found.broken, found.measures["erank"].count) == (8, 2, 8)
    assert [(one.position, one.name) for one in found.listed] == [(3, "3.png"), (7, "7.png")]
    assert "3.png' is damaged" in found.listed[0].reason and "is not an image" in found.listed[1].reason
    for number in (1, 2):
        calibrate("toy", photos, tmp_path / "parts", max_broken=0.2, shard=(number, 2), workers=workers)
    assert merge(tmp_path / "parts", tmp_path / "m.json", max_broken=0.2) == found
    with pytest.raises(ImageError, match=r"2 of 10 images cannot be read, more than 0\.1 of them"):
        merge(tmp_path / "parts", tmp_path / "n.json", max_broken=0.1)
    for number in (3, 7):
        (photos / f"{number}.png").unlink()
    alone = calibrate("toy", photos, tmp_path / "alone.json")
    assert alone.measures["erank"].mean == pytest.approx(found.measures["erank"].mean, rel=1e-6)


def test_too_many_broken_images_fail_the_run(photos, tmp_path):
    with pytest.raises(ImageError, match=r"1 of 10 images cannot be read, more than 0.01 of them .*3\.png"):
        calibrate("toy", photos, tmp_path / "c.json")
    assert not (tmp_path / "c.json").exists()
    for path in photos.iterdir():
        path.write_text("no image")
    with pytest.raises(
        ImageError, match=r"none of the 10 images of '.*photos' can be read: '.*0\.png' is not an image"
    ):
        calibrate("toy", photos, tmp_path / "d.json", max_broken=1)
    assert not list(tmp_path.glob("*d.*"))


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_is_one(share, tmp_path):
    with pytest.raises(SpecError, match="it must be a share, from 0 to 1"):
        calibrate("toy", "shapes", tmp_path / "c.json", max_broken=share)


def test_a_run_may_begin_anywhere(photos, tmp_path):
    late = calibrate("toy", photos, tmp_path / "c.json", start=8)
    assert late.images == 2 and late.selection.start == 8
    columns = from_file(columns_beside(tmp_path / "c.json"), late.columns_sha256)
    assert columns.names == ("8.png", "9.png") and columns.position.tolist() == [8, 9]
    with pytest.raises(SpecError, match=r"start is 10, and '.*' holds 10 pictures; begin before its end"):
        calibrate("toy", photos, tmp_path / "d.json", start=10)


# Artefacts


@pytest.mark.whole
def test_an_artefact_that_tells_everything_gives_the_record_of_the_model(small_llava, photo, tmp_path):
    export(str(small_llava), tmp_path / "a", keep=8, signals=True, golden=0)
    eager = calibrate(str(small_llava), photo.parent, tmp_path / "eager.json")
    found = calibrate(tmp_path / "a", photo.parent, tmp_path / "c.json")
    assert found.engine == "onnx" and found.measures.keys() == eager.measures.keys()
    for name, distribution in found.measures.items():
        assert distribution.mean == pytest.approx(eager.measures[name].mean, rel=1e-3), name
    record, _ = calibration_for(load_model(str(small_llava)), tmp_path / "c.json", "adaptive", {})
    assert record == found


def test_an_artefact_tells_what_it_measures(photo, tmp_path):
    artefact, other = tmp_path / "adaptive", tmp_path / "random"
    export("toy", artefact, keep=8, formats="torchscript", golden=0)
    export("toy", other, keep=8, pruner="random", formats="torchscript", golden=0)
    with pytest.warns(VtpWarning, match="cannot tell erank_uncentred, attention_entropy, .* record will lack them"):
        found = calibrate(artefact, photo.parent, tmp_path / "c.json", format="torchscript")
    assert list(found.measures) == ["erank"] and found.engine == "torchscript"
    assert (found.correlation, found.tau_max) == (None, None)
    with pytest.raises(
        SpecError, match="tells neither erank nor attention entropy, which its pruner, random, does not"
    ):
        calibrate(other, photo.parent, tmp_path / "d.json")
    with pytest.raises(SpecError, match="is an artefact, whose precision and size are settled"):
        calibrate(artefact, photo.parent, tmp_path / "d.json", dtype="float16")
    with pytest.raises(SpecError, match="format is 'onnx', and 'toy' is no artefact"):
        calibrate("toy", photo.parent, tmp_path / "d.json", format="onnx")


def test_a_front_end_that_prunes_nothing_tells_all_but_the_entropy(small_llava, photo, tmp_path):
    export(str(small_llava), tmp_path / "a", pruner="none", formats="torchscript", golden=0)
    eager = calibrate(str(small_llava), photo.parent, tmp_path / "eager.json")
    with pytest.warns(VtpWarning, match="cannot tell attention_entropy"):
        found = calibrate(tmp_path / "a", photo.parent, tmp_path / "c.json")
    assert found.measures["erank"].mean == pytest.approx(eager.measures["erank"].mean, rel=1e-3)
    assert found.tau_max == pytest.approx(eager.tau_max, rel=1e-4)


def test_a_record_of_another_preprocessing_is_refused(small_llava, photo, tmp_path):
    other = shutil.copytree(small_llava, tmp_path / "other")
    config = json.loads((other / "preprocessor_config.json").read_text())
    (other / "preprocessor_config.json").write_text(json.dumps({**config, "image_mean": [0.5, 0.5, 0.5]}))
    calibrate(str(other), photo.parent, tmp_path / "c.json")
    with pytest.raises(SpecError, match="made with another preprocessing of pictures"):
        calibration_for(load_model(str(small_llava)), tmp_path / "c.json", "adaptive", {})


# Corruptions and the report


@pytest.mark.whole
def test_corruptions_move_erank_and_shards_agree(tmp_path):
    folder = tmp_path / "photos"
    for number, place in enumerate(("a", "a", "b", "b", "b")):
        (folder / place).mkdir(parents=True, exist_ok=True)
        Image.effect_noise((60, 50), 20 * number + 10).convert("RGB").save(folder / place / f"{number}.png")
    clean = calibrate("toy", folder, tmp_path / "clean.json", batch=2)
    with pytest.warns(VtpWarning, match="frost is left out"):
        found = calibrate("toy", folder, tmp_path / "c.json", batch=2, corruptions=(1,), report=tmp_path / "page")
    assert found.measures == clean.measures and found.data_sha256 == clean.data_sha256  # of the pictures as they are
    assert len(found.deviations) == 14 and all(one.difference > 0 for one in found.deviations)
    columns = from_file(columns_beside(tmp_path / "c.json"), found.columns_sha256)
    rows = {(p, v): x for p, v, x in zip(columns.position, columns.variant, columns.numbers["erank"], strict=True)}
    for variant, one in enumerate(found.deviations, 1):
        moved = [abs(rows[p, variant] - rows[p, 0]) for p in range(5)]
        assert one.difference == pytest.approx(np.mean(moved))
        assert one.relative == pytest.approx(np.mean([m / rows[p, 0] for p, m in enumerate(moved)]))
        assert one.of_mean == pytest.approx(one.difference / found.measures["erank"].mean)
    for number in (1, 2, 3):
        with pytest.warns(VtpWarning, match="frost is left out"):
            calibrate("toy", folder, tmp_path / "parts", batch=2, corruptions=(1,), shard=(number, 3))
    assert merge(tmp_path / "parts", tmp_path / "m.json", report=tmp_path / "merged") == found
    assert (tmp_path / "m.json").read_bytes() == (tmp_path / "c.json").read_bytes()
    page, other = ((tmp_path / name / "index.html").read_text() for name in ("page", "merged"))
    for text in (page, other):
        for words in ("Attention entropy against effective rank", "Histogram of erank", ">zoom blur<", ">b</th><td>3<"):
            assert words in text, words
    assert "one in nine, by adaptive" in page and page.count("image/jpeg") == 5 + 1  # both ends, and a sheet
    assert "image/jpeg" not in other


def test_the_report_of_an_artefact_shows_what_it_keeps(photo, tmp_path):
    export("toy", tmp_path / "a", keep=8, formats="torchscript", golden=0)
    with pytest.warns(VtpWarning, match="cannot tell"):
        calibrate(tmp_path / "a", photo.parent, tmp_path / "c.json", report=tmp_path / "page")
    text = (tmp_path / "page" / "index.html").read_text()
    assert "by the artefact" in text and text.count("image/jpeg") == 1 and "Pearson" not in text
