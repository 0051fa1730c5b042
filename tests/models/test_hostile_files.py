"""Whatever stands in a checkpoint's files: it is loaded, or refused in one short sentence; nothing else."""

import copy
import json
import random
import shutil

import pytest

from vtp_export.errors import VtpError
from vtp_export.graphs.assembly import load_model
from vtp_export.models._weights import INDEX

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

STRANGE = [
    *("null", "true", "0", "-1", "7", "28.5", "1e999", "-1e999", "NaN", str(2**62), "1" + 400 * "0", "1" + 5000 * "0"),
    *('""', '"x"', '"\\ud800"', '"a\\nb"', '"a\\u0000b"', '"../a"', '"/dev/zero"', '"."', '"' + 50_000 * "x" + '"'),
    *("[]", "[[]]", "[null, 1]", "[" + "0," * 50_000 + "0]", 5000 * "[" + 5000 * "]"),
    *("{}", '{"a": {"b": 1}}', '{"\\udfff": 1}', 50 * '{"a":' + "0" + 50 * "}"),
]
"""JSON that is put in the place of any value."""

INDEXED = (
    "vision_tower.embeddings.class_embedding",
    "multi_modal_projector.linear_1.bias",
    "language_model.lm_head.weight",
)
"""The tensors whose files are made strange."""

FILES = ("config.json", "preprocessor_config.json", "processor_config.json", INDEX)


def places(value, path=()):
    """Every way down into a JSON value, the empty one first."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def replaced(value, path, text):
    """JSON of `value` with `text` in one place."""
    if not path:
        return text
    mark = "here it goes"
    value = copy.deepcopy(value)
    place = value
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = mark
    return json.dumps(value).replace(f'"{mark}"', text)


@pytest.fixture(scope="module")
def contents(split_llava, single_llava):
    """The JSON of every file of a checkpoint that has them all, its config spelled out."""
    config = json.loads((split_llava / "config.json").read_text())
    config |= {"quantization_config": {"quant_method": "x"}, "image_processor_type": "LlavaImageProcessor"}
    index = json.loads((split_llava / INDEX).read_text())
    return {
        "config.json": config,
        "preprocessor_config.json": SETTINGS,
        "processor_config.json": {"image_processor": SETTINGS},
        INDEX: index,
    }


@pytest.fixture(scope="module")
def hostile(split_llava, single_llava, contents, tmp_path_factory):
    """`hostile(name, text)`: load the checkpoint with that text in that file."""
    folders = {}
    for name in FILES:
        source = split_llava if name == INDEX else single_llava
        folders[name] = shutil.copytree(source, tmp_path_factory.mktemp("hostile") / "model")

    def load(name, text):
        folder = folders[name]
        (folder / name).write_text(text)
        load_model(str(folder))

    return load


def loaded_or_refused(hostile, name, text):
    try:
        hostile(name, text)
    except VtpError as error:
        message = str(error)
        message.encode()
        assert message.isprintable()
        assert len(message) < 700


def cases(contents):
    for name, value in contents.items():
        for path in places(value):
            if name == INDEX and len(path) > 1 and path[-1] not in INDEXED:
                continue
            for text in STRANGE:
                yield name, path, text


def test_a_sample_of_strange_values(hostile, contents):
    for name, path, text in random.Random(20261126).sample(list(cases(contents)), 120):
        loaded_or_refused(hostile, name, replaced(contents[name], path, text))


@pytest.mark.whole
def test_every_strange_value_in_every_place(hostile, contents):
    for name, path, text in cases(contents):
        loaded_or_refused(hostile, name, replaced(contents[name], path, text))


@pytest.mark.parametrize("name", FILES)
def test_a_deep_file_is_refused(hostile, name):
    with pytest.raises(VtpError, match=rf"{name} of '.*' is nested more than 100 deep"):
        hostile(name, 10_000 * '{"a":' + "0" + 10_000 * "}")
