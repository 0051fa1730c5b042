"""`check` sees whether an artefact is what it was at the export: without torch, on the recorded pictures."""

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
from vtp_export.backends import base
from vtp_export.errors import ArtefactError, ImageError, SpecError, UnavailableError
from vtp_export.graphs.assembly import assemble, load_model
from vtp_export.graphs.eager import EagerSession
from vtp_export.parity.golden import ARRAYS, RECORD, read_golden
from vtp_export.parity.originals import originals
from vtp_export.parity.recording import write_golden
from vtp_export.parity.witness import HEADROOM
from vtp_export.pipeline import check as module
from vtp_export.pipeline.check import check
from vtp_export.pipeline.export import export
from vtp_export.runtime.artefact import Artefact, open_artefact
from vtp_export.runtime.changing import record_files, write_manifest
from vtp_export.runtime.front_end import PrunedArtefact
from vtp_export.runtime.output import Output
from vtp_export.spec import Manifest


def failing_run(monkeypatch, fault):
    """Every open artefact returns what a fault makes of its arrays."""
    true = PrunedArtefact.run

    def run(self, pixels):
        arrays = {name: array.copy() for name, array in true(self, pixels).arrays().items()}
        fault(arrays)
        return Output.of(arrays)

    monkeypatch.setattr(PrunedArtefact, "run", run)


def test_every_format_that_runs_here_passes(artefact):
    report = check(artefact)
    assert report.passed, report.failures
    assert [one.name for one in report.comparisons] == [
        "onnx against the graph at the export",
        "torchscript against the graph at the export",
    ]
    assert [one.identical for one in report.comparisons] == [report.pictures] * 2 == [8] * 2
    assert report.pixels.largest == 0 and report.notes == ()


def test_neither_torch_nor_a_model_is_needed(artefact):
    code = (
        "import sys; sys.argv[1:] = ['check', sys.argv[1], '--format', 'onnx', '--json']\n"
        "from vtp_export.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({'torch', 'transformers', 'safetensors'} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code, artefact], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout)["passed"] is True
    assert result.stderr.splitlines()[-1] == "[]"


# --- planted ---------------------------------------------------------------------------------------------------------


def a_wrong_token(arrays):
    kept = arrays["kept"]
    kept[:, -1] = np.where(kept[:, -1] == 35, 34, 35)


def a_wrong_value(arrays):
    arrays["tokens"][1, 3, 5] += 0.01 * np.abs(arrays["tokens"]).max()


def values_of_other_slots(arrays):
    arrays["tokens"] = arrays["tokens"][:, ::-1].copy()


def another_order_of_slots(arrays):
    for name in ("tokens", "kept"):
        arrays[name] = arrays[name][:, ::-1].copy()


def one_picture_for_all(arrays):
    for array in arrays.values():
        array[1:] = array[:1]


def a_wrong_erank(arrays):
    arrays["erank"] *= 1.5


def no_number(arrays):
    arrays["tokens"][2, 0] = np.nan


def a_token_too_many(arrays):
    arrays["num_kept"] += 1


FAULTS = {
    a_wrong_token: "keeps other tokens and no rounding within the noise explains it",
    a_wrong_value: "error of tokens, relative to the largest entry, is 0.0",
    values_of_other_slots: "cosine of tokens is",
    another_order_of_slots: "'kept' does not ascend",
    one_picture_for_all: "keeps other tokens",
    a_wrong_erank: "erank is",
    no_number: "camera: 'tokens' holds a NaN or an infinity",
    a_token_too_many: "num_kept is 9, and must be from 1 to 8",
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_planted_in_a_result_fails_by_name(artefact, monkeypatch, fault):
    failing_run(monkeypatch, fault)
    report = check(artefact, formats=["onnx"])
    assert not report.passed and report.pixels.passed
    assert any(FAULTS[fault] in failure for failure in report.failures), report.failures


@pytest.fixture
def copy(artefact, tmp_path):
    return shutil.copytree(artefact, tmp_path / "copy")


def test_a_file_of_another_export_is_refused(copy, other_artefact):
    shutil.copyfile(other_artefact / ARRAYS, copy / ARRAYS)
    with pytest.raises(ArtefactError, match=r"golden/arrays.npz' has \d+ bytes"):
        check(copy)


def test_a_stale_model_under_the_new_manifest_is_seen(copy, small_llava, tmp_path, monkeypatch):
    """Even where its digest was brought up to date, and its identity is not looked at."""
    monkeypatch.setattr(base, "refuse_other_identity", lambda *_: None)
    export(small_llava, tmp_path / "b", keep=8, settings={"average": 5}, formats=("torchscript",), golden=0)
    shutil.copyfile(tmp_path / "b" / "model.ts", copy / "model.ts")
    (stale,) = open_artefact(tmp_path / "b").builds("torchscript")
    write_manifest(copy, dataclasses.replace(open_artefact(copy).manifest, builds=(stale,), validation={}))
    report = check(copy)
    assert any("keeps other tokens and no rounding" in failure for failure in report.failures), report.failures


def test_another_pillow_is_told_from_another_runtime(artefact, monkeypatch):
    def read(path, true=module.read_image):
        return true(path).point(lambda value: min(value + 1, 255)) if path.name == "03.png" else true(path)

    monkeypatch.setattr(module, "read_image", read)
    report = check(artefact, formats=["onnx"])
    assert not report.passed and report.comparisons[0].passed
    (failure,) = report.failures
    assert failure.startswith("preprocessing here against that of the export: 1 of 8 pictures") and "cell" in failure
    assert report.notes[0].startswith(f"Pillow is {module.version('pillow')} here and was ")


def test_a_picture_that_this_pillow_cannot_read_fails(artefact, monkeypatch):
    def read(path):
        raise ImageError("no decoder")

    monkeypatch.setattr(module, "read_image", read)
    report = check(artefact, formats=["onnx"])
    assert not report.pixels.passed and report.comparisons[0].passed


# --- rounding --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ranked(small_llava, tmp_path_factory):
    out = tmp_path_factory.mktemp("check") / "ranked"
    export(small_llava, out, pruner="fastervlm", keep=8, golden=2)
    return out


@pytest.mark.parametrize(("share", "explained"), [(0.99, False), (1.01, True)])
def test_a_near_tie_is_explained_by_the_recorded_signals_and_noise(ranked, tmp_path, monkeypatch, share, explained):
    """The last token kept before the first left out: both weights may move, so twice the noise closes the gap."""
    monkeypatch.setattr(base, "refuse_other_identity", lambda *_: None)
    folder = shutil.copytree(ranked, tmp_path / "copy")
    artefact = open_artefact(folder)
    saliency = read_golden(artefact).signals(0, artefact.manifest.layout.candidates).saliency
    order = np.argsort(-saliency)
    last, first_left_out = order[7], order[8]
    noise = share * (saliency[last] - saliency[first_left_out]) / (2 * HEADROOM)

    reseal(folder / RECORD, lambda keys: keys["noise"].update(saliency=float(noise)))
    golden = record_files(folder, map(folder.joinpath, artefact.manifest.golden))
    write_manifest(folder, dataclasses.replace(artefact.manifest, golden=golden))

    def swapped(arrays):
        others = np.setdiff1d(np.append(arrays["kept"][0], first_left_out), last)
        order = np.argsort(np.where(arrays["kept"][0] == last, first_left_out, arrays["kept"][0]))
        arrays["kept"][0], arrays["tokens"][0] = others, arrays["tokens"][0][order]

    failing_run(monkeypatch, swapped)
    report = check(folder)
    (difference,) = report.comparisons[0].differences
    assert (difference.only_expected, difference.only_found) == ((last,), (first_left_out,))
    assert (difference.witness is not None) == explained == report.passed


def test_a_narrow_artefact_is_explained_from_its_own_signals(small_llava, tmp_path):
    export(small_llava, tmp_path / "a", keep=8, formats=("torchscript",), precision="bf16", golden=4)
    artefact = open_artefact(tmp_path / "a")
    golden, candidates = read_golden(artefact), artefact.manifest.layout.candidates
    start = golden.start(0, candidates)
    way = np.abs(start.signals.saliency - golden.signals(0, candidates).saliency).max()
    assert 0 < start.way.sizes["saliency"] == pytest.approx(way, rel=1e-6)
    assert golden.arrays["output.tokens"].dtype == np.float16
    assert check(tmp_path / "a").passed


# --- what is recorded ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", rooms.names("pruners"))
def test_the_reference_decides_alike_by_what_is_recorded(name, small_llava, tmp_path, artefact):
    loaded = load_model(str(small_llava), rooms.load("pruners", name).needs(rooms.load("pruners", name).Config()))
    settings = {"keep": 8} if name != "none" else {}
    assembly = assemble(loaded, name, settings)
    manifest = dataclasses.replace(
        open_artefact(artefact).manifest,
        pruner=assembly.pruner,
        layout=assembly.layout,
        outputs=assembly.graph.outputs,
    )
    eager = EagerSession(assembly.graph)
    files, notes = write_golden(tmp_path, originals("shapes", 3), eager, None, manifest)
    golden = read_golden(Artefact(tmp_path, dataclasses.replace(manifest, golden=files)))
    assert notes == () and golden.record.oracle
    select = rooms.load("reference", name).select
    for view, kept in enumerate(golden.output):
        signals = golden.signals(view, manifest.layout.candidates)
        decided = select(dataclasses.replace(signals, complexity=kept.complexity), assembly.pruner.settings)
        share = len(set(decided.kept.tolist()) & set(kept.kept.tolist())) / kept.num_kept
        assert share == 1 or (golden.record.chaotic and share > 0.5)


def test_two_exports_record_the_same_bytes(artefact, small_llava, tmp_path):
    export(small_llava, tmp_path / "again", keep=8, formats=("torchscript",))
    assert open_artefact(tmp_path / "again").manifest.golden == open_artefact(artefact).manifest.golden


def test_pictures_of_ones_own(small_llava, tmp_path):
    (tmp_path / "mine").mkdir()
    for i, ending in enumerate(("png", "jpg", "png")):
        noise = np.random.default_rng(i).integers(0, 256, (300, 500, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "mine" / f"{i}.{ending}")
    export(small_llava, tmp_path / "a", keep=8, formats=("torchscript",), golden=2, golden_images=tmp_path / "mine")
    artefact = open_artefact(tmp_path / "a")
    assert [(one.name, one.file) for one in read_golden(artefact).record.pictures] == [
        ("0.png", "golden/00.png"),
        ("1.jpg", "golden/01.jpg"),
    ]
    with Image.open(tmp_path / "a" / "golden" / "01.jpg") as image:
        assert image.size == (256, 154)


# --- refused ---------------------------------------------------------------------------------------------------------


def test_an_artefact_without_a_record_is_told_how_to_get_one(small_llava, tmp_path):
    export(small_llava, tmp_path / "a", keep=8, formats=("torchscript",), golden=0)
    with pytest.raises(ArtefactError, match="has no golden record; export it again, without --golden 0"):
        check(tmp_path / "a")
    with pytest.raises(SpecError, match="golden is -1"):
        export(small_llava, tmp_path / "b", golden=-1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda keys: keys.update(schema=2), "golden record has schema 2"),
        (lambda keys: keys["pictures"].pop(), "contradicts its manifest: views is"),
        (lambda keys: keys["gates"].pop("cosine"), "lacks the key 'cosine'"),
    ],
)
def test_a_record_that_was_changed_is_refused(copy, change, words):
    manifest = open_artefact(copy).manifest
    (copy / RECORD).write_text((copy / RECORD).read_text() + " ")
    with pytest.raises(ArtefactError, match=r"record\.json' has"):
        check(copy)
    reseal(copy / RECORD, change)
    golden = record_files(copy, map(copy.joinpath, manifest.golden))
    write_manifest(copy, dataclasses.replace(manifest, golden=golden))
    with pytest.raises(ArtefactError, match=words):
        check(copy)


def test_a_format_that_cannot_run_is_refused_where_it_was_named_and_noted_else(artefact, monkeypatch):
    def obstacle(artefact, fmt, device=None):
        return "torch is not here" if fmt == "torchscript" else None

    monkeypatch.setattr(module, "obstacle", obstacle)
    assert check(artefact).notes == ("torchscript was not checked: torch is not here",)
    with pytest.raises(UnavailableError, match="torch is not here"):
        check(artefact, formats=["torchscript"])


def test_the_manifest_is_bound_to_its_record(artefact):
    manifest: Manifest = open_artefact(artefact).manifest
    assert dataclasses.replace(manifest, golden={}).identity() != manifest.identity()
