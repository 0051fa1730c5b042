"""Nothing is read that is not needed, and what is wrong with a checkpoint is said in one sentence."""

import errno
import json
import shutil
from pathlib import Path

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from vtp_export.errors import ModelError
from vtp_export.graphs.assembly import load_model, needs_of
from vtp_export.models._checkpoint import folder_checkpoint
from vtp_export.models._fingerprint import Fingerprint
from vtp_export.models._weights import INDEX, SINGLE, Weights

TOWER, PROJECTOR, LANGUAGE = (f"model-0000{part}-of-00003.safetensors" for part in (1, 2, 3))


def edit(path, change):
    """Change a JSON file in place."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def edit_tensors(path, change):
    """Change a safetensors file in place."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


class Spy:
    """Stands for `safetensors.safe_open` and notes the files and the tensors that are asked for."""

    def __init__(self, monkeypatch):
        self.files, self.tensors = [], []
        self._open = safetensors.safe_open
        monkeypatch.setattr(safetensors, "safe_open", self.open)

    def open(self, path, *args, **kwargs):
        self.files.append(Path(path).name)
        return SpiedFile(self, self._open(path, *args, **kwargs))


class SpiedFile:
    def __init__(self, spy, file):
        self._spy, self._file = spy, file

    def __enter__(self):
        self._file.__enter__()
        return self

    def __exit__(self, *exc):
        self._file.__exit__(*exc)

    def keys(self):
        return self._file.keys()

    def get_tensor(self, name):
        self._spy.tensors.append(name)
        return self._file.get_tensor(name)


def needed(name):
    """Whether a front end that is read at layer -2 of 4 needs the tensor."""
    tower = name.startswith("vision_tower.") and ".layers.3." not in name and "post_layernorm" not in name
    return tower or name.startswith("multi_modal_projector.")


def test_the_language_models_shard_need_not_exist(llava_copy, split_llava, pixels):
    (llava_copy / LANGUAGE).unlink()
    without, whole = load_model(str(llava_copy)), load_model(str(split_llava))
    assert without.core.weights_sha256 == whole.core.weights_sha256
    wanted = whole.frontend.encode(pixels, {"projected"}).projected
    assert torch.equal(without.frontend.encode(pixels, {"projected"}).projected, wanted)


@pytest.mark.parametrize("layout", ["single_llava", "split_llava"])
def test_only_wanted_tensors_are_read(request, monkeypatch, layout):
    folder = request.getfixturevalue(layout)
    held = [name for path in folder.glob("*.safetensors") for name in load_file(path)]
    spy = Spy(monkeypatch)
    load_model(str(folder))
    assert sorted(spy.tensors) == sorted(name for name in held if needed(name))
    assert set(spy.files) == ({SINGLE} if layout == "single_llava" else {TOWER, PROJECTOR})


def test_a_damaged_shard_that_is_not_needed_does_no_harm(llava_copy):
    (llava_copy / LANGUAGE).write_bytes(b"garbage")
    assert load_model(str(llava_copy)).frontend.candidates.grid == (4, 4)


# What is done to a good checkpoint, and what is then said. The pattern must match the message.
DAMAGE = {
    "of a text model": (
        lambda folder: edit(folder / "config.json", lambda c: c.update(model_type="bert")),
        r"is a 'bert'; supported: clip, clip_vision_model, dinov2, ",
    ),
    "of no type": (
        lambda folder: edit(folder / "config.json", lambda c: c.pop("model_type")),
        r"is a model without a model_type; supported: ",
    ),
    "without config.json": (
        lambda folder: (folder / "config.json").unlink(),
        r"has no config\.json; a Hugging Face model folder or hub id is needed",
    ),
    "config.json cut off": (
        lambda folder: (folder / "config.json").write_text('{"model_type": '),
        r"config\.json of '.*' is not JSON: ",
    ),
    "config.json not text": (
        lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00\x81"),
        r"config\.json of '.*' cannot be read: ",
    ),
    "config.json a list": (
        lambda folder: (folder / "config.json").write_text("[]"),
        r"config\.json of '.*' is not a JSON object",
    ),
    "pickled weights": (
        lambda folder: (drop_weights(folder), (folder / "pytorch_model.bin").write_bytes(b"\x80")),
        r"has pickled weights only, which can run code when loaded; convert it to safetensors",
    ),
    "sharded pickled weights": (
        lambda folder: (drop_weights(folder), (folder / "pytorch_model.bin.index.json").write_text("{}")),
        r"has pickled weights only",
    ),
    "no weights": (
        lambda folder: drop_weights(folder),
        r"has no weights: neither model\.safetensors nor model\.safetensors\.index\.json",
    ),
    "index cut off": (
        lambda folder: (folder / INDEX).write_text('{"weight_map": {'),
        r"index\.json of '.*' is not JSON: ",
    ),
    "index without weight_map": (
        lambda folder: edit(folder / INDEX, lambda i: i.pop("weight_map")),
        r"index\.json of '.*' has no weight_map",
    ),
    "index with an empty weight_map": (
        lambda folder: edit(folder / INDEX, lambda i: i["weight_map"].clear()),
        r"index\.json of '.*' has no weight_map",
    ),
    "shard missing": (
        lambda folder: (folder / PROJECTOR).unlink(),
        rf"lacks the shard {PROJECTOR}, which its index names; fetch it again",
    ),
    "shard truncated": (
        lambda folder: (folder / TOWER).write_bytes((folder / TOWER).read_bytes()[:-100]),
        rf"{TOWER} is truncated or damaged \(.*\); fetch it again",
    ),
    "shard cut inside its header": (
        lambda folder: (folder / TOWER).write_bytes((folder / TOWER).read_bytes()[:60]),
        rf"{TOWER} is truncated or damaged \(.*\); fetch it again",
    ),
    "shard empty": (
        lambda folder: (folder / TOWER).write_bytes(b""),
        rf"{TOWER} is truncated or damaged \(.*\); fetch it again",
    ),
    "shard with a garbage header": (
        lambda folder: (folder / TOWER).write_bytes(b"\x20" + bytes(7) + b"not a safetensors header at all!"),
        rf"{TOWER} is truncated or damaged \(.*\); fetch it again",
    ),
    "tensor in no shard": (
        lambda folder: edit(folder / INDEX, lambda i: i["weight_map"].pop("multi_modal_projector.linear_2.bias")),
        r"lacks the tensor 'multi_modal_projector\.linear_2\.bias' \(1 missing in all\)",
    ),
    "tensor promised and absent": (
        lambda folder: edit_tensors(folder / PROJECTOR, lambda t: t.pop("multi_modal_projector.linear_2.bias")),
        rf"shard {PROJECTOR} of '.*' lacks the tensor 'multi_modal_projector\.linear_2\.bias' that its index promises",
    ),
    "tensor of a wrong shape": (
        lambda folder: edit_tensors(
            folder / PROJECTOR, lambda t: t.update({"multi_modal_projector.linear_1.weight": torch.zeros(48, 31)})
        ),
        r"projector\.linear_1\.weight of '.*' has shape \[48, 31\], but its config\.json asks for \[48, 32\]",
    ),
    "weights in 8-bit integers": (
        lambda folder: edit_tensors(
            folder / PROJECTOR,
            lambda t: t.update({"multi_modal_projector.linear_1.weight": torch.ones(48, 32, dtype=torch.int8)}),
        ),
        r"projector\.linear_1\.weight of '.*' is int8: quantised weights are not supported",
    ),
    "weights in 8-bit floats": (
        lambda folder: edit_tensors(
            folder / PROJECTOR,
            lambda t: t.update({"multi_modal_projector.linear_2.weight": torch.ones(48, 48).to(torch.float8_e4m3fn)}),
        ),
        r"projector\.linear_2\.weight of '.*' is float8_e4m3fn: quantised weights are not supported",
    ),
    "image size of another model": (
        lambda folder: edit(folder / "config.json", lambda c: c["vision_config"].update(image_size=42)),
        r"position_embedding\.weight of '.*' has shape \[17, 32\], but its config\.json asks for \[37, 32\]",
    ),
    "another tower": (
        lambda folder: edit(folder / "config.json", lambda c: c["vision_config"].update(model_type="swin")),
        r"the vision tower of '.*' is 'swin'; supported in this model: clip_vision_model, siglip_vision_model, dinov2",
    ),
    "registers among the tokens": (
        lambda folder: edit(
            folder / "config.json", lambda c: c["vision_config"].update(model_type="dinov2_with_registers")
        ),
        r"the vision tower of '.*' is 'dinov2_with_registers'; supported in this model",
    ),
    "a tower without CLS whose first token is dropped": (
        lambda folder: edit(
            folder / "config.json", lambda c: c["vision_config"].update(model_type="siglip_vision_model")
        ),
        r"is 'default', which drops the first token, and its tower has no CLS token: a patch would be lost",
    ),
    "unknown activation of the tower": (
        lambda folder: edit(folder / "config.json", lambda c: c["vision_config"].update(hidden_act="mish")),
        r"activation 'mish' is not supported; supported: quick_gelu, gelu",
    ),
    "unknown activation of the projector": (
        lambda folder: edit(folder / "config.json", lambda c: c.update(projector_hidden_act="mish")),
        r"activation 'mish' is not supported",
    ),
    "layer after the last": (
        lambda folder: edit(folder / "config.json", lambda c: c.update(vision_feature_layer=5)),
        r"vision_feature_layer \[5\] does not name outputs of a tower of 4 layers; use -1 to -4, or 1 to 4",
    ),
    "layer before the first": (
        lambda folder: edit(folder / "config.json", lambda c: c.update(vision_feature_layer=-5)),
        r"vision_feature_layer \[-5\] does not name outputs",
    ),
    "layer zero": (
        lambda folder: edit(folder / "config.json", lambda c: c.update(vision_feature_layer=[-2, 0])),
        r"vision_feature_layer \[-2, 0\] does not name outputs",
    ),
    "tower a list": (
        lambda folder: edit(folder / "config.json", lambda c: c.update(vision_config=[1])),
        r"vision_config in the config\.json of '.*' is \[1\]; an object is needed",
    ),
    "language model a text": (
        lambda folder: edit(folder / "config.json", lambda c: c.update(text_config="llama")),
        r"text_config in the config\.json of '.*' is 'llama'; an object is needed",
    ),
    "width of the language model a text": (
        lambda folder: edit(folder / "config.json", lambda c: c["text_config"].update(hidden_size="48")),
        r"hidden_size of the language model is '48'; a whole number from 1 to 65536 is needed",
    ),
    "activation of the projector a list": (
        lambda folder: edit(folder / "config.json", lambda c: c.update(projector_hidden_act=["gelu"])),
        r"projector_hidden_act of '.*' is \['gelu'\]; the name of an activation is needed",
    ),
    "biases of the projector a text": (
        lambda folder: edit(folder / "config.json", lambda c: c.update(multimodal_projector_bias="no")),
        r"multimodal_projector_bias of '.*' is 'no'; true or false is needed",
    ),
    "select strategy a list": (
        lambda folder: edit(folder / "config.json", lambda c: c.update(vision_feature_select_strategy=["full"])),
        r"vision_feature_select_strategy of '.*' is \['full'\]; supported: default, full",
    ),
    "null for a shard": (
        lambda folder: edit(folder / INDEX, lambda i: i["weight_map"].update(extra=None)),
        r"index\.json of '.*' puts 'extra' into None, which is no file name",
    ),
    "a list for a shard": (
        lambda folder: edit(folder / INDEX, lambda i: i["weight_map"].update(extra=[TOWER])),
        r"puts 'extra' into \['.*'\], which is no file name",
    ),
    "a shard outside the folder": (
        lambda folder: edit(folder / INDEX, lambda i: i["weight_map"].update(extra=f"../{TOWER}")),
        rf"puts 'extra' into '\.\./{TOWER}', which is no file name",
    ),
    "an absolute path for a shard": (
        lambda folder: edit(folder / INDEX, lambda i: i["weight_map"].update(extra=str(folder / TOWER))),
        r"puts 'extra' into '/.*', which is no file name",
    ),
    "no layer": (
        lambda folder: edit(folder / "config.json", lambda c: c.update(vision_feature_layer=[])),
        r"vision_feature_layer \[\] does not name outputs",
    ),
    "a layer by name": (
        lambda folder: edit(folder / "config.json", lambda c: c.update(vision_feature_layer="last")),
        r"vision_feature_layer \['last'\] does not name outputs",
    ),
    "null for a layer": (
        lambda folder: edit(folder / "config.json", lambda c: c.update(vision_feature_layer=None)),
        r"vision_feature_layer \[None\] does not name outputs",
    ),
    "height and width": (
        lambda folder: edit(folder / "config.json", lambda c: c["vision_config"].update(image_size=[28, 28])),
        r"image_size of the vision tower is \[28, 28\]; a whole number from 1 to 16384 is needed",
    ),
    "no heads": (
        lambda folder: edit(folder / "config.json", lambda c: c["vision_config"].update(num_attention_heads=0)),
        r"num_attention_heads of the vision tower is 0; a whole number from 1 to 1024 is needed",
    ),
    "unknown select strategy": (
        lambda folder: edit(folder / "config.json", lambda c: c.update(vision_feature_select_strategy="cls_patch")),
        r"vision_feature_select_strategy of '.*' is 'cls_patch'; supported: default, full",
    ),
    "one channel": (
        lambda folder: edit(folder / "config.json", lambda c: c["vision_config"].update(num_channels=1)),
        r"reads 1 channels; only RGB towers \(3\) are supported",
    ),
    "heads that do not divide": (
        lambda folder: edit(folder / "config.json", lambda c: c["vision_config"].update(num_attention_heads=3)),
        r"sizes do not divide: width 32 by 3 heads",
    ),
    "patches larger than the image": (
        lambda folder: edit(folder / "config.json", lambda c: c["vision_config"].update(patch_size=29)),
        r"patches of 29 pixels are larger than its images of 28",
    ),
}


def drop_weights(folder):
    for path in (*folder.glob("*.safetensors"), folder / INDEX):
        path.unlink()


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_wrong_is_said_in_one_sentence(llava_copy, name):
    damage, message = DAMAGE[name]
    damage(llava_copy)
    with pytest.raises(ModelError, match=message) as caught:
        load_model(str(llava_copy))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["no-such-folder", "./no/such", "/no/such", "a/b/c", "~/model", "/", "owner/"])
def test_a_name_that_is_nothing_is_refused_without_asking_the_hub(name, monkeypatch, tmp_path):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: pytest.fail("asked the hub"))
    monkeypatch.chdir(tmp_path)
    if name == "/":
        with pytest.raises(ModelError, match=r"'/' has no config\.json"):
            load_model(name)
        return
    with pytest.raises(
        ModelError, match=rf"no model '{name}': not a folder, not a hub id .*, not embedded \(tiny-llava, toy\)"
    ):
        load_model(name)


def test_a_bare_towers_config_must_be_an_object(llava_copy):
    (llava_copy / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": [28]}))
    with pytest.raises(ModelError, match=r"vision_config in the config\.json of '.*' is \[28\]; an object is needed"):
        load_model(str(llava_copy))


def test_a_single_truncated_file_is_said_so(single_llava, tmp_path):
    folder = shutil.copytree(single_llava, tmp_path / "single")
    (folder / SINGLE).write_bytes((folder / SINGLE).read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"model\.safetensors is truncated or damaged"):
        load_model(str(folder))


def test_what_was_loaded_needs_its_file_no_more(llava_copy):
    model = load_model(str(llava_copy))
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    for shard in llava_copy.glob("*.safetensors"):
        with shard.open("r+b") as file:  # in place: whoever still had it mapped would read zeros
            file.write(bytes(shard.stat().st_size))
    after = model.module.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_digest_is_of_names_dtypes_shapes_and_bytes():
    base = {"a": torch.arange(6, dtype=torch.int32).reshape(2, 3), "b": torch.ones(2, dtype=torch.float16)}
    same = {"b": base["b"].clone(), "a": base["a"].t().contiguous().t()}  # other order, other strides
    changed = {**base, "b": torch.tensor([1.0, 1.0009765625], dtype=torch.float16)}  # the last bit
    assert Fingerprint(same).sha256 == Fingerprint(base).sha256
    others = [
        changed,
        {**base, "a": base["a"].reshape(3, 2)},
        {**base, "a": base["a"].view(torch.float32)},  # the same bytes
        {**base, "b": base["b"].view(torch.bfloat16)},
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"]},
        {},
    ]
    assert len({Fingerprint(tensors).sha256 for tensors in [base, *others]}) == len(others) + 1
    assert Fingerprint(base).bytes == 6 * 4 + 2 * 2


@pytest.mark.parametrize("where", ["pathlib.Path.is_file", "pathlib.Path.open", "safetensors.safe_open"])
def test_what_may_not_be_read_is_said_so(llava_copy, monkeypatch, where):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    checkpoint = folder_checkpoint(llava_copy)
    monkeypatch.setattr(where, refuse)
    with pytest.raises(ModelError, match=r"cannot be read: Permission denied$"):
        checkpoint.config and Weights(checkpoint).shape("multi_modal_projector.linear_1.bias")


def test_a_models_digest_is_of_what_was_read(single_llava, split_llava, llava_copy):
    reference = load_model(str(single_llava)).core.weights_sha256
    assert load_model(str(split_llava)).core.weights_sha256 == reference
    edit_tensors(llava_copy / LANGUAGE, lambda t: t.update({"language_model.lm_head.weight": torch.zeros(64, 48)}))
    assert load_model(str(llava_copy)).core.weights_sha256 == reference
    damaged = bytearray((llava_copy / PROJECTOR).read_bytes())
    damaged[-1] ^= 1
    (llava_copy / PROJECTOR).write_bytes(damaged)
    assert load_model(str(llava_copy)).core.weights_sha256 != reference


def test_the_digest_covers_the_layer_that_only_prumerge_reads(llava_copy):
    """And a calibration, whose signals do not come from there, stays valid."""
    needs = needs_of("prumerge", {})
    before, unmoved = load_model(str(llava_copy), needs), load_model(str(llava_copy))
    key = "layers.3.self_attn.k_proj.weight"  # features come from layer 2, the last but one

    def change(tensors):
        (name,) = (name for name in tensors if name.endswith(key))
        tensors[name] = tensors[name] + 1

    edit_tensors(llava_copy / TOWER, change)
    after = load_model(str(llava_copy), needs)
    assert after.record(needs).weights_sha256 != before.record(needs).weights_sha256
    assert after.record(needs_of("adaptive", {})) == before.record(needs_of("adaptive", {})) == unmoved.core
    assert load_model(str(llava_copy)).core == unmoved.core


def test_a_folder_has_no_revision(single_llava):
    checkpoint = folder_checkpoint(single_llava)
    assert checkpoint.revision is None
    assert checkpoint.fetch("no-such-file") is None
    assert checkpoint.json("no-such-file") is None


def test_pickled_shards_in_the_index_are_named_for_what_they_are(llava_copy):
    index = json.loads((llava_copy / INDEX).read_text())
    index["weight_map"]["a"] = "pytorch_model-00001-of-00002.bin"
    (llava_copy / INDEX).write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"puts 'a' into '.*\.bin', and only safetensors are read: .*save_pretrained"):
        load_model(str(llava_copy))
