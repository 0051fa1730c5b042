"""Attention in windows that a grid does not divide: windows grouped by size, as it is built, against all padded to one.

python -m bench.windows        a minute; the attention of one layer of Qwen2.5-VL, without its products with weights
"""

from functools import partial

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.frontend import table
from bench.measure import in_turns
from vtp_export.models._grid_tower import attended
from vtp_export.models._grids import windows_of

GRIDS = ((35, 35), (26, 46), (17, 23), (32, 32))
EDGE, PATCHES, HEADS, WIDTH = 4, 4, 16, 80
ROUNDS = 15


class Grouped(nn.Module):
    """A batch for each size of windows."""

    def __init__(self, grid: tuple[int, int]) -> None:
        super().__init__()
        _, self.windows = windows_of(grid, EDGE, PATCHES)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(1, m, heads, dh) three times to (1, m, heads * dh)."""
        return torch.cat([attended(query, key, value, group) for group in self.windows], dim=1)


class Padded(nn.Module):
    """One batch, whose small windows are filled up with patches that nothing attends to."""

    cells: Tensor
    real: Tensor
    back: Tensor

    def __init__(self, grid: tuple[int, int]) -> None:
        super().__init__()
        size, cells, real = EDGE * EDGE * PATCHES, [], []
        for group in windows_of(grid, EDGE, PATCHES)[1]:
            for start in range(group.start, group.stop, group.size):
                window = list(range(start, start + group.size))
                cells.append(window + [start] * (size - group.size))
                real.append([True] * group.size + [False] * (size - group.size))
        self.register_buffer("cells", torch.tensor(cells).flatten())
        self.register_buffer("real", torch.tensor(real))
        self.register_buffer("back", self.real.flatten().nonzero().squeeze(1))

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """As of `Grouped`."""
        count, size = self.real.shape
        query, key, value = (
            part[0].index_select(0, self.cells).reshape(count, size, HEADS, WIDTH).transpose(1, 2)
            for part in (query, key, value)
        )
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=self.real[:, None, None, :])
        return mixed.transpose(1, 2).reshape(1, count * size, HEADS * WIDTH).index_select(1, self.back)


def compiled(module: nn.Module, given: tuple[Tensor, ...]) -> onnxruntime.InferenceSession:
    """The module in ONNX Runtime."""
    names = ["query", "key", "value"]
    program = torch.onnx.export(module.eval(), given, dynamo=True, input_names=names, verbose=False)
    assert program is not None
    return onnxruntime.InferenceSession(program.model_proto.SerializeToString())


def main() -> None:
    """One table."""
    rows = []
    for grid in GRIDS:
        generator = torch.Generator().manual_seed(0)
        shape = (1, grid[0] * grid[1] * PATCHES, HEADS, WIDTH)
        tensors = [torch.randn(shape, generator=generator) for _ in range(3)]
        given = {name: one.numpy() for name, one in zip(("query", "key", "value"), tensors, strict=True)}
        grouped, padded = (compiled(kind(grid), tuple(tensors)) for kind in (Grouped, Padded))
        results = [session.run(None, given)[0] for session in (grouped, padded)]
        np.testing.assert_allclose(results[0], results[1], atol=1e-5)
        calls = {"grouped": partial(grouped.run, None, given), "padded": partial(padded.run, None, given)}
        spent = in_turns(calls, ROUNDS)
        count = len(windows_of(grid, EDGE, PATCHES)[1])
        rows.append(
            (f"{grid[0]} x {grid[1]}", count, spent["grouped"], spent["padded"], spent["padded"] / spent["grouped"])
        )
    table("windows of 4 x 4 tokens", ("grid", "sizes", "grouped, ms", "padded, ms", "ratio"), rows)


if __name__ == "__main__":
    main()
