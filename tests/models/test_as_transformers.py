"""Where a folder says two things, the one counts that Transformers reads: weights, settings of images, sizes, names."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.models.conftest import VISION, spread
from vtp_export.errors import ModelError
from vtp_export.graphs.assembly import load_model
from vtp_export.models import llava
from vtp_export.models._config import LARGEST
from vtp_export.models._towers import CLIP_DEFAULTS
from vtp_export.models._weights import INDEX, SINGLE
from vtp_export.runtime.preprocess import pixel_values

FIRST = "multi_modal_projector.linear_1.bias"


def write(path, value):
    path.write_text(json.dumps(value))


def theirs(folder):
    from transformers import LlavaForConditionalGeneration

    return LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)


def assert_same_weights(folder):
    """And their tower's first and the projector's first bias are ours."""
    ours, states = load_model(str(folder)).module.state_dict(), theirs(folder).state_dict()
    for name, ending in (("tower.embeddings.class_embedding", ".class_embedding"), ("projector.linear_1.bias", FIRST)):
        (expected,) = (tensor for key, tensor in states.items() if key.endswith(ending))
        assert torch.equal(ours[name], expected)


# Which file


@pytest.fixture
def two_models(single_llava, split_llava, tmp_path):
    """One model in shards, with its index, and another in the single file, all in one folder."""
    folder = shutil.copytree(split_llava, tmp_path / "two")
    other = {name: tensor + 1 for name, tensor in load_file(single_llava / SINGLE).items()}
    save_file(other, folder / SINGLE, metadata={"format": "pt"})
    return folder


def test_a_single_file_counts_before_an_index(two_models, split_llava):
    assert_same_weights(two_models)
    single, sharded = load_model(str(two_models)).core, load_model(str(split_llava)).core
    assert single.weights_sha256 != sharded.weights_sha256


def test_an_index_that_an_earlier_save_left_does_no_harm(two_models):
    for shard in two_models.glob("model-*"):
        shard.unlink()
    assert_same_weights(two_models)


def test_the_index_counts_where_the_single_file_is_a_broken_link(llava_copy):
    (llava_copy / SINGLE).symlink_to("nowhere")
    assert_same_weights(llava_copy)


@pytest.mark.parametrize("name", ["other.safetensors", INDEX])
def test_the_file_that_the_config_names_counts_before_all(two_models, name):
    if name != INDEX:
        tensors = {name: tensor - 1 for name, tensor in load_file(two_models / SINGLE).items()}
        save_file(tensors, two_models / name, metadata={"format": "pt"})
    config = json.loads((two_models / "config.json").read_text())
    plain = load_model(str(two_models)).core.weights_sha256
    write(two_models / "config.json", {**config, "transformers_weights": name})
    assert_same_weights(two_models)
    assert load_model(str(two_models)).core.weights_sha256 != plain


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "", 7, None, "model.bin", "a\nb.safetensors", "absent.safetensors"]
)
def test_a_file_that_the_config_names_must_be_one_of_the_folder(two_models, name):
    config = json.loads((two_models / "config.json").read_text())
    write(two_models / "config.json", {**config, "transformers_weights": name})
    if name is None:
        assert_same_weights(two_models)
        return
    message = "lacks absent.safetensors" if name == "absent.safetensors" else "transformers_weights in the config.json"
    with pytest.raises(ModelError, match=message):
        load_model(str(two_models))


# Which model in the file


def renamed(tensors, rules):
    """Tensors under other names; the longest rule that fits counts."""
    result = {}
    for name, tensor in tensors.items():
        old = max((rule for rule in rules if name.startswith(rule)), key=len)
        result[rules[old] + name.removeprefix(old)] = tensor
    return result


NAMES = {
    "as saved": {"": ""},
    "of 2023": {"": "", "vision_tower.": "vision_tower.vision_model."},
    "with model.": {"": "", "vision_tower.": "model.vision_tower.", "multi_modal": "model.multi_modal"},
    "half with model.": {"": "", "vision_tower.": "model.vision_tower.vision_model."},
}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("other", ["ema.", "target.", "a.b."])
def test_of_several_models_in_a_file_the_plain_one_counts(single_llava, tmp_path, names, other):
    shutil.copy(single_llava / "config.json", tmp_path)
    tensors = load_file(single_llava / SINGLE)
    both = renamed(tensors, NAMES[names])
    both |= {other + name: tensor + 1 for name, tensor in tensors.items()}
    save_file(both, tmp_path / SINGLE, metadata={"format": "pt"})
    assert_same_weights(tmp_path)
    assert torch.equal(load_model(str(tmp_path)).module.state_dict()["projector.linear_1.bias"], tensors[FIRST])


SEVERAL = {
    "two, neither plain": (["policy.", "target."], r"tower, under 'policy\..*' and 'target\."),
    "three": (["c.", "a.", "b."], r"tower, under 'a\..*' and 'b\..*' and 'c\."),
    "two that are plain": (["", "model."], r"tower, under 'model\..*' and 'vision_tower\."),
}


@pytest.mark.parametrize("case", SEVERAL)
def test_which_of_several_models_must_be_told(single_llava, tmp_path, case):
    roots, message = SEVERAL[case]
    shutil.copy(single_llava / "config.json", tmp_path)
    tensors = load_file(single_llava / SINGLE)
    save_file({root + name: t.clone() for root in roots for name, t in tensors.items()}, tmp_path / SINGLE)
    with pytest.raises(ModelError, match=f"holds more than one .*{message}.*save the one model alone"):
        load_model(str(tmp_path))


def test_tower_and_projector_are_of_one_model(single_llava, tmp_path):
    """The shortest names of each would be of two models."""
    shutil.copy(single_llava / "config.json", tmp_path)
    tensors = load_file(single_llava / SINGLE)
    tower = {name: tensor for name, tensor in tensors.items() if name.startswith("vision_tower.")}
    mixed = {f"policy.{name}": tensor for name, tensor in tensors.items()}
    mixed |= {f"t.{name}": tensor + 1 for name, tensor in tower.items()}
    save_file(mixed, tmp_path / SINGLE)
    with pytest.raises(ModelError, match="holds more than one CLIP vision tower"):
        load_model(str(tmp_path))


def test_half_of_one_model_and_half_of_another_are_none(single_llava, tmp_path):
    shutil.copy(single_llava / "config.json", tmp_path)
    tensors = load_file(single_llava / SINGLE)
    halves = {("policy." if name.startswith("vision") else "target.") + name: t for name, t in tensors.items()}
    save_file(halves, tmp_path / SINGLE)
    with pytest.raises(ModelError, match=r"tower of 'policy\..*projector of 'target\.', which are two models"):
        load_model(str(tmp_path))


def test_a_model_under_a_name_of_its_own_is_read(single_llava, tmp_path):
    shutil.copy(single_llava / "config.json", tmp_path)
    tensors = load_file(single_llava / SINGLE)
    save_file({f"policy.{name}": tensor for name, tensor in tensors.items()}, tmp_path / SINGLE)
    assert torch.equal(load_model(str(tmp_path)).module.state_dict()["projector.linear_1.bias"], tensors[FIRST])


# Which settings of images

CLIP = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
MEAN = {**CLIP, "image_mean": [0.1, 0.2, 0.3]}
PADDED = {**CLIP, "do_pad": True}

SETTINGS = {
    "old file": {"preprocessor_config.json": {**MEAN, "image_processor_type": "CLIPImageProcessor"}},
    "nested": {"processor_config.json": {"image_processor": {**MEAN, "image_processor_type": "CLIPImageProcessor"}}},
    "nested beside old": {
        "processor_config.json": {"image_processor": {**MEAN, "image_processor_type": "CLIPImageProcessor"}},
        "preprocessor_config.json": {**CLIP, "image_processor_type": "CLIPImageProcessor"},
    },
    "nothing nested beside old": {
        "processor_config.json": {"processor_class": "LlavaProcessor", "patch_size": 7},
        "preprocessor_config.json": {**MEAN, "image_processor_type": "CLIPImageProcessor"},
    },
    "null nested beside old": {
        "processor_config.json": {"image_processor": None},
        "preprocessor_config.json": {**MEAN, "image_processor_type": "CLIPImageProcessor"},
    },
    "no class": {"preprocessor_config.json": PADDED},
    "no class, nested": {"processor_config.json": {"image_processor": PADDED}},
    "feature extractor": {"preprocessor_config.json": {**PADDED, "feature_extractor_type": "CLIPFeatureExtractor"}},
    "class in config.json": {
        "preprocessor_config.json": PADDED,
        "config.json": {"image_processor_type": "CLIPImageProcessor"},
    },
    "class in both": {
        "preprocessor_config.json": {**PADDED, "image_processor_type": "LlavaImageProcessor"},
        "config.json": {"image_processor_type": "CLIPImageProcessor"},
    },
    "fast": {"preprocessor_config.json": {**PADDED, "image_processor_type": "LlavaImageProcessorFast"}},
    "code of its own": {
        "preprocessor_config.json": {
            **PADDED,
            "image_processor_type": "LlavaImageProcessor",
            "auto_map": {"AutoImageProcessor": "own.Processor"},
        }
    },
    "bilinear": {"preprocessor_config.json": {**CLIP, "resample": 2}},
}


@pytest.fixture(scope="module")
def both_towers(tmp_path_factory):
    """A CLIP of the same sizes, without settings of images."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    sizes = {**VISION, "num_hidden_layers": 2}
    CLIPModel(
        CLIPConfig(
            vision_config=sizes,
            text_config={
                "hidden_size": 32,
                "num_attention_heads": 2,
                "num_hidden_layers": 1,
                "intermediate_size": 32,
                "vocab_size": 64,
            },
        )
    ).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("case", SETTINGS)
@pytest.mark.parametrize("family", ["llava", "clip"])
def test_images_are_prepared_as_transformers_prepares_them(single_llava, both_towers, tmp_path, family, case):
    from transformers import AutoImageProcessor

    folder = shutil.copytree(single_llava if family == "llava" else both_towers, tmp_path / "model")
    for name, settings in SETTINGS[case].items():
        before = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
        write(folder / name, {**before, **settings})
    photo = Image.fromarray(np.random.default_rng(3).integers(0, 256, (40, 63, 3), dtype=np.uint8))
    loaded = load_model(str(folder))
    wanted = AutoImageProcessor.from_pretrained(folder, backend="pil", trust_remote_code=False)(photo)
    assert np.array_equal(pixel_values([photo], loaded.preprocessing), np.stack(wanted["pixel_values"]))
    assert loaded.notes == ()


def test_what_is_taken_where_nothing_is_said_is_told(single_llava):
    loaded = load_model(str(single_llava))
    (note,) = loaded.notes
    assert note.endswith(
        "processor_config.json or preprocessor_config.json: images are prepared as for OpenAI's CLIP, at 28 pixels"
    )
    assert loaded.preprocessing.crop == (28, 28)


@pytest.mark.parametrize("nested", ["CLIPImageProcessor", [1], 7, {"image_mean": "red"}])
def test_strange_settings_are_told_by_their_file(llava_copy, nested):
    write(llava_copy / "processor_config.json", {"image_processor": nested})
    with pytest.raises(ModelError, match=r"processor_config\.json of '.*'"):
        load_model(str(llava_copy))


# Which sizes

SMALL = {"hidden_size": 32, "num_attention_heads": 2}

CONFIGS = [
    {"model_type": "llava"},
    {"model_type": "llava", "vision_config": None},
    {"model_type": "llava", "vision_config": {}},
    {"model_type": "llava", "vision_config": {"model_type": "clip_vision_model"}},
    {"model_type": "llava", "vision_config": {**SMALL, "image_size": 336}},
    {"model_type": "llava", "vision_config_dict": SMALL},
    {"model_type": "clip"},
    {"model_type": "clip", "vision_config": None},
    {"model_type": "clip", "vision_config": {**SMALL, "image_size": 336}},
    {"model_type": "clip", "vision_config": {**SMALL, "image_size": 336}, "vision_config_dict": None},
    {"model_type": "clip", "vision_config": {**SMALL, "image_size": 336}, "vision_config_dict": {}},
    {"model_type": "clip", "vision_config": {"image_size": 336}, "vision_config_dict": SMALL},
    {"model_type": "clip", "vision_config": {"hidden_act": "gelu"}, "vision_config_dict": {**SMALL, "patch_size": 16}},
    {"model_type": "clip", "vision_config_dict": {**SMALL, "hidden_act": "gelu", "layer_norm_eps": 1e-6}},
    {"model_type": "clip_vision_model", **SMALL, "vision_config_dict": {"hidden_size": 64}},
]


@pytest.mark.parametrize("raw", CONFIGS, ids=json.dumps)
def test_sizes_are_those_that_transformers_reads(tmp_path, monkeypatch, raw):
    from transformers import AutoConfig

    write(tmp_path / "config.json", raw)
    expected = AutoConfig.from_pretrained(tmp_path)
    expected = getattr(expected, "vision_config", expected)
    built = []
    monkeypatch.setattr(llava, "shape_of", lambda *_: (8,))
    monkeypatch.setattr("vtp_export.models._frontend.Tower", lambda config, *_: built.append(config) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load_model(str(tmp_path))
    assert {name: getattr(built[0], name) for name in CLIP_DEFAULTS} == {
        name: getattr(expected, name) for name in CLIP_DEFAULTS
    }


@pytest.mark.parametrize("name", LARGEST)
@pytest.mark.parametrize("value", [0, -1, 2**62, 10**400, 1e9, float("inf"), float("nan"), True, "7", None, [7]])
def test_no_size_is_too_strange(llava_copy, name, value):
    config = json.loads((llava_copy / "config.json").read_text())
    text = json.dumps({**config, "vision_config": {**config["vision_config"], name: value}})
    (llava_copy / "config.json").write_text(text)
    with pytest.raises(
        ModelError, match=f"{name} of the vision tower is .*; a whole number from 1 to {LARGEST[name]} is"
    ):
        load_model(str(llava_copy))


@pytest.mark.parametrize("value", [0, 2**62, 10**400, 1.5, [48]])
def test_no_width_of_the_language_model_is_too_strange(llava_copy, value):
    config = json.loads((llava_copy / "config.json").read_text())
    write(llava_copy / "config.json", {**config, "text_config": {"hidden_size": value}})
    with pytest.raises(ModelError, match=r"hidden_size of the language model is .*; a whole number from 1 to 65536 is"):
        load_model(str(llava_copy))


@pytest.mark.parametrize(
    "text", [None, {}, {"model_type": "phi3"}, {"hidden_size": None}, {"model_type": "gpt2", "n_embd": 48}]
)
@pytest.mark.parametrize("layout", ["single_llava", "split_llava"])
def test_the_projector_tells_the_width_where_the_config_does_not(request, tmp_path, layout, text):
    folder = shutil.copytree(request.getfixturevalue(layout), tmp_path / "llava")
    config = json.loads((folder / "config.json").read_text())
    write(folder / "config.json", {**config, "text_config": text})
    assert load_model(str(folder)).frontend.width == 48


@pytest.mark.parametrize(("image", "patch"), [(30, 7), (27, 14), (34, 7)])
def test_what_is_no_whole_patch_is_left_out_as_transformers_does(tmp_path, image, patch):
    """As at 384 pixels with patches of 14."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    config = CLIPVisionConfig(**{**VISION, "image_size": image, "patch_size": patch})
    model = spread(CLIPVisionModel(config), 1)
    model.save_pretrained(tmp_path)
    write(tmp_path / "preprocessor_config.json", {"size": image, "crop_size": image})
    loaded = load_model(str(tmp_path))
    side = image // patch
    assert loaded.frontend.candidates.grid == (side, side)
    pixels = torch.randn(2, 3, image, image, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = model(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        torch.testing.assert_close(loaded.frontend.encode(pixels, ()).hidden, wanted, rtol=1e-5, atol=1e-5)
