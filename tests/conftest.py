"""A small random LLaVA checkpoint (not the embedded `tiny-llava`) and artefacts, made once."""

import json
import struct
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from vtp_export.cli import main
from vtp_export.models._config import TowerConfig
from vtp_export.models._frontend import VisionFrontend
from vtp_export.models._projectors import TwoLayers
from vtp_export.models._tower import Following
from vtp_export.models.toy import draw_weights
from vtp_export.pipeline.export import export

SIZES = TowerConfig(
    hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2, image_size=42, patch_size=7
)


@pytest.fixture(scope="session")
def small_llava(tmp_path_factory):
    """A Hugging Face folder: 36 tokens of 48 channels, weights in one safetensors file."""
    folder = tmp_path_factory.mktemp("model") / "small-llava"
    folder.mkdir()
    module = VisionFrontend(SIZES, [2], projector=TwoLayers(width=48))
    following = Following(SIZES)
    draw_weights(module, 1)
    draw_weights(following, 2)
    names = {"tower.": "vision_tower.vision_model.", "projector.": "multi_modal_projector."}
    tensors = {}
    for name, tensor in module.state_dict().items():
        part = name[: name.index(".") + 1]
        tensors[names[part] + name.removeprefix(part)] = tensor.contiguous()
    last = "vision_tower.vision_model.encoder.layers.2."  # read by some pruners only
    tensors |= {last + name: tensor for name, tensor in following.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    vision = {"model_type": "clip_vision_model", **vars(SIZES)}
    config = {"model_type": "llava", "vision_config": vision, "text_config": {"hidden_size": 48}}
    (folder / "config.json").write_text(json.dumps(config))
    images = {"image_processor_type": "CLIPImageProcessor", "size": 42, "crop_size": 42}
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    return folder


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def artefact(small_llava, tmp_path_factory):
    """ONNX and TorchScript of the tiny LLaVA, adaptive, 8 of 36 tokens. Read only."""
    out = tmp_path_factory.mktemp("artefacts") / "tiny"
    export(str(small_llava), out, keep=8, formats=("onnx", "torchscript"))
    return out


@pytest.fixture(scope="session")
def other_artefact(small_llava, tmp_path_factory):
    """ONNX of the tiny LLaVA, random, 8 of 36 tokens. Read only."""
    out = tmp_path_factory.mktemp("artefacts") / "other"
    export(str(small_llava), out, pruner="random", keep=8)
    return out


@pytest.fixture(scope="session")
def embedded_artefact(tmp_path_factory):
    """ONNX of the embedded, trained model, adaptive, 48 of 576 tokens. Read only."""
    out = tmp_path_factory.mktemp("artefacts") / "embedded"
    export("tiny-llava", out, keep=48)
    return out


@pytest.fixture
def shared_library(tmp_path):
    """Write an ELF file that is linked to libraries of given names, and has nothing else."""

    def write(name, *libraries):
        table = b"\0" + b"".join(library.encode() + b"\0" for library in libraries)
        starts, at = [], 1
        for library in libraries:
            starts.append(at)
            at += len(library) + 1
        headers, virtual = 64 + 2 * 56, 0x10000
        entries = [(1, start) for start in starts] + [(5, virtual + headers), (0, 0)]
        dynamic = b"".join(struct.pack("<qQ", *entry) for entry in entries)
        content = table + dynamic
        segment = struct.Struct("<IIQQQQQQ")
        load = segment.pack(1, 4, headers, virtual + headers, 0, len(content), len(content), 1)
        linking = segment.pack(2, 4, headers + len(table), virtual + headers + len(table), 0, len(dynamic), 0, 8)
        head = (
            b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
        )
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(head + load + linking + content)
        return path

    return write


@pytest.fixture(scope="session", autouse=True)
def _nothing_checked(tmp_path_factory):
    """What tests check is remembered for them alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Before any fixture of a module computes: sums round otherwise on another number of threads."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _one_thread_again():
    """Whatever the test before has set."""
    torch.set_num_threads(1)


@pytest.fixture
def vtp(monkeypatch, capsys):
    """The command line in this process: words to exit code, and what it wrote to both streams."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vtp-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return exit_.value.code or 0, captured.out, captured.err

    return run
