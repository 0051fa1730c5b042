"""Whatever stands in a checkpoint's files, of any family: it is loaded, or refused in one short sentence."""

import functools
import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.fuzz.hostile import SEVERAL, STRANGE, damaged, places, replaced, with_value
from tests.fuzz.rule import outcome
from tests.laws.families import checkpoints_of
from vtp_export import rooms
from vtp_export.errors import VtpError
from vtp_export.graphs.assembly import load_model
from vtp_export.models._weights import INDEX, SINGLE

SEED = 20261126

SETTINGS = {
    "image_processor_type": "LlavaImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 28},
    "do_center_crop": True,
    "crop_size": {"height": 28, "width": 28},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "do_pad": True,
    "resample": 3,
}

OWN = {
    "gemma3": {"size": {"height": 56, "width": 56}, "crop_size": {"height": 56, "width": 56}},
    "idefics3": {"do_center_crop": False},
    "smolvlm": {"do_center_crop": False},
    "internvl": {"size": {"height": 56, "width": 56}, "crop_size": {"height": 56, "width": 56}},
    "siglip2": {"patch_size": 7, "max_num_patches": 16},
    "siglip2_vision_model": {"patch_size": 7, "max_num_patches": 16},
}
"""Of families whose smallest checkpoint takes other sizes."""

FILES = ("config.json", "preprocessor_config.json", "processor_config.json", INDEX)

SHAPES = ((), (0,), (1,), (3, 0), (2**20,), (1, 1, 1, 1, 1, 1, 1, 1))
DTYPES = tuple(getattr(torch, name) for name in ("bool", "uint8", "int64", "float16", "float64", "complex64"))
ODD = (float("nan"), float("inf"), -float("inf"), 1e38, 0.0)

FAMILIES = [name for name in rooms.names("models") if not getattr(rooms.load("models", name), "EMBEDDED", False)]


SAMPLED = [pytest.param(name, marks=pytest.mark.whole if i % 3 else ()) for i, name in enumerate(FAMILIES)]


@pytest.fixture(scope="module", params=SAMPLED)
def model(request, tmp_path_factory):
    """A checkpoint with every file that may say something."""
    torch.manual_seed(11)
    folder = tmp_path_factory.mktemp("hostile") / "model"
    name = checkpoints_of(request.param).WRITERS[0](folder)
    written = folder / "preprocessor_config.json"
    settings = {
        **SETTINGS,
        **OWN.get(request.param, {}),
        **(json.loads(written.read_text()) if written.exists() else {}),
    }
    written.write_text(json.dumps(settings))
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    _loader(request.param)(name)
    return folder


def _loader(family):
    """Of one of any resolution a graph has one size, which is asked for."""
    return functools.partial(load_model, size=getattr(checkpoints_of(family), "SIZE", None))


@pytest.fixture(scope="module")
def load(model):
    return _loader(json.loads((model / "config.json").read_text())["model_type"])


@pytest.fixture
def copy(model, tmp_path):
    return Path(shutil.copytree(model, tmp_path / "model"))


@pytest.fixture(scope="module")
def contents(model):
    """The JSON of every file, its config spelled out."""
    config = json.loads((model / "config.json").read_text())
    config |= {"quantization_config": {"quant_method": "x"}, "transformers_weights": SINGLE}
    config |= {"image_processor_type": "LlavaImageProcessor"}
    names = sorted(load_file(model / SINGLE))
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys((names[0], names[-1]), SINGLE)}
    texts = {name: json.loads((model / name).read_text()) for name in FILES[1:3]}
    return {"config.json": config, **texts, INDEX: index}


def strange(contents):
    """File, its JSON, and the place where something else is put."""
    cases = [(name, value, path) for name, value in contents.items() for path in places(value)]
    return [(*case, text) for case in cases for text in STRANGE]


def load_strange(load, copy, contents, cases):
    right = {name: (copy / name).read_text() for name in FILES if (copy / name).exists()}
    for name, value, path, text in cases:
        (copy / name).write_text(replaced(value, path, text))
        if name == INDEX:
            (copy / SINGLE).rename(copy / "model-1.safetensors")
        outcome(load, str(copy))
        if name == INDEX:
            (copy / "model-1.safetensors").rename(copy / SINGLE)
        (copy / name).unlink()
        if name in right:
            (copy / name).write_text(right[name])


def test_a_sample_of_strange_values(load, copy, contents):
    load_strange(load, copy, contents, random.Random(SEED).sample(strange(contents), 20))


@pytest.mark.whole
def test_strange_values(load, copy, contents):
    load_strange(load, copy, contents, random.Random(SEED + 1).sample(strange(contents), 60))


@pytest.mark.parametrize("name", FILES)
def test_a_deep_file_is_refused(load, copy, name):
    if name == INDEX:
        (copy / SINGLE).unlink()
    elif name == "preprocessor_config.json":
        (copy / "processor_config.json").unlink()
    (copy / name).write_text(10_000 * '{"a":' + "0" + 10_000 * "}")
    with pytest.raises(VtpError, match=rf"{name} of '.*' is nested more than 100 deep"):
        load(str(copy))


def other_tensors(tensors, rng):
    """The tensors of a file, one of which has another dtype, shape, value or name."""
    name = rng.choice(sorted(tensors))
    tensor, tensors = tensors[name], dict(tensors)
    kind = rng.randrange(5)
    if kind == 0:
        tensors[name] = tensor.to(rng.choice(DTYPES))
    elif kind == 1:
        tensors[name] = torch.zeros(rng.choice((*SHAPES, (*tensor.shape, 1), tensor.shape[::-1])))
    elif kind == 2:
        tensors[name] = torch.full_like(tensor, rng.choice(ODD))
    else:
        del tensors[name]
        tensors[rng.choice((f"{name}s", f"a.{name}", "\x1b[1m", "", name.upper(), "a" * 5000))] = tensor
    return tensors


@pytest.mark.parametrize(
    "count", [pytest.param(15, id="sample"), pytest.param(150, id="whole", marks=pytest.mark.whole)]
)
def test_other_tensors(load, copy, count):
    rng, tensors = random.Random(SEED), load_file(copy / SINGLE)
    for _ in range(count):
        save_file(other_tensors(tensors, rng), copy / SINGLE)
        outcome(load, str(copy))


@pytest.mark.parametrize(
    "count", [pytest.param(15, id="sample"), pytest.param(150, id="whole", marks=pytest.mark.whole)]
)
def test_damaged_weights(load, copy, count):
    """Of the header, and of the numbers behind it."""
    rng, content = random.Random(SEED), (copy / SINGLE).read_bytes()
    head = 8 + int.from_bytes(content[:8], "little")
    for turn in range(count):
        end = head if turn % 2 else len(content)
        (copy / SINGLE).write_bytes(damaged(content[:end], rng) + content[end:])
        outcome(load, str(copy))


@pytest.mark.parametrize(
    "count", [pytest.param(10, id="sample"), pytest.param(80, id="whole", marks=pytest.mark.whole)]
)
def test_strange_headers(load, copy, count):
    """JSON of safetensors, whose sizes are believed by nobody."""
    content = (copy / SINGLE).read_bytes()
    size = int.from_bytes(content[:8], "little")
    keys = json.loads(content[8 : 8 + size])
    first = sorted(set(keys) - {"__metadata__"})[0]
    cases = [(path, new) for path in places({first: keys[first]}) for new in SEVERAL]
    for path, new in random.Random(SEED).sample(cases, min(count, len(cases))):
        header = json.dumps(with_value(keys, path, new)).encode()
        (copy / SINGLE).write_bytes(len(header).to_bytes(8, "little") + header + content[8 + size :])
        outcome(load, str(copy))
