"""Python functions are given what they do not take: one sentence, of a VtpError, before any work."""

import os
from pathlib import Path

import numpy as np
import pytest

from vtp_export import cli
from vtp_export.arguments import kind_of, one_or_several, path_of, whole
from vtp_export.errors import SpecError, VtpError
from vtp_export.pipeline.bench import bench
from vtp_export.pipeline.build import build
from vtp_export.pipeline.calibrate import calibrate
from vtp_export.pipeline.check import check
from vtp_export.pipeline.compare import compare
from vtp_export.pipeline.demo import demo
from vtp_export.pipeline.export import export
from vtp_export.pipeline.inspect import inspect
from vtp_export.pipeline.lint import lint
from vtp_export.pipeline.run import run
from vtp_export.pipeline.triton import triton
from vtp_export.pipeline.validate import validate
from vtp_export.runtime.front_end import load

NO_PATHS = [None, "", 3, b"folder", 1.5, ["folder"]]

PLACES = {
    "load": load,
    "run": lambda path: run(path, ["photo.png"]),
    "run, out": lambda path: run("artefact", ["photo.png"], out=path),
    "run, overlays": lambda path: run("artefact", ["photo.png"], overlays=path),
    "check": check,
    "validate": validate,
    "validate, report": lambda path: validate("artefact", report=path),
    "validate, benchmark": lambda path: validate("artefact", benchmark=path),
    "bench": lambda path: bench([path]),
    "bench, decoder": lambda path: bench(["artefact"], check=True, decoder=path),
    "build": build,
    "inspect": inspect,
    "lint": lint,
    "triton": lambda path: triton(path, "models"),
    "triton, out": lambda path: triton("artefact", path),
    "export": lambda path: export(path, "new"),
    "export, out": lambda path: export("toy", path),
    "export, calibration": lambda path: export("toy", "new", calibration=[path], golden=0),
    "compare": lambda path: compare(path, 8),
    "compare, benchmark": lambda path: compare("tiny-llava", 8, benchmark=path),
    "compare, report": lambda path: compare("tiny-llava", 8, report=path),
    "calibrate": lambda path: calibrate(path, "shapes", "new.json"),
    "calibrate, images": lambda path: calibrate("toy", path, "new.json"),
    "calibrate, out": lambda path: calibrate("toy", "images", path),
    "demo": demo,
}
NONE_IS_NONE = {"bench, decoder", "run, out", "run, overlays", "validate, report", "compare, report"}


@pytest.fixture
def here(artefact, tmp_path, monkeypatch):
    """A current folder that is an artefact, so that an empty name would be one."""
    for path in artefact.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "artefact").symlink_to(artefact)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_path_is_refused(place, here):
    before = sorted(here.iterdir())
    for value in NO_PATHS:
        if value is None and place in NONE_IS_NONE:
            continue
        with pytest.raises(VtpError, match=r"path|empty text|no model|no benchmark|no folder"):
            PLACES[place](value)
    assert sorted(here.iterdir()) == before


SETTINGS = {
    "export, settings": lambda given, model: export(model, "new", settings=given, formats="torchscript", golden=0),
    "export, options": lambda given, model: export(model, "new", options=given, formats="torchscript", golden=0),
    "export, packing": lambda given, model: export(model, "new", packing=given, formats="torchscript", golden=0),
    "build, options": lambda given, _: build("artefact", format="openvino", options=given),
    "load, options": lambda given, _: load("artefact", options=given),
    "check, options": lambda given, _: check("artefact", options=given),
    "compare, settings": lambda given, model: compare(model, 8, settings=given, limit=1),
}
NO_MAPPINGS = [3, "tau", ["tau"], [("tau", 1)], [[]], {1: 2}, {None: 1}]


@pytest.mark.parametrize("place", SETTINGS)
def test_what_is_no_mapping_is_refused(place, here, small_llava):
    for given in NO_MAPPINGS:
        with pytest.raises(SpecError, match=r"^settings are .*; a mapping was expected, of names that are text$"):
            SETTINGS[place](given, small_llava)
    assert not (here / "new").exists()


NAMES = {
    "pruner": lambda name, model: export(model, "new", pruner=name, golden=0),
    "format": lambda name, model: export(model, "new", formats=[name], golden=0),
    "precision": lambda name, model: export(model, "new", precision=name, golden=0),
    "device": lambda name, model: export(model, "new", device=name, golden=0),
    "device of load": lambda name, _: load("artefact", device=name),
    "format of load": lambda name, _: load("artefact", name),
}


@pytest.mark.parametrize("place", NAMES)
def test_a_name_that_is_no_text_is_refused(place, here, small_llava):
    for name in (3, 1.5, b"onnx", ["onnx"], ("cpu",)):
        with pytest.raises(VtpError, match=r"^no (pruner|backend|device) named |^precision is |has no format "):
            NAMES[place](name, small_llava)
    assert not (here / "new").exists()


@pytest.mark.parametrize("images", ["", [""], ["photo.png", ""], Path()])
def test_an_image_without_a_name_is_not_the_current_folder(here, images):
    with pytest.raises(VtpError, match=r"empty text|no image|folder"):
        run("artefact", images if isinstance(images, list) else [images])


@pytest.mark.parametrize(
    "words",
    [
        ("run", "artefact", ""),
        ("run", "artefact", "photo.png", "--out", ""),
        ("run", "artefact", "photo.png", "--out="),
        ("inspect", ""),
        ("doctor", ""),
        ("calibrate", "toy", "--images", "", "--out", "x.json"),
        ("export", "", "--out", "x"),
        ("demo", "--out="),
    ],
)
def test_an_empty_word_is_not_the_current_folder(here, words, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["vtp-export", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "the command line has an empty word" in capsys.readouterr().err


def test_a_setting_may_be_empty(here, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["vtp-export", "export", "toy", "--set", "tau=", "--out", "here/x"])
    Path("here").touch()
    with pytest.raises(SystemExit):
        cli.main()
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["2", 1.5, None, True, [1]])
def test_what_is_no_number_is_refused(artefact, size):
    with load(artefact) as front_end:
        if size is not None:
            with pytest.raises(SpecError, match=r"batch is .*; it must be .*1 to 16"):
                front_end.stream(np.zeros((9, 9, 3), np.uint8), batch=size)
    calls = [
        lambda: bench([artefact], batches=[size]),
        lambda: bench([artefact], rounds=size),
        lambda: export("toy", "new", golden=size),
        lambda: triton(artefact, "models", queue_delay_us=size),
    ]
    if size is not None:
        calls.append(lambda: validate(artefact, limit=size))
        calls.append(lambda: export("toy", "new", batch=(1, size, 9)))
    for call in calls:
        with pytest.raises(SpecError, match="must be"):
            call()


def test_numbers_of_numpy_are_numbers():
    assert whole("n", np.int64(3), 1, 3) == 3 and type(whole("n", np.int64(3), 1)) is int


def test_a_single_name_is_not_its_letters(artefact):
    assert [one.name for one in bench(artefact, formats="onnx", batches=2, rounds=1).timings] == [f"{artefact} onnx"]
    assert check(artefact, formats="onnx").passed
    with pytest.raises(SpecError, match="'onx'; did you mean 'onnx'"):
        export("toy", "new", formats="onx")
    assert one_or_several(Path("a/b")) == (Path("a/b"),)


def test_batches_are_refused_before_anything_is_opened(artefact, monkeypatch):
    monkeypatch.setattr("vtp_export.comparing.places.load", lambda *_, **__: pytest.fail("was opened"))
    with pytest.raises(SpecError, match="batch is 17; it must be 1 to 16"):
        bench([artefact], batches=[1, 17])


def test_kinds(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    names = {"file": "file", "pipe": None, "gone": None, "file/x": None, "x" * 300: None, "a\0b": None, ".": "folder"}
    assert {name: kind_of("it", tmp_path / name) for name in names} == names
    assert path_of("it", Path("a")) == Path("a")
