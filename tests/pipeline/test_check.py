"""`check` sees whether an artefact is what it was at the export: without torch, on the recorded pictures."""

import dataclasses
import hashlib
import io
import shutil

import numpy as np
import onnx as onnx_file
import onnxruntime
import pytest
from onnxruntime.quantization import quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16
from PIL import ExifTags, Image

from tests.sealing import reseal
from tests.torchless import without_torch
from vtp_export import rooms
from vtp_export.backends import base, onnx
from vtp_export.errors import ArtefactError, ImageError, OutputError, SpecError, UnavailableError
from vtp_export.graphs.assembly import assemble, load_model
from vtp_export.graphs.eager import EagerSession
from vtp_export.parity.golden import ARRAYS, RECORD, read_golden
from vtp_export.parity.originals import originals
from vtp_export.parity.recording import write_golden
from vtp_export.parity.witness import HEADROOM
from vtp_export.pipeline import check as module
from vtp_export.pipeline.bench import bench
from vtp_export.pipeline.check import check
from vtp_export.pipeline.doctor import doctor
from vtp_export.pipeline.export import export
from vtp_export.pipeline.run import run
from vtp_export.precision.lowering import loaded_in
from vtp_export.reports.bench import bench_summary
from vtp_export.reports.check import check_summary
from vtp_export.reports.machine import diagnosis_summary
from vtp_export.reports.results import run_summary
from vtp_export.runtime import checks
from vtp_export.runtime.artefact import Artefact, open_artefact
from vtp_export.runtime.changing import record_files, write_manifest
from vtp_export.runtime.front_end import PrunedArtefact, load
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
    assert [(one.images, one.identical) for one in report.batches] == [(8 + 3 + 3,) * 2] * 2
    assert report.pixels.largest == 0 and report.notes == ()


def test_neither_torch_nor_a_model_is_needed(artefact):
    assert without_torch("check", artefact, "--format", "onnx")["passed"] is True


# --- planted ---------------------------------------------------------------------------------------------------------


def a_wrong_token(arrays):
    kept = arrays["kept"]
    kept[:, -1] = np.where(kept[:, -1] == 35, 34, 35)


def a_wrong_value(arrays):
    arrays["tokens"][-1, 3, 5] += 0.01 * np.abs(arrays["tokens"]).max()


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
    arrays["tokens"][2:3, 0] = np.nan


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


def doubled_alone(arrays):
    arrays["tokens"] *= 2 if len(arrays["tokens"]) == 1 else 1


def turned_round(arrays):
    for name in arrays if len(arrays["kept"]) == 3 else ():
        arrays[name] = arrays[name][::-1].copy()


def no_number_in_the_largest(arrays):
    arrays["erank"][15:] = np.nan


OF_A_BATCH = {
    doubled_alone: "ratio of the lengths of tokens is 2",
    turned_round: "astronaut as image 1 of a batch of 3: keeps other tokens",
    no_number_in_the_largest: "coffee as image 16 of a batch of 16: 'erank' holds a NaN",
}


@pytest.mark.parametrize("fault", OF_A_BATCH)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_planted_at_one_batch_size_fails_there(artefact, monkeypatch, fault):
    failing_run(monkeypatch, fault)
    report = check(artefact, formats=["onnx"])
    assert report.comparisons[0].passed and not report.batches[0].passed
    assert any(OF_A_BATCH[fault] in failure for failure in report.failures), report.failures


def test_what_is_not_finite_in_the_largest_batch_alone_leaves_the_record_judged(artefact, monkeypatch):
    """The largest batch is filled up with pictures that are in it already."""
    true = PrunedArtefact.run

    def run(self, pixels):
        if len(pixels) == 16:
            raise OutputError("tokens", [12])
        return true(self, pixels)

    monkeypatch.setattr(PrunedArtefact, "run", run)
    report = check(artefact, formats=["onnx"])
    assert (report.comparisons[0].identical, report.comparisons[0].passed) == (8, True)
    (failure,) = report.batches[0].failures
    assert failure == "chelsea as image 13 of a batch of 16: 'tokens' holds a NaN or an infinity"


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


@pytest.mark.parametrize(
    ("dtype", "words"), [("float32", None), ("float16", "float16 or TF32"), ("bfloat16", "bfloat16")]
)
def test_a_runtime_that_computes_in_less_is_told_from_one_that_is_wrong(
    artefact, small_llava, monkeypatch, dtype, words
):
    """As OpenVINO does by itself on some CPUs: every product in fewer bits, and the pixels right."""
    loaded = loaded_in(load_model(str(small_llava), {"projected", "saliency"}), dtype)
    narrow = EagerSession(assemble(loaded, "adaptive", open_artefact(artefact).manifest.pruner.settings).graph)
    monkeypatch.setattr(PrunedArtefact, "run", lambda self, pixels: narrow(pixels))
    report = check(artefact, formats=["onnx"])
    assert report.pixels.passed and report.passed == (words is None)
    told = [note for note in report.notes if "values stray by" in note]
    assert [f"as they do in {words}: what runs here computes in less" in note for note in told] == [True] * bool(words)


@pytest.mark.parametrize("fault", [a_wrong_token, a_wrong_value])
def test_a_fault_is_not_taken_for_rounding(artefact, monkeypatch, fault):
    failing_run(monkeypatch, fault)
    assert not [note for note in check(artefact, formats=["onnx"]).notes if "values stray by" in note]


def test_a_provider_that_was_not_taken_is_refused(artefact, monkeypatch):
    """ONNX Runtime falls back to the CPU without an error; nobody should take its results for those of a GPU."""
    monkeypatch.setattr(onnx, "why_unavailable", lambda _: None)
    monkeypatch.setattr(onnx, "providers", lambda *_: ["CPUExecutionProvider"])
    with pytest.raises(UnavailableError, match="did not take CUDAExecutionProvider and fell back to CPUExecution"):
        check(artefact, formats=["onnx"], device="cuda")


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
        if len(arrays["kept"]) != 16:  # where it is held against the record
            return
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


# --- files of other tools --------------------------------------------------------------------------------------------


def optimised(source, file):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 3, str(file)
    onnxruntime.InferenceSession(str(source), options)


def of_one_image(source, file):
    model = onnx_file.load(source)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.metadata_props[:]
    onnx_file.save(model, file)


def quantised(source, file):
    quantize_dynamic(source, file)


def in_half_precision(source, file):
    onnx_file.save(convert_float_to_float16(onnx_file.load(source), keep_io_types=True), file)


@pytest.mark.parametrize("tool", [optimised, of_one_image])
def test_a_file_that_another_tool_left_right_passes(artefact, tmp_path, tool):
    file = tmp_path / "another.onnx"
    tool(artefact / "model.onnx", file)
    report = check(artefact, model=file)
    assert report.passed, report.failures
    assert report.comparisons[0].name == "another.onnx against the graph at the export"
    assert report.file.record.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"SHA-256 {report.file.record.sha256[:16]}" in check_summary(report)[-1]
    alone = "another.onnx: it takes single images only, and was judged by these"
    assert (alone in report.notes, len(report.batches)) == ((True, 0) if tool is of_one_image else (False, 1))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tool", [quantised, in_half_precision])
def test_a_file_that_another_tool_made_otherwise_fails(ranked, tmp_path, tool):
    file = tmp_path / "another.onnx"
    tool(ranked / "model.onnx", file)
    report = check(ranked, model=file)
    assert not report.passed and report.pixels.passed
    assert report.notes[-1] == f"'{file}' is judged by the limits of fp32, as the artefact's own files are"


def test_a_file_that_cannot_be_judged_is_refused(artefact, other_artefact, tmp_path):
    with pytest.raises(ArtefactError, match="no file '"):
        check(artefact, model=tmp_path / "absent.onnx")
    with pytest.raises(ArtefactError, match=r"promises erank too; it cannot stand in for the artefact's own"):
        check(artefact, model=other_artefact / "model.onnx")
    with pytest.raises(SpecError, match=r"manifest.json' does not tell its format, as .*\.onnx.* do; name the format"):
        check(artefact, model=artefact / "manifest.json")
    with pytest.raises(SpecError, match="is one file, of one format, and 2 were named: onnx, pt2"):
        check(artefact, model=artefact / "model.onnx", formats=["onnx", "pt2"])


# --- what is remembered ----------------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def said(artefact):
    """What run, bench and doctor say of the check of the format onnx."""
    picture = artefact / "golden" / "00.png"
    ran = run(artefact, [picture], format="onnx")
    timed = bench([artefact], formats=["onnx"], rounds=1)
    diagnosis = doctor(artefact)
    sentences = (*run_summary(ran), *bench_summary(timed), *diagnosis_summary(diagnosis, "it"))
    told = sum(isinstance(one, str) and "on this machine" in one for one in sentences)
    return ran.checked, timed.timings[0].checked, diagnosis.checked["onnx"], told


def test_run_bench_and_doctor_say_what_a_check_came_to(ranked, state, monkeypatch):
    assert said(ranked) == ("never",) * 3 + (3,)
    check(ranked)
    assert said(ranked) == ("passed",) * 3 + (0,)
    with monkeypatch.context() as patch:
        failing_run(patch, a_wrong_token)
        check(ranked)
    assert said(ranked) == ("failed",) * 3 + (3,)


@pytest.mark.parametrize("change", ["another version", "another artefact", "other options"])
def test_a_check_is_of_one_artefact_and_one_runtime(ranked, other_artefact, state, monkeypatch, change):
    check(ranked)
    if change == "another version":
        monkeypatch.setattr(checks, "versions", lambda packages: dict.fromkeys(packages, "0.0"))
    folder = other_artefact if change == "another artefact" else ranked
    options = {"tensorrt": True} if change == "other options" else {}
    manifest = open_artefact(folder).manifest
    assert checks.checked(checks.way(manifest, manifest.builds[0], "cpu", onnx.RunOptions(**options))) == "never"


def test_a_file_of_another_tool_says_nothing_of_the_artefact(ranked, state):
    check(ranked, model=ranked / "model.onnx")
    assert not state.exists()


@pytest.mark.parametrize("home", ["a file", "nonsense"])
def test_where_nothing_can_be_remembered_nothing_fails(ranked, state, home):
    if home == "a file":
        state.write_text("")
    else:
        (state / "vtp-export" / "checks").mkdir(parents=True)
        with load(ranked) as opened:
            (state / "vtp-export" / "checks" / opened.way).write_text("perhaps")
        assert said(ranked)[0] == "never"
        return
    assert check(ranked).passed
    assert said(ranked)[0] == "never"


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


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_a_photo_that_a_camera_turned_stays_a_jpeg(tmp_path, kind):
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", kind, exif=turned)
    (original,) = originals(tmp_path, 1)
    with Image.open(io.BytesIO(original.content)) as image:
        assert (original.ending, image.format, image.size) == (".jpg", "JPEG", (20, 40))


def test_fewer_pictures_than_were_asked_for_are_told(small_llava, tmp_path, photo):
    asked = {"pruner": "fastervlm", "keep": 8, "formats": ("torchscript",), "golden_images": photo.parent}
    few = export(small_llava, tmp_path / "a", golden=3, **asked)
    assert few.notes == (f"3 pictures were asked for, for the golden record, and '{photo.parent}' holds 1",)
    none = export(small_llava, tmp_path / "b", golden=0, **asked)
    assert none.notes == (f"no golden record was asked for, so that '{photo.parent}' was not read",)
    assert export(small_llava, tmp_path / "c", golden=1, **asked).notes == ()


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
        (lambda keys: keys["pictures"].pop(), "contradicts its manifest: 'golden/07.png' is not in both"),
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
