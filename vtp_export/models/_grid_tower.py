"""A vision transformer for one grid of patches with rotary positions: the towers of Qwen's vision-language models.

What depends on the grid (order of the patches, windows, rotary tables, where learned positions are read) is constant.
Patches stand token by token, the m x m patches of a token side by side; where attention is in windows, the tokens of a
window stand together and windows of one size are neighbours, so that each size is one batch. Names in the state dict
are ours, see `_grid_loading`.
"""

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vtp_export.functional.attention import attention_and_received
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.sizes import static_size
from vtp_export.models._config import activation
from vtp_export.models._grids import Windows, learned_taps, patch_order, patch_places, windows_of
from vtp_export.models._norms import RmsNorm


@dataclass(frozen=True, kw_only=True)
class GridTowerConfig:
    """What shapes such a tower.

    hidden_size, intermediate_size, hidden_act: as in `vision_config`. depth: blocks. heads: of attention.
    patch: edge of a patch in pixels.
    merge: patches along an edge of a token.
    window: tokens along an edge of a window, or None where every block attends to the whole picture.
    whole: numbers, from 0, of the blocks that do.
    gated: whether the MLP is gated. rms: whether norms are by the root mean square, without bias.
    patch_bias: whether the patch embedding has one. learned: edge of the square of learned positions, or None.
    deepstack: numbers, from 0, of the blocks whose results go to the language model besides.
    theta: base of the rotary frequencies.
    """

    hidden_size: int
    intermediate_size: int
    hidden_act: str
    depth: int
    heads: int
    patch: int
    merge: int
    window: int | None = None
    whole: tuple[int, ...]
    gated: bool = False
    rms: bool = False
    patch_bias: bool = False
    learned: int | None = None
    deepstack: tuple[int, ...] = ()
    theta: float = 10000.0

    @property
    def token(self) -> int:
        """Edge of a token in pixels."""
        return self.patch * self.merge

    def deepest(self, share: float) -> int:
        """The first block with whole attention at or past a share of the depth, or the last one; from 0."""
        wanted = max(1, round(share * self.depth)) - 1
        return next((block for block in self.whole if block >= wanted), self.whole[-1])


NORM_EPS = 1e-6
"""Of every norm: no `vision_config` names it."""

READINGS: dict[str, tuple[str, float]] = {
    "saliency": ("received", 1.0),
    "received": ("received", 1.0),
    "keys": ("keys", 1.0),
    "early_saliency": ("received", 1 / 4),
    "early_received": ("received", 3 / 8),
}
"""Signal to what is read of a block's attention, and at which share of the depth; see `GridTowerConfig.deepest`."""


def norm_of(config: GridTowerConfig, width: int) -> nn.Module:
    """A norm of so many channels."""
    return RmsNorm(width, NORM_EPS) if config.rms else nn.LayerNorm(width, NORM_EPS)


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions, in windows or whole."""

    def __init__(self, config: GridTowerConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads, self.head_width = config.heads, width // config.heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], windows: tuple[Windows, ...], readings: Collection[str]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(b, m, dv) to the same, and of "received" (b, m) and "keys" (b, m, dh) what is asked for.

        Keys are those of what a patch shows, before the rotary positions turn them.
        """
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in self.qkv(x).chunk(3, dim=-1))
        read = {"keys": at_least_float32(key).mean(2)} if "keys" in readings else {}
        query, key = turned(query, rotary), turned(key, rotary)
        if "received" in readings:
            heads = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
            mixed, read["received"] = attention_and_received(*heads, self.head_width**-0.5)
            return self.proj(mixed.transpose(1, 2).flatten(2)), read
        query, key = query.to(value.dtype), key.to(value.dtype)
        parts = [attended(query, key, value, group) for group in windows]
        return self.proj(torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]), read


def turned(x: Tensor, rotary: tuple[Tensor, Tensor]) -> Tensor:
    """Queries or keys (b, m, heads, dh) at their places, in at least float32; `rotary`: their turns (m, 1, dh)."""
    cosines, sines = rotary
    x = at_least_float32(x)
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat([-second, first], dim=-1) * sines


def attended(query: Tensor, key: Tensor, value: Tensor, group: Windows) -> Tensor:
    """Fused attention in windows of one size: (b, m, heads, dh) to (b, l, dv) of the l patches in them."""
    heads, head_width = static_size(query, 2), static_size(query, 3)
    query, key, value = (
        part[:, group.start : group.stop].reshape(-1, group.size, heads, head_width).transpose(1, 2)
        for part in (query, key, value)
    )
    mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
    return mixed.reshape(-1, group.stop - group.start, heads * head_width)


class Mlp(nn.Module):
    """Two linear layers, or three of which one is the gate."""

    def __init__(self, config: GridTowerConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.activation = activation(config.hidden_act)
        self.fc1 = nn.Linear(width, inner)
        self.gated = nn.Linear(width, inner) if config.gated else None
        self.fc2 = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, m, dv) to the same; `fc1` is the gate where there is one."""
        inner = self.activation(at_least_float32(self.fc1(x)))
        hidden: Tensor = self.fc2(inner if self.gated is None else inner * self.gated(x))
        return hidden


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, config: GridTowerConfig) -> None:
        super().__init__()
        self.norm1 = norm_of(config, config.hidden_size)
        self.attn = Attention(config)
        self.norm2 = norm_of(config, config.hidden_size)
        self.mlp = Mlp(config)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], windows: tuple[Windows, ...], readings: Collection[str]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(b, m, dv) to the same, and what is asked for of `Attention`'s readings."""
        mixed, read = self.attn(self.norm1(x), rotary, windows, readings)
        x = x + mixed
        return x + self.mlp(self.norm2(x)), read


class GridTower(nn.Module):
    """The tower at one grid.

    Args:
        config: sizes.
        grid: (rows, columns) of tokens.
    """

    order: Tensor
    raster: Tensor
    cosines: Tensor
    sines: Tensor
    taps: Tensor
    shares: Tensor

    def __init__(self, config: GridTowerConfig, grid: tuple[int, int]) -> None:
        super().__init__()
        self.config, self.grid = config, grid
        width, patch = config.hidden_size, config.patch
        self.patch_embedding = nn.Conv2d(3, width, patch, patch, bias=config.patch_bias)
        self.position_embedding = None if config.learned is None else nn.Embedding(config.learned**2, width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        tokens, self.windows = windows_of(grid, config.window, config.merge**2)
        order = patch_order(grid, config.merge, tokens)
        self.everywhere = (Windows(0, len(order), len(order)),)
        self._constant("order", order)
        self._constant("raster", tokens.argsort())
        places = patch_places(grid, config.merge, order)
        angles = rotary_angles(places, config.hidden_size // config.heads, config.theta)
        self._constant("cosines", angles.cos())
        self._constant("sines", angles.sin())
        if config.learned is not None:
            size = grid[0] * config.merge, grid[1] * config.merge
            taps, shares = learned_taps(places, size, config.learned)
            self._constant("taps", taps)
            self._constant("shares", shares)

    def _constant(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    def forward(
        self, pixel_values: Tensor, needs: Collection[str] = ()
    ) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
        """(b, 3, h, w) to the patches of each token side by side (b, n, m * m * dv), and the signals in `needs`.

        Signals are means over the patches of a token: (b, n) or (b, n, dh). Last the results of the `deepstack` blocks,
        as the first. All are in raster order of tokens.
        """
        patches = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        x = at_least_float32(patches.index_select(1, self.order))
        if self.position_embedding is not None:
            x = x + self._positions()
        rotary, signals, deepstack = (self.cosines, self.sines), dict[str, Tensor](), list[Tensor]()
        for number, block in enumerate(self.blocks):
            wanted = {name: kind for name, kind in self._readings_of(number).items() if name in needs}
            windows = self.everywhere if number in self.config.whole else self.windows
            x, read = block(x, rotary, windows, tuple(wanted.values()))
            signals |= {name: self._by_token(read[kind]).mean(2) for name, kind in wanted.items()}
            if number in self.config.deepstack:
                deepstack.append(self._by_token(x).flatten(2))
        return self._by_token(x).flatten(2), signals, deepstack

    def _positions(self) -> Tensor:
        """Learned positions of the patches (m, dv): a mixture of the four nearest."""
        assert self.position_embedding is not None
        nearest: Tensor = self.position_embedding.weight.index_select(0, self.taps.flatten()).unflatten(0, (-1, 4))
        return (nearest * self.shares[:, :, None]).sum(1)

    def _by_token(self, patches: Tensor) -> Tensor:
        """(b, m, ...) in the order of the blocks to (b, n, patches of a token, ...) in raster order."""
        tokens: Tensor = patches.unflatten(1, (-1, self.config.merge**2))
        return tokens if self.config.window is None else tokens.index_select(1, self.raster)

    def _readings_of(self, number: int) -> dict[str, str]:
        """Signal to reading, of those that come from the block of that number."""
        return {name: reading for name, (reading, share) in READINGS.items() if self.config.deepest(share) == number}


def rotary_angles(places: Tensor, head_width: int, theta: float) -> Tensor:
    """How far rotary positions turn each channel: those of the row, of the column, and both again.

    Args:
        places: (m, 2) rows and columns of patches.
        head_width: dh, of which a quarter of the frequencies serve an axis.
        theta: base of the frequencies.

    Returns:
        (m, 1, dh) float32.
    """
    half = head_width // 2
    steps = torch.arange(0, half, 2, dtype=torch.float32, device="cpu")
    angles = places[:, :, None].float() * (1.0 / theta ** (steps / half))  # (m, 2, dh / 4)
    return angles.flatten(1).repeat(1, 2)[:, None]
