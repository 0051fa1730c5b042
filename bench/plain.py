"""Towers of any resolution against a plain export of Transformers' own tower at the same grid.

python -m bench.plain [FOLDER [NAME [plain | int8]]]     FOLDER: what `python -m bench.towers FOLDER NAME` has made;
                                                         default bench/out, qwen2.5-vl-7b and both; 20 minutes, 19 GB
"""

import contextlib
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import nn

import vtp_export
from bench.frontend import table
from bench.measure import in_turns
from bench.towers import OPTIONS, SETTINGS
from vtp_export.precision.policy import Precision
from vtp_export.runtime.front_end import load

ROUNDS, FEW_ROUNDS = 5, 1
FORMATS = ("onnx", "openvino")


class Plain(nn.Module):
    """Transformers' tower and merger at one grid."""

    grid: torch.Tensor

    def __init__(self, tower: nn.Module, rows: int, columns: int) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer("grid", torch.tensor([[1, rows, columns]]), persistent=False)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """(patches, channels * 2 * side * side) of one picture to (tokens, width)."""
        merged: torch.Tensor = self.tower(patches, grid_thw=self.grid).pooler_output
        return merged


def export(model: Path, grid: tuple[int, int], file: Path) -> int:
    """Write it with torch's exporter that traces (the other one stops at this code); returns the width of a patch."""
    from transformers import AutoModel

    auto: Any = AutoModel
    whole = auto.from_pretrained(model, dtype=torch.float32, attn_implementation="sdpa")
    tower, config = whole.visual, whole.config.vision_config
    side = config.spatial_merge_size
    width: int = config.in_channels * config.temporal_patch_size * config.patch_size**2
    rows, columns = (cells * side for cells in grid)
    del whole
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patches = torch.zeros(rows * columns, width)
        torch.onnx.export(Plain(tower, rows, columns).eval(), (patches,), str(file), dynamo=False)
    return width


def against_plain(out: Path, name: str) -> None:
    """The plain export, ours of all tokens, and ours of some."""
    with load(out / f"{name}-none") as ours, load(out / f"{name}-adaptive") as pruned:
        grid, size = ours.manifest.layout.candidates.grid, ours.manifest.layout.image_size
        folder = out / f"{name}-plain"
        folder.mkdir(exist_ok=True)
        began = time.perf_counter()
        width = export(out / name, grid, folder / "model.onnx")
        print(f"plain export of {name}: {time.perf_counter() - began:.1f} s")
        plain = onnxruntime.InferenceSession(folder / "model.onnx", onnxruntime.SessionOptions())
        pixels = np.random.default_rng(0).standard_normal((1, 3, *size), dtype=np.float32)
        given = {plain.get_inputs()[0].name: patches_of(pixels[0], grid, width)}
        tokens = plain.run(None, given)[0]
        error = np.abs(ours.run(pixels).tokens[0] - tokens).max() / np.abs(tokens).max()
        print(f"tokens of both agree within {error:.1e} of the largest")
        calls: dict[str, Callable[[], object]] = {
            "plain export": lambda: plain.run(None, given),
            "ours, unpruned": partial(ours.run, pixels),
            "ours, adaptive": partial(pruned.run, pixels),
        }
        spent = in_turns(calls, ROUNDS)
    rows = [(what, ms, ms / spent["plain export"]) for what, ms in spent.items()]
    table(f"{name}: {grid[0]} x {grid[1]} tokens, ONNX Runtime", ("what", "all cores, ms", "ratio"), rows)


def narrow(out: Path, name: str) -> None:
    """fp32 and int8 in blocks of 32, in ONNX Runtime and OpenVINO; nothing is proved: weights are random."""
    made = {"fp32": out / f"{name}-fp32", "int8": out / f"{name}-int8"}
    int8 = Precision(name="int8", limit=1, plan="narrow")
    for precision, how in {"fp32": Precision(), "int8": int8}.items():
        if not (made[precision] / "manifest.json").is_file():
            options = {"settings": SETTINGS, "formats": FORMATS, "batch": 1, "golden": 0, **OPTIONS[name]}
            report = vtp_export.export(out / name, made[precision], precision=how, **options)
            print(f"{precision}: exported in {report.total_seconds:.0f} s", *report.notes, sep="; ")
    with contextlib.ExitStack() as stack:
        places = {(precision, fmt): folder for precision, folder in made.items() for fmt in FORMATS}
        opened = {place: stack.enter_context(load(folder, place[1])) for place, folder in places.items()}
        size = opened["fp32", "onnx"].manifest.layout.image_size
        pixels = np.random.default_rng(0).standard_normal((1, 3, *size), dtype=np.float32)
        calls = {f"{precision}, {fmt}": partial(one.run, pixels) for (precision, fmt), one in opened.items()}
        spent = in_turns(calls, FEW_ROUNDS)
        sizes = {f"{p}, {f}": sum(b.size for b in one.artefact.builds(f)) / 1e9 for (p, f), one in opened.items()}
    rows = [(what, sizes[what], ms, ms / spent["fp32, onnx"]) for what, ms in spent.items()]
    table(f"{name}: adaptive, batch 1", ("what", "file GB", "all cores, ms", "ratio"), rows)


def main() -> None:
    """The tables that are named, or both."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "bench/out")
    name = sys.argv[2] if len(sys.argv) > 2 else "qwen2.5-vl-7b"
    for which in sys.argv[3:] or ("plain", "int8"):
        {"plain": against_plain, "int8": narrow}[which](out, name)


def patches_of(pixels: np.ndarray, grid: tuple[int, int], width: int) -> np.ndarray:
    """(3, h, w) pixels as that tower reads them: patches of two equal frames, those of a token side by side."""
    rows, columns = grid
    side = round((width / 6) ** 0.5)
    merge = pixels.shape[1] // (rows * side)
    cut = pixels.reshape(3, rows, merge, side, columns, merge, side).transpose(1, 4, 2, 5, 0, 3, 6)
    frames = np.repeat(cut[..., None, :, :], 2, axis=-3)
    return np.ascontiguousarray(frames.reshape(-1, width))


if __name__ == "__main__":
    main()
