"""The command line as a user meets it: what it prints, its exit codes, and what it leaves behind."""

import inspect
import json
import logging
import os
import shutil

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from vtp_export import rooms
from vtp_export.backends import onnx
from vtp_export.cli import app
from vtp_export.runtime.front_end import PrunedArtefact

COMMANDS = {command.name: inspect.signature(command.callback).parameters for command in app.registered_commands}
"""By name, the parameters."""


def refused(result, *words):
    """Exit 2 and one sentence on standard error, no traceback."""
    code, _, err = result
    lines = [line for line in err.splitlines() if not line.startswith("[")]
    assert code == 2
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0], lines[0]


def test_no_arguments_shows_help(vtp):
    code, out, err = vtp()
    assert (code, err) == (0, "")
    assert "validate" in out


def test_version(vtp):
    assert vtp("--version")[1].startswith("vtp-export 0.")


@pytest.mark.parametrize("room", ["pruners", "inllm", "models", "backends", "benchmarks"])
def test_list_names_every_file(vtp, room):
    code, out, _ = vtp("list", room, "--json")
    assert code == 0
    rows = json.loads(out)[room]
    assert [row["name"] for row in rows] == rooms.names(room)
    assert all(row["summary"] for row in rows)


@pytest.mark.parametrize(
    ("room", "name"), [(room, name) for room in ("pruners", "inllm") for name in rooms.names(room)]
)
def test_list_of_one_method_tells_every_setting(vtp, room, name):
    code, out, _ = vtp("list", room, name, "--json")
    assert code == 0
    told = json.loads(out)
    config = rooms.load(room, name).Config()
    assert {one["name"]: one["default"] for one in told["settings"].get("--set", ())} == vars(config)
    assert all(one["must_be"] and one["meaning"] for one in told["settings"].get("--set", ()))
    assert "Source:" in told["about"]


def test_list_of_one(vtp):
    code, out, _ = vtp("list", "pruners", "adaptive")
    assert code == 0
    for words in ("tau_max", "0.25", "AgilePruner", "must be"):
        assert words in out
    assert "workspace_gb" in vtp("list", "backends", "tensorrt")[1]
    assert "IR 9" in vtp("list", "targets", "onnxruntime-1.17")[1]
    refused(vtp("list", "pruners", "adaptve"), "did you mean 'adaptive'")
    refused(vtp("list", "models", "lava"), "did you mean 'llava'")
    refused(vtp("list", "inllm", "fast"), "no method inside the language model named 'fast'; did you mean 'fastv'")


def test_what_prunes_inside_the_language_model_is_refused_where_a_front_end_is_made(vtp, tmp_path):
    words = ("prunes inside the language model", "compare measures it", "fastervlm")
    refused(vtp("export", "tiny-llava", "--pruner", "fastv", "--out", str(tmp_path / "a")), *words)
    assert not list(tmp_path.iterdir())


def test_list_without_a_room_is_all_of_them(vtp):
    told = json.loads(vtp("list", "--json")[1])
    assert {"pruners", "models", "backends", "benchmarks", "targets"} <= set(told)


def test_list_of_nothing(vtp):
    refused(vtp("list", "prunners"), "prunners", "did you mean 'pruners'")


def test_export_validate_run_inspect_bench(vtp, small_llava, photo, tmp_path, caplog):
    out = tmp_path / "a"
    code, printed, err = vtp("export", small_llava, "--keep", "16.7%", "--set", "complexity=entropy", "--out", out)
    assert code == 0
    assert "keeps 6 of 36" in printed
    leaked = [line for line in err.splitlines() if not line.startswith(("[", "note: "))]
    leaked += [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert leaked == []  # what torch and its exporter log is for nobody
    code, printed, _ = vtp("validate", out, "--limit", 3, "--json", "--report", tmp_path / "report")
    assert code == 0
    # The page is written before the JSON is printed, and the JSON stands alone.
    result = json.loads(printed)
    assert result["passed"]
    assert [c["name"] for c in result["comparisons"]] == ["graph against reference", "onnx against graph"]
    assert (tmp_path / "report" / "index.html").read_text().count("<figure>") == 3
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["index.html"]
    code, printed, _ = vtp("run", out, photo, photo, "--out", tmp_path / "r.npz", "--overlay", tmp_path / "o", "--json")
    assert code == 0
    told = json.loads(printed)
    assert (told["format"], told["device"]) == ("onnx", "cpu")
    arrays = np.load(tmp_path / "r.npz")
    assert [row["kept"] for row in told["images"]] == arrays["kept"].tolist()
    assert [row["num_kept"] for row in told["images"]] == [6, 6]
    assert arrays["tokens"].shape == (2, 6, 48)
    assert "attention_entropy" in arrays
    assert "erank" not in arrays
    assert len(list((tmp_path / "o").glob("*.png"))) == 2
    code, printed, _ = vtp("inspect", out, "--json")
    assert code == 0
    manifest = json.loads(printed)["manifest"]
    assert manifest["validation"]["onnx"]["passed"] is True
    assert manifest["validation"]["onnx"]["device"] == "cpu"
    assert manifest["pruner"]["origins"]["average"] == "mean over MME, paper appendix D"
    code, printed, _ = vtp("bench", out, "--against", small_llava, "--batch", 1, "--batch", 2, "--rounds", 2, "--json")
    assert code == 0
    assert [row["batch"] for row in json.loads(printed)["timings"]] == [1, 1, 2, 2]


def test_tables_are_printed_too(vtp, artefact):
    assert "all digests match" in vtp("inspect", artefact)[1]
    code, printed, _ = vtp("validate", artefact, "--limit", 2, "--format", "onnx")
    assert code == 0
    assert "graph against reference" in printed


def test_keep_all_is_no_pruning_and_says_so(vtp, small_llava, tmp_path):
    code, printed, err = vtp("export", small_llava, "--keep", 99, "--out", tmp_path / "a")
    assert code == 0
    assert "note: keep is 99 and the model has 36" in err
    assert "keeps all of 36 visual tokens with none" in printed


def test_failed_validation_exits_1(vtp, artefact, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(artefact, copy)
    from vtp_export.reference import adaptive
    from vtp_export.reference.base import Outcome

    monkeypatch.setattr(adaptive, "select", lambda signals, settings: Outcome(np.arange(8), 20.0))
    code, printed, _ = vtp("validate", copy, "--limit", 2, "--format", "onnx")
    assert code == 1
    assert "failed: graph against reference" in printed


def test_a_result_is_shown_though_its_report_cannot_be_written(vtp, artefact, tmp_path, monkeypatch):
    def full(file, *arguments, **options):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("vtp_export.reports.page.write_atomically", full)
    arguments = ("validate", artefact, "--limit", 1, "--format", "onnx", "--report", tmp_path / "report", "--json")
    code, printed, _ = vtp(*arguments)
    told = json.loads(printed)
    assert (code, told["passed"], told["report"]) == (0, True, None)
    assert "the report was not written: cannot write" in told["notes"][-1] and "No space left" in told["notes"][-1]


def test_calibrate_then_export(vtp, tmp_path):
    record = tmp_path / "record.json"
    code, printed, _ = vtp("calibrate", "tiny-llava", "--images", "shapes", "--limit", 5, "--out", record, "--json")
    assert code == 0
    told = json.loads(printed)["record"]
    assert told == {key: value for key, value in json.loads(record.read_text()).items() if key != "seal"}
    code, _, _ = vtp(
        "export", "tiny-llava", "--keep", 32, "--calibration", record, "-f", "torchscript", "--out", tmp_path / "a"
    )
    assert code == 0
    pruner = json.loads(vtp("inspect", tmp_path / "a", "--json")[1])["manifest"]["pruner"]
    assert pruner["settings"]["average"] == told["measures"]["erank"]["mean"]
    assert "calibrated on 5 images of shapes" in pruner["origins"]["average"]
    assert "quantiles" in printed
    assert "median" in vtp("calibrate", "tiny-llava", "--images", "shapes", "--limit", 2, "--out", record)[1]


def test_calibration_for_another_model_is_refused(vtp, small_llava, tmp_path):
    record = tmp_path / "record.json"
    assert vtp("calibrate", "tiny-llava", "--images", "shapes", "--limit", 2, "--out", record)[0] == 0
    arguments = ("export", small_llava, "--keep", 8, "--calibration", record, "--out", tmp_path / "a")
    refused(vtp(*arguments), "was made for tiny-llava", "vtp-export calibrate")
    refused(vtp("export", "toy", "--calibration", tmp_path / "none.json", "--out", tmp_path / "a"), "none.json")
    assert not (tmp_path / "a").exists()


def test_calibrate_refuses(vtp, tmp_path):
    out = ("--out", tmp_path / "r.json")
    refused(vtp("calibrate", *out), "MODEL is missing: name a model and the images to measure, or shards to --merge")
    refused(vtp("calibrate", "toy", *out), "--images is missing")
    refused(vtp("calibrate", "toy", "--merge", tmp_path, *out), "--merge joins shards that are there: leave MODEL")
    refused(vtp("calibrate", "--merge", tmp_path / "none", *out), "there is no folder", "of shards")
    for text in ("", "a", "1;3", "1,,3"):
        words = ("calibrate", "toy", "--images", "photos", f"--corruptions={text}", *out)
        refused(vtp(*words), "it must be severities of 1 to 5, as 1,3" if text else "empty")
    refused(
        vtp("calibrate", "toy", "--images", "photos", "--corruptions", "1,6", *out), "severity is 6; it must be 1 to 5"
    )
    refused(vtp("calibrate", "toy", "--images", "photos", "--shard", "3/2", *out), "shard is '3/2'; it must be I/N")
    refused(vtp("calibrate", "tiny-llava", "--images", "shape", "--out", tmp_path / "r.json"), "did you mean 'shapes'")
    refused(vtp("calibrate", "tiny-llava", "--images", "shapes", "--out", tmp_path), "is a folder")
    assert list(tmp_path.iterdir()) == []


def test_validate_with_answers(vtp, embedded_artefact, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(embedded_artefact, copy)
    kept = tmp_path / "kept"
    arguments = ("validate", copy, "--benchmark", "shapes", "--limit", 4, "--answers", "--cache", kept)
    code, printed, _ = vtp(*arguments, "--report", tmp_path / "report", "--json")
    assert code == 0
    (answers,) = json.loads(printed)["answers"]
    assert answers["identical"] == answers["questions"] > 40
    assert answers["passed"]
    page = (tmp_path / "report" / "index.html").read_text()
    assert "answers of onnx" in page
    stored = json.loads((copy / "manifest.json").read_text())["validation"]["onnx"]
    assert stored["answers_identical"] == answers["questions"]
    lines = [json.loads(line) for line in (tmp_path / "report" / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == answers["questions"] and set(lines[0]["answers"]) == {"graph", "onnx"}
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    assert len(before) == 2
    assert "answers of onnx" in vtp(*arguments)[1]
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before  # nothing was asked again


def test_answers_need_questions(vtp, embedded_artefact):
    refused(vtp("validate", embedded_artefact, "--limit", 2, "--answers"), "asks no questions", "shapes")


def test_compare(vtp, tmp_path):
    chosen = ("--pruner", "fastervlm", "--pruner", "random", "--keep", 16, "--limit", 3)
    code, printed, _ = vtp("compare", "tiny-llava", *chosen, "--report", tmp_path / "r", "--json")
    assert code == 0
    report = json.loads(printed)
    assert [row["method"] for row in report["benchmarks"][0]["rows"]] == ["none", "fastervlm", "random"]
    assert (tmp_path / "r" / "index.html").exists()
    code, printed, _ = vtp("compare", "tiny-llava", *chosen)
    assert code == 0
    assert "% of full" in printed


def test_static_choices_are_those_of_the_code():
    from typing import get_args

    from vtp_export.cli import _app
    from vtp_export.functional.devices import DEVICES, DTYPES

    choices = {
        _app.TorchDevice: DEVICES,
        _app.Dtype: DTYPES,
    }
    for option, words in choices.items():
        assert get_args(get_args(option)[0]) == words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("calibrate", "toy", "--images", "shapes", "--out", "r", "--threads", 0), "threads is 0"),
        (("compare", "toy", "--keep", 8, "--dtype", "float61"), "did you mean 'float16'"),
        (("compare", "toy", "--keep", 8, "--set", "tau"), "--set takes KEY=VALUE"),
        (("compare", "toy", "--keep", 8, "--set", "keep=3"), "with --keep"),
        (("export", "toy", "--out", "a", "--set", "tau=1", "--set", "tau=2"), "--set tau is there 2 times (1, 2)"),
        (("export", "toy", "--out", "a", "--set", "keep=1", "--keep", 2), "keep is there twice"),
        (("build", "a", "--option", "workspace_gb"), "--option takes KEY=VALUE"),
        (("export", "toy", "--out", "a", "--threads", 0), "threads is 0"),
        (("compare", "toy", "--keep", 8, "--limit", 2**31), "limit is 2147483648, and scenes are drawn up to 100000"),
        (("bench", "a", "--rounds", 2**63), "rounds is 9223372036854775808; it must be 1 to 1000000"),
        (("inspect", "a\nb\x1b[1m\udcff"), r"no artefact folder 'a\nb\x1b[1m\udcff'; make one"),
        (("export", "toy", "--out", "a", "--device", "gpu"), "'cpu', 'cuda'"),
    ],
)
def test_options_out_of_range_are_refused_before_work_begins(vtp, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(vtp(*arguments), words)
    assert list(tmp_path.iterdir()) == []


def test_compare_refuses(vtp):
    refused(vtp("compare", "tiny-llava", "--keep", 8, "--pruner", "fastervlmm"), "did you mean 'fastervlm'")
    refused(vtp("compare", "tiny-llava", "--keep", 0, "--limit", 1), "keep is 0")
    refused(vtp("compare", "tiny-llava", "--keep", 8, "--benchmark", "photos", "--limit", 1), "asks no questions")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no-such-model"], ["no model 'no-such-model'", "toy"]),
        (["toy", "--keep", "0"], ["keep is 0", "at least 1"]),
        (["toy", "--keep", "-3"], ["keep is -3"]),
        (["toy", "--pruner", "adaptve"], ["adaptve", "did you mean 'adaptive'"]),
        (["toy", "--set", "tau_mx=0.1"], ["tau_mx", "did you mean 'tau_max'"]),
        (["toy", "--set", "tau_max=much"], ["tau_max", "much", "a number"]),
        (["toy", "--set", "keep=2.5"], ["keep", "2.5", "a whole number"]),
        (["toy", "--set", "center=maybe"], ["center", "true or false"]),
        (["toy", "--set", "complexity=rank"], ["complexity", "erank, entropy"]),
        (["toy", "--set", "tau=3"], ["tau is 3.0"]),
        (["toy", "--set", "step=0"], ["step is 0.0", "positive"]),
        (["toy", "--set", "average=nan"], ["average is nan"]),
        (["toy", "--set", "tau"], ["KEY=VALUE"]),
        (["toy", "--format", "onx"], ["onx", "did you mean 'onnx'"]),
        (["toy", "--batch", "4:2:1"], ["4:2:1", "MIN"]),
        (["toy", "--batch", "many"], ["many", "MIN:OPT:MAX"]),
    ],
)
def test_export_refuses(vtp, tmp_path, arguments, words):
    refused(vtp("export", *arguments, "--out", tmp_path / "a"), *words)
    assert list(tmp_path.iterdir()) == []


def test_export_refuses_an_existing_folder(vtp, artefact, tmp_path, small_llava):
    copy = tmp_path / "copy"
    shutil.copytree(artefact, copy)
    before = (copy / "manifest.json").read_bytes()
    refused(vtp("export", small_llava, "--keep", 4, "--out", copy), "--force")
    assert (copy / "manifest.json").read_bytes() == before
    assert vtp("export", small_llava, "--keep", 4, "-f", "torchscript", "--out", copy, "--force")[0] == 0
    assert json.loads((copy / "manifest.json").read_text())["layout"]["keep"] == 4
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_damaged_artefact_is_refused(vtp, artefact, photo, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(artefact, copy)
    data = bytearray((copy / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.onnx").write_bytes(data)
    refused(vtp("run", copy, photo), "model.onnx")
    refused(vtp("inspect", copy), "model.onnx")
    (copy / "model.onnx").unlink()
    refused(vtp("run", copy, photo), "model.onnx")
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    refused(vtp("inspect", copy), "schema 99")
    refused(vtp("inspect", tmp_path / "nowhere"), "nowhere")


def test_bad_images_are_refused(vtp, artefact, tmp_path, photo):
    empty, text, cut = tmp_path / "empty.png", tmp_path / "text.jpg", tmp_path / "cut.png"
    empty.touch()
    text.write_text("not an image")
    cut.write_bytes(photo.read_bytes()[:200])
    (tmp_path / "hollow").mkdir()
    for bad in (empty, text, cut, tmp_path / "absent.png", tmp_path / "hollow"):
        refused(vtp("run", artefact, photo, bad, "--out", tmp_path / "r.npz"), bad.name)
        assert not (tmp_path / "r.npz").exists()


def test_a_folder_of_photos_bad_ones_among_them(vtp, artefact, tmp_path, photo):
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(photo, folder / "a.png")
    (folder / "b.jpg").write_text("not an image")
    frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "c.gif", save_all=True, append_images=frames[1:])
    refused(vtp("run", artefact, folder), "b.jpg' is not an image")
    out = tmp_path / "r.npz"
    code, printed, err = vtp("run", artefact, folder, "--skip-bad", "--json", "--out", out, "--overlay", tmp_path / "o")
    report = json.loads(printed)
    assert code == 0
    assert [one["image"][-5:] for one in report["images"]] == ["a.png", "c.gif"]
    assert [one["image"][-5:] for one in report["skipped"]] == ["b.jpg"]
    assert len(np.load(out)["tokens"]) == 2
    assert err.count("note: ") == 1 and "c.gif' holds several images, and the first is used" in err  # read twice
    code, printed, err = vtp("run", artefact, folder, "--skip-bad", "-q")
    assert code == 0 and not err
    assert "skipped, 1 of 3" in printed and "b.jpg" in printed


def test_no_threads_are_refused(vtp, artefact, photo, tmp_path):
    calibrate = ("calibrate", "tiny-llava", "--images", "photos", "--out", tmp_path / "c.json")
    for command in (("run", artefact, photo), ("bench", artefact), ("validate", artefact, "--limit", 1), calibrate):
        refused(vtp(*command, "--threads", 0), "threads is 0; it must be at least 1")


PLACES = {"pipe": "it is a pipe or a device", "folder": "it is a folder", "file/x": "Not a directory"}


@pytest.mark.parametrize("place", [*PLACES, "pipe link"])
def test_what_is_no_place_for_a_file_is_refused_before_the_work(vtp, artefact, photo, tmp_path, place):
    """And what is there stays what it is."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "pipe link").symlink_to(tmp_path / "pipe")
    target, words = tmp_path / place, PLACES[place.partition(" ")[0]]
    before = {path.name: path.lstat() for path in tmp_path.iterdir()}
    refused(vtp("run", artefact, photo, "--out", target), str(target), words)
    refused(vtp("calibrate", "no-such-model", "--images", "shapes", "--out", target), str(target), words)
    for command in (
        ("run", artefact, photo, "--overlay"),
        ("validate", artefact, "--model", "no-such-model", "--report"),
        ("compare", "no-such-model", "--keep", 8, "--report"),
        ("demo", "--out"),
    ):
        if place != "folder":
            refused(vtp(*command, target), str(target), "Not a directory")
    after = {path.name: path.lstat() for path in tmp_path.iterdir()}
    assert {name: (one.st_ino, one.st_mode, one.st_size) for name, one in before.items()} == {
        name: (one.st_ino, one.st_mode, one.st_size) for name, one in after.items()
    }


def test_unknown_names_elsewhere(vtp, artefact, photo):
    refused(vtp("run", artefact, photo, "--format", "pt2"), "pt2", "onnx")
    refused(vtp("validate", artefact, "--benchmark", "photo"), "did you mean 'photos'")
    refused(vtp("validate", artefact, "--benchmark", "./nowhere"), "./nowhere")
    refused(vtp("validate", artefact, "--limit", 0), "limit is 0")
    refused(vtp("bench", artefact, "--rounds", 0), "rounds is 0")
    refused(vtp("bench", artefact, "--batch", 10**30), "it must be 1 to 16")


@pytest.mark.parametrize("command", ["run", "bench", "validate", "check"])
def test_whatever_opens_an_artefact_takes_options_of_its_format(vtp, artefact, photo, command):
    own = {"run": (photo,), "bench": (), "check": (), "validate": ("--limit", 1)}[command]
    asked = (command, artefact, *own, "--format", "onnx", "--option")
    refused(vtp(*asked, "tensort=true"), "no option of onnx named 'tensort'; did you mean 'tensorrt'")
    refused(vtp(*asked, "tensorrt=true"), "the option tensorrt is for the device cuda")


@pytest.mark.parametrize("command", [name for name in rooms.names("pipeline") if name != "list"])
def test_whatever_runs_takes_a_device_and_threads(command):
    """Of the commands only those that run something have them, in the command line as in Python."""
    python = set(inspect.signature(getattr(rooms.load("pipeline", command), command)).parameters)
    assert ("device" in python) == ("threads" in python)
    assert {"device", "threads", "options"} & python == {"device", "threads", "options"} & set(COMMANDS[command])


@pytest.mark.parametrize("command", ["run", "bench", "validate", "check"])
def test_a_device_is_an_order(vtp, artefact, photo, tmp_path, command):
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this is onnxruntime-gpu")
    own = {"run": (photo, "--out", tmp_path / "r.npz"), "bench": (), "check": (), "validate": ("--limit", 1)}[command]
    refused(vtp(command, artefact, *own, "--format", "onnx", "--device", "cuda"), "without CUDAExecutionProvider")
    refused(vtp(command, artefact, *own, "--device", "cudda"), "did you mean 'cuda'")
    assert not (tmp_path / "r.npz").exists()


def test_what_a_runtime_says_of_a_session_is_passed_on(vtp, artefact, photo, monkeypatch):
    monkeypatch.setattr(onnx, "check", lambda session, provider: (f"{provider} runs 3 of 4 nodes",))
    for command in (("run", artefact, photo), ("bench", artefact, "--rounds", 1, "--format", "onnx")):
        code, _, err = vtp(*command)
        assert code == 0
        assert "cpu runs 3 of 4 nodes" in err


def test_check_ends_with_1_where_a_format_does_otherwise(vtp, artefact, monkeypatch):
    code, out, _ = vtp("check", artefact, "--format", "onnx", "--json")
    assert (code, json.loads(out)["passed"]) == (0, True)
    true = PrunedArtefact.run
    monkeypatch.setattr(PrunedArtefact, "run", lambda self, pixels: true(self, pixels[:, :, ::-1]))
    code, out, _ = vtp("check", artefact, "--format", "onnx")
    assert code == 1
    assert "failed: onnx against the graph at the export: astronaut: keeps other tokens" in " ".join(out.split())
    assert "does NOT do here what it did at the export" in " ".join(out.split())


def test_validate_refuses_other_weights(vtp, artefact):
    refused(vtp("validate", artefact, "--model", "toy"), "other weights")
