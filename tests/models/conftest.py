"""Random checkpoints in the layouts that are published, written by transformers itself."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

VISION = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 7,
}
TEXT = {
    "model_type": "llama",
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 64,
}
TOWER, PROJECTOR, LANGUAGE = (f"model-0000{part}-of-00003.safetensors" for part in (1, 2, 3))


def spread(model, seed):
    """Weights large enough that attention is far from uniform and every bias and norm matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() < 2:
                scale = 1.0 if "norm" in name and name.endswith("weight") else 0.0
                parameter.copy_(scale + 0.1 * noise)
            else:
                sharpness = 2.0 if "q_proj" in name or "k_proj" in name else 1.0
                parameter.copy_(sharpness * noise * parameter[0].numel() ** -0.5)
    return model.eval()


def write_llava(folder, vision=None, dtype=torch.float32, shard_size="5GB", seed=0, **config):
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    full = LlavaConfig(vision_config={**VISION, **(vision or {})}, text_config=TEXT, image_token_index=63, **config)
    model = spread(LlavaForConditionalGeneration(full), seed)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard_size)
    return folder


def write_shards(folder, tensors):
    """One shard for the tower, one for the projector, one for the rest, and their index."""
    weight_map = {}
    for name in tensors:
        part = PROJECTOR if "multi_modal_projector" in name else TOWER if "vision_tower" in name else LANGUAGE
        weight_map[name] = part
    for shard in set(weight_map.values()):
        save_file({name: tensors[name] for name, part in weight_map.items() if part == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


@pytest.fixture(autouse=True)
def _few_threads():
    """One, whatever other tests take: for tensors this small a second thread is only waited for."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_llava(tmp_path_factory):
    """`make_llava(**options)`: a folder with a random LLaVA, see `write_llava`."""
    return lambda **options: write_llava(tmp_path_factory.mktemp("llava"), **options)


@pytest.fixture(scope="session")
def rename(tmp_path_factory):
    """`rename(folder, rules, sharded)`: a copy of a one-file checkpoint whose tensors bear other names."""

    def copy(folder, rules, sharded):
        copied = tmp_path_factory.mktemp("renamed")
        shutil.copy(folder / "config.json", copied)
        tensors = {}
        for name, tensor in load_file(folder / "model.safetensors").items():
            old = next(old for old in rules if name.startswith(old))
            tensors[rules[old] + name.removeprefix(old)] = tensor
        assert len(tensors) > 10
        if sharded:
            write_shards(copied, tensors)
        else:
            save_file(tensors, copied / "model.safetensors")
        return copied

    return copy


@pytest.fixture(scope="session")
def single_llava(make_llava):
    """A LLaVA in one file. Read only."""
    return make_llava()


@pytest.fixture(scope="session")
def split_llava(single_llava, tmp_path_factory):
    """The same LLaVA in three shards: `TOWER`, `PROJECTOR` and `LANGUAGE`. Read only."""
    folder = tmp_path_factory.mktemp("split")
    shutil.copy(single_llava / "config.json", folder)
    write_shards(folder, load_file(single_llava / "model.safetensors"))
    return folder


@pytest.fixture
def llava_copy(split_llava, tmp_path):
    """A copy of `split_llava` to damage."""
    return shutil.copytree(split_llava, tmp_path / "llava")


@pytest.fixture
def pixels():
    """Two images for a 28 x 28 tower."""
    return torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(7))
