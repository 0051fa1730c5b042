"""A tower of one grid and the merger that makes tokens of its patches, behind the `Frontend` contract."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.tokens import Tokens
from vtp_export.models._frontend import OF_CLS, check_needs
from vtp_export.models._grid_tower import READINGS, GridTower, GridTowerConfig, norm_of
from vtp_export.models.base import AttentionGroup
from vtp_export.runtime.positions import axes_positions
from vtp_export.spec import Candidates, Saliency


class Merger(nn.Module):
    """From the patches of a token, side by side, to the language model: a norm, two linear layers.

    Args:
        config: of the tower.
        width: channels of the language model.
        together: whether the norm is of all patches of a token together, or of each.
    """

    def __init__(self, config: GridTowerConfig, width: int, together: bool = False) -> None:
        super().__init__()
        merged = config.hidden_size * config.merge**2
        self.parts = 1 if together else config.merge**2
        self.norm = norm_of(config, merged // self.parts)
        self.activation = nn.GELU()
        self.linear_1 = nn.Linear(merged, merged)
        self.linear_2 = nn.Linear(merged, width)

    def forward(self, features: Tensor) -> Tensor:
        """(b, k, m * m * dv) to (b, k, d)."""
        patches = self.norm(features.unflatten(-1, (self.parts, -1))).flatten(-2)
        projected: Tensor = self.linear_2(self.activation(at_least_float32(self.linear_1(patches))))
        return projected


class GridFrontend(nn.Module):
    """Tower and merger.

    Without CLS, saliency is the attention that the patches of a token receive in the last block that attends to the
    whole picture, mean over patches, heads and queries.

    Args:
        config: the tower's sizes.
        grid: (rows, columns) of tokens.
        width: channels d of the language model.
        needs: signals that it must be able to give.

    Raises:
        ModelError: a signal is made with a CLS token.
    """

    saliency: Saliency = "received"
    positions: Tensor

    def __init__(self, config: GridTowerConfig, grid: tuple[int, int], width: int, needs: Collection[str] = ()) -> None:
        super().__init__()
        check_needs(OF_CLS.intersection(needs), has_cls=False, past_the_end=False)
        self.patch = (config.token, config.token)
        self.image_size = (grid[0] * config.token, grid[1] * config.token)
        self.candidates = Candidates(grid)
        self.width = width
        self.tower = GridTower(config, grid)
        self.projector = Merger(config, width)
        self.planes = len(config.deepstack)
        self.deepstack = nn.ModuleList(Merger(config, width, together=True) for _ in config.deepstack)
        self.register_buffer("positions", torch.from_numpy(axes_positions(grid)), persistent=False)
        self.blocks = tuple(f"tower.blocks.{i}" for i in range(config.depth))
        self.groups = tuple(AttentionGroup((f"{block}.attn.qkv",), config.heads) for block in self.blocks)
        self.gives = frozenset({"projected", *READINGS})

    def encode(self, pixel_values: Tensor, needs: Collection[str]) -> Tokens:
        """(b, 3, h, w) to the signals named in `needs`."""
        hidden, signals, deepstack = self.tower(pixel_values, needs)
        return Tokens(
            hidden=hidden,
            projected=self.project(hidden) if "projected" in needs else None,
            planes=torch.cat(deepstack, dim=-1) if deepstack else None,
            **signals,
        )

    def project(self, features: Tensor) -> Tensor:
        """(b, k, dv) to (b, k, d), each token alone."""
        projected: Tensor = self.projector(features)
        return projected

    def project_planes(self, features: Tensor) -> Tensor:
        """(b, k, planes * dv) of `Tokens.planes` to (b, k, planes * d), each token alone."""
        planes = features.chunk(self.planes, dim=-1)
        return torch.cat([merger(plane) for merger, plane in zip(self.deepstack, planes, strict=True)], dim=-1)
