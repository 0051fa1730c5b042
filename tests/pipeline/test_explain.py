"""`explain` says why each token was kept, as the reference decides on what the run saw."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.sealing import reseal
from vtp_export import rooms
from vtp_export.errors import ArtefactError, ImageError, SpecError, UnavailableError
from vtp_export.parity.explanation import chosen, explanation
from vtp_export.parity.golden import read_golden
from vtp_export.pipeline.build import build
from vtp_export.pipeline.check import check
from vtp_export.pipeline.explain import explain
from vtp_export.pipeline.export import export
from vtp_export.pipeline.validate import validate
from vtp_export.reference.base import Signals
from vtp_export.reports.explain import explain_summary, explain_table
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.front_end import load
from vtp_export.runtime.output import Kept
from vtp_export.spec import Candidates, PrunerRecord


@pytest.fixture(scope="module")
def telling(small_llava, tmp_path_factory):
    """An artefact that returns signals."""
    out = tmp_path_factory.mktemp("explain") / "telling"
    export(small_llava, out, keep=8, golden=2, signals=True)
    return out


# --- a walk that can be followed by hand -----------------------------------------------------------------------------

ANGLES = np.radians([0, 10, 90, 95, 200, 40])
"""Of six tokens in a plane. Attention falls from the first to the last; the walk strikes out what is within 25 degrees
or so, a cosine distance of 0.1."""
SETTINGS = {
    "keep": 4,
    "complexity": "erank",
    "average": 1.0,
    "step": 0.01,
    "tau_max": 0.25,
    "tau": 0.1,
    "center": True,
    "count": "fixed",
    "ceiling": 1.6,
}


def by_hand(keep=4):
    signals = Signals(
        candidates=Candidates((2, 3)),
        hidden=np.empty((6, 0)),
        projected=np.stack([np.cos(ANGLES), np.sin(ANGLES)], 1),
        saliency=np.array([0.3, 0.25, 0.2, 0.12, 0.08, 0.05]),
    )
    kept = Kept(kept=np.array([0, 2, 4, 5]), tokens=np.zeros((4, 1)))
    return explanation(PrunerRecord("adaptive", {**SETTINGS, "keep": keep}, {}, True), signals, kept)


def test_a_walk_is_told_turn_by_turn():
    explained = by_hand()
    taken = [(one.turn, one.token, one.rank, one.score, one.threshold, one.struck) for one in explained.reasons[:4]]
    assert taken == [
        (1, 0, 1, 0.3, 0.1, (1,)),
        (2, 2, 3, 0.2, 0.1, (3,)),
        (3, 4, 5, 0.08, 0.1, ()),
        (4, 5, 6, 0.05, 0.1, ()),
    ]
    assert explained.otherwise == ((), ())
    zero, struck = chosen(explained, 0), chosen(explained, 3)
    assert (zero.row, zero.column, zero.neighbour) == (0, 0, 5)
    assert zero.distance == pytest.approx(1 - np.cos(np.radians(40)), abs=1e-7)
    assert (struck.kept, struck.by, struck.neighbour, struck.attention_rank) == (False, 2, 2, 4)
    assert struck.why == "struck out by 2, nearer than its threshold 0.1"


def test_what_was_struck_out_and_taken_back_is_told_and_so_is_what_had_no_turn():
    back = by_hand(keep=5)
    assert [(one.token, one.why) for one in back.reasons[4:5]] == [(1, "backfill, though it was struck out")]
    assert back.otherwise == ((), (1,))
    few = by_hand(keep=2)
    assert chosen(few, 4).why == "all 2 were taken before its turn"
    assert few.otherwise == ((4, 5), ())


# --- of every method -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", rooms.names("pruners"))
def test_every_method_says_of_every_token_what_became_of_it(name):
    generator = np.random.default_rng(0)
    features = ("hidden", "projected", "keys", "following_keys")
    attention = ("saliency", "received", "early_saliency", "early_received", "following_saliency")
    signals = Signals(
        candidates=Candidates((6, 6)),
        cls=generator.standard_normal((1, 8)),
        **{each: generator.standard_normal((36, 8)) for each in features},
        **{each: generator.random(36) / 36 for each in attention},
    )
    room = rooms.load("pruners", name)
    config = room.Config() if name == "none" else room.Config(keep=12)
    settings = dataclasses.asdict(config.resolved()[0])
    outcome = rooms.load("reference", name).select(signals, settings)
    kept = Kept(kept=outcome.kept, tokens=np.zeros((len(outcome.kept), 1)))
    explained = explanation(PrunerRecord(name, settings, {}, True), signals, kept)
    assert explained.otherwise == ((), ())
    told = [one.token for one in explained.reasons]
    assert sorted(token for token in told if token >= 0) == list(range(36))
    assert all(one.why for one in explained.reasons)
    taken = [one for one in explained.reasons if one.kept]
    assert [one.turn for one in taken] == list(range(1, len(outcome.kept) + 1))
    for one in explained.reasons:
        assert one.by is None or one.by in outcome.kept


# --- from an artefact ------------------------------------------------------------------------------------------------


def test_the_run_and_the_record_tell_the_same(telling, artefact):
    recorded = explain(artefact, "astronaut").explanation
    ran = explain(telling, telling / "golden" / "00.png").explanation
    assert explain(artefact, artefact / "golden" / "00.png").explanation == recorded
    keys = [(one.token, one.turn, one.rank, one.neighbour, one.struck, one.by) for one in recorded.reasons]
    assert keys == [(one.token, one.turn, one.rank, one.neighbour, one.struck, one.by) for one in ran.reasons]
    with load(artefact, "onnx") as front_end:
        kept = front_end(artefact / "golden" / "00.png")[0].kept
    assert sorted(one.token for one in ran.reasons if one.kept) == kept.tolist()
    thresholds = [(one.threshold, other.threshold) for one, other in zip(recorded.reasons, ran.reasons, strict=True)]
    assert all(one == other or one == pytest.approx(other, rel=1e-4) for one, other in thresholds)


def test_a_photo_of_ones_own_needs_signals(telling, artefact, photo):
    assert [one.kept for one in explain(telling, photo).explanation.reasons].count(True) == 8
    with pytest.raises(ArtefactError, match="was exported without --signals, so that nobody knows"):
        explain(artefact, photo)
    with pytest.raises(ImageError, match="no image file 'nobody'"):
        explain(artefact, "nobody")


def test_signals_cost_nothing_where_nobody_asks(telling, artefact, photo):
    """Nothing but what is promised is bound, returned, judged or built from."""
    manifest = open_artefact(telling).manifest
    assert [(spec.name, spec.shape) for spec in manifest.signals] == [
        ("projected", ("b", 36, 48)),
        ("saliency", ("b", 36)),
    ]
    assert manifest.outputs == open_artefact(artefact).manifest.outputs
    assert open_artefact(artefact).manifest.signals == ()
    with load(telling) as front_end, load(artefact, "onnx") as other:
        assert [spec.name for spec in front_end._session.outputs] == [spec.name for spec in manifest.outputs]
        ours, theirs = front_end(photo), other(photo)
    for name, array in ours.arrays().items():
        np.testing.assert_array_equal(array, theirs.arrays()[name])
    assert check(telling).passed
    assert validate(telling, benchmark="shapes", limit=2).passed


@pytest.mark.whole
def test_openvino_returns_them_to_whoever_asks_and_to_nobody_else(small_llava, telling, photo, tmp_path):
    pytest.importorskip("openvino")
    export(small_llava, tmp_path / "a", keep=8, golden=0, signals=True, formats=("openvino",))
    names = [spec.name for spec in open_artefact(telling).manifest.outputs]
    with load(tmp_path / "a") as front_end:
        assert [port.get_any_name() for port in front_end._session._compiled.outputs] == names
    ours, theirs = explain(tmp_path / "a", photo).explanation, explain(telling, photo).explanation
    assert [(one.token, one.rank, one.neighbour, one.struck) for one in ours.reasons] == [
        (one.token, one.rank, one.neighbour, one.struck) for one in theirs.reasons
    ]
    assert [one.score for one in ours.reasons] == pytest.approx([one.score for one in theirs.reasons], abs=1e-5)


@pytest.mark.whole
def test_a_format_that_runs_here_is_asked(small_llava, photo, tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    export(small_llava, tmp_path / "a", keep=8, golden=0, signals=True, formats=("onnx", "openvino"))
    monkeypatch.setattr(rooms.load("backends", "onnx").Backend, "missing", lambda self: "no ONNX Runtime")
    assert len(explain(tmp_path / "a", photo).explanation.reasons) > 0
    monkeypatch.setattr(rooms.load("backends", "openvino").Backend, "missing", lambda self: "no OpenVINO")
    with pytest.raises(UnavailableError, match="no ONNX Runtime"):
        explain(tmp_path / "a", photo)


def test_what_cannot_return_signals_says_so(small_llava, telling, tmp_path, monkeypatch):
    with pytest.raises(SpecError, match="torchscript cannot return signals; formats that can: onnx, openvino"):
        export(small_llava, tmp_path / "a", signals=True, formats=("torchscript",))
    backend = rooms.load("backends", "tensorrt").Backend
    monkeypatch.setattr(backend, "missing", lambda self: None)
    with pytest.raises(ArtefactError, match=r"tensorrt returns no signals, and model\.onnx does"):
        build(telling, format="tensorrt")


def test_a_manifest_with_signals_that_cannot_be_is_refused(telling, tmp_path):
    folder = shutil.copytree(telling, tmp_path / "copy")
    reseal(folder / "manifest.json", lambda keys: keys["signals"][0].update(name="kept"))
    with pytest.raises(ArtefactError, match="each must have a name of its own, and that of no output"):
        open_artefact(folder)


# --- what people see -------------------------------------------------------------------------------------------------


def test_the_table_the_sentences_and_the_picture(artefact, tmp_path):
    for name in ("a.png", "a.html"):
        report = explain(artefact, "astronaut", token=35, out=tmp_path / name)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] >= 256
    rows = explain_table(report).cells()
    assert len(rows) == 8 and rows[0][0] == "1"
    page = (tmp_path / "a.html").read_text()
    assert page.count("<tr>") == 9 and "data:image/png;base64," in page
    first, *_ = explain_summary(report)
    assert first.startswith("token 35 (row 5, column 5) was ")
    with pytest.raises(SpecError, match=r"must end in .png or .html"):
        explain(artefact, "astronaut", out=tmp_path / "a.jpg")
    with pytest.raises(SpecError, match="token is 36; it must be 0 to 35"):
        explain(artefact, "astronaut", token=36)


def test_another_choice_of_the_run_is_told(artefact):
    golden, manifest = read_golden(open_artefact(artefact)), open_artefact(artefact).manifest
    kept = golden.output[0]
    other = dataclasses.replace(kept, kept=np.sort(np.append(kept.kept[1:], np.setdiff1d(range(36), kept.kept)[0])))
    explained = explanation(manifest.pruner, golden.signals(0, manifest.layout.candidates), other)
    report = dataclasses.replace(explain(artefact, "astronaut"), explanation=explained, proven=True)
    (note,) = [part for part in explain_summary(report) if isinstance(part, str)]
    assert note.startswith(f"note: the run kept {np.setdiff1d(range(36), kept.kept)[0]} where the reference keeps")


def test_neither_torch_nor_a_model_is_needed(telling, photo):
    code = (
        "import sys; sys.argv[1:] = ['explain', *sys.argv[1:], '--json']\n"
        "from vtp_export.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'transformers', 'safetensors'} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code, telling, photo], capture_output=True, text=True, check=True)
    assert len(json.loads(result.stdout)["tokens"]) == 36
    assert result.stderr.splitlines()[-1] == "[]"


def test_the_photo_and_the_artefact_are_not_drawn_over(telling, photo, tmp_path):
    there = shutil.copytree(telling, tmp_path / "telling")
    (picture,) = there.rglob("00.png")
    for out in (photo, picture):
        before = out.read_bytes()
        with pytest.raises(SpecError, match="is read here, and would be written over"):
            explain(there, photo, out=out)
        assert out.read_bytes() == before


def test_a_folder_is_no_photo(telling, artefact, photo):
    for folder in (telling, artefact):
        with pytest.raises(SpecError, match="is a folder; name one photo"):
            explain(folder, photo.parent)
