"""Commands with arguments and options at random, all read off the application: a new one is met here by itself."""

import dataclasses
import inspect
import os
import random
import shutil
import sys
import types
import typing
from pathlib import Path

import pytest
from huggingface_hub import constants
from PIL import Image

from tests.fuzz.rule import vtp
from vtp_export import rooms
from vtp_export.benchmarks import shapes
from vtp_export.cli import app
from vtp_export.errors import ModelError
from vtp_export.graphs import assembly

SEED = 31
SAMPLE, WHOLE = 8, 80
"""Lines of each command."""

INTEGERS = ("-1", "0", "1", "2", "3", "7", "64", str(2**31), str(2**63), "1" + 30 * "0")
ODD = (
    *(
        "",
        " ",
        "x",
        "-",
        "--",
        "=",
        "a=",
        "=a",
        "1.5",
        "nan",
        "inf",
        "1e3",
        "0x10",
        "٣",
        "None",
        "true",
        "a,b",
        "*",
        "~",
    ),
    *(
        "1:2",
        "1:2:4",
        "4:2:1",
        "a/b",
        "a/b/c",
        "../up",
        "%s",
        "{}",
        "$HOME",
        "[bold]",
        "\x1b[1m",
        "a\nb",
        "\udcff",
        "é",
    ),
    *("a" * 300, "a" * 5000, "a/" * 2000),
)
NAMES = tuple(name for room in ("pruners", "models", "backends", "benchmarks", "targets") for name in rooms.names(room))
PARAMETERS = {command.name: inspect.signature(command.callback).parameters for command in app.registered_commands}


@dataclasses.dataclass(frozen=True)
class Declared:
    """A parameter of a command. flag: None of an argument. kind: of one value. many: whether it may be repeated."""

    flag: str | None
    kind: typing.Any
    many: bool
    needed: bool


def declared(parameter):
    annotation, info = parameter.annotation, None
    while typing.get_origin(annotation) in (typing.Annotated, types.UnionType, typing.Union):
        if typing.get_origin(annotation) is typing.Annotated:
            info = annotation.__metadata__[0]
        annotation = typing.get_args(annotation)[0]
    spellings = (info.default, *(info.param_decls or ()))  # Typer takes the first one for the default, at first
    flags = [flag for flag in spellings if isinstance(flag, str) and flag.startswith("--")]
    many = typing.get_origin(annotation) is list
    return Declared(
        flag=None if type(info).__name__ == "ArgumentInfo" else (flags or ["--" + parameter.name.replace("_", "-")])[0],
        kind=typing.get_args(annotation)[0] if many else annotation,
        many=many,
        needed=parameter.default is inspect.Parameter.empty,
    )


def settings_of_rooms():
    """Every key that `--set` and `--option` know somewhere."""
    classes = [rooms.load("pruners", name).Config for name in rooms.names("pruners")]
    classes += [rooms.load("backends", name).Backend.Options for name in rooms.names("backends")]
    return sorted({field.name for kind in classes for field in dataclasses.fields(kind)})


def value(rng, one, places, keys):
    if typing.get_origin(one.kind) is typing.Literal and rng.random() < 0.8:
        return rng.choice(typing.get_args(one.kind))
    if one.kind is int and rng.random() < 0.8:
        return rng.choice(INTEGERS)
    pool = rng.randrange(10)
    if pool < 5:
        return str(rng.choice(places))
    if pool < 6:
        return rng.choice(NAMES)
    if pool < 7:
        return f"{rng.choice(keys)}={rng.choice((*INTEGERS, *ODD, *NAMES))}"
    return rng.choice((*ODD, *INTEGERS))


def line(rng, command, places, keys):
    """A command line: what is needed nearly always, of the rest a few."""
    words, options = [], []
    for parameter in PARAMETERS[command].values():
        one = declared(parameter)
        if rng.random() > (0.95 if one.needed else 0.12):
            continue
        for _ in range(rng.randint(1, 3) if one.many or rng.random() < 0.02 else 1):
            if one.flag is None:
                words.append(value(rng, one, places, keys))
            else:
                options.append([one.flag] if one.kind is bool else [one.flag, value(rng, one, places, keys)])
    rng.shuffle(options)
    if rng.random() < 0.05:
        options.append([rng.choice(("--unknown", "-x", "--jsn", "--help", "-h", "--"))])
    return [command, *words, *(word for option in options for word in option)]


@pytest.fixture
def places(artefact, other_artefact, small_llava, tmp_path, monkeypatch):
    """Names of what is there, and of what is not; in a folder of their own, which is the current one."""
    here = tmp_path / "here" / "it" / "is"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    for source in (artefact, other_artefact, small_llava):
        shutil.copytree(source, here / source.name)
    shutil.copytree(artefact, "broken")
    Path("broken/model.onnx").write_bytes(b"")
    for folder in ("empty", "images", "images/inner"):
        Path(folder).mkdir()
    for name in ("photo.png", "images/a.jpg", "images/inner/b.webp", "images/\udcff.png"):
        Image.effect_noise((50, 40), 90).convert("RGB").save(name)
    Path("text.txt").write_text("text")
    Path("nothing.png").touch()
    Path("{}.json").write_text("{}")
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Path("dangling").symlink_to("gone")
    there = sorted(path.name for path in here.iterdir())
    files = [f"{artefact.name}/model.onnx", "photo.png/x", "new", "new/er.npz", "new.npz", "images/\udcff.png"]
    return [*there, *files, artefact.name, other_artefact.name, small_llava.name, ".", "/dev/null", "/dev/full"]


@pytest.fixture(autouse=True)
def _light(monkeypatch, small_llava):
    """No network, and of models none but a small one, so that what is right by chance takes no minutes."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in rooms.names("pipeline"):
        rooms.load("pipeline", name)  # or one that is imported later would keep what stands in
    monkeypatch.setattr(shapes, "IMAGES", 4)
    load = assembly.load_model

    def load_model(model, *arguments, **named):
        if str(model) in assembly.embedded_models():
            raise ModelError(f"the work on '{model}' begins here")
        return load(model, *arguments, **named)

    for module in list(sys.modules.values()):
        if getattr(module, "load_model", None) is load:
            monkeypatch.setattr(module, "load_model", load_model)


def unwritable(kind):
    """A standard output that nobody can write to."""
    if kind == "full":
        return Path("/dev/full").open("w", encoding="utf-8")
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w", encoding="utf-8")


@pytest.mark.parametrize(
    "count", [pytest.param(SAMPLE, id="sample"), pytest.param(WHOLE, id="whole", marks=pytest.mark.whole)]
)
@pytest.mark.parametrize("command", PARAMETERS)
def test_any_command_line(command, count, places):
    rng, keys = random.Random(f"{SEED} {command}"), settings_of_rooms()
    for _ in range(count):
        words = line(rng, command, places, keys)
        vtp(*words)
        if rng.random() < 0.2:
            with unwritable(rng.choice(("full", "unread"))) as stream:
                vtp(*words, stdout=stream)


def test_every_parameter_is_read_off():
    """Or it would be met by none of these lines."""
    flags = {one.flag for parameters in PARAMETERS.values() for one in map(declared, parameters.values())}
    assert {None, "--out", "--set", "--format", "--json", "--verbose", "--skip-bad", "--range-count"} <= flags
