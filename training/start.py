"""Where training starts: random weights, but for a tower that already knows which patches are neighbours.

Position embeddings are sines and cosines in channels of their own, and the heads of the first two layers attend to
the patch one step to the right, left, below, above, and to the four diagonal ones, as a convolution looks. A tower of
four layers would otherwise spend most of its training on finding out that images have two dimensions.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration

from training.architecture import PATCH, llava_config

FREQUENCIES = 8
CHANNELS = 4 * FREQUENCIES  # sine and cosine, of row and column: also the width of a head
PERIODS = (4, 40)  # shortest and longest, in patches
RATES = 2 * math.pi / (PERIODS[0] * (PERIODS[1] / PERIODS[0]) ** (torch.arange(FREQUENCIES) / (FREQUENCIES - 1)))
LOOKS = (((0, 1), (0, -1), (1, 0), (-1, 0)), ((1, 1), (-1, -1), (1, -1), (-1, 1)))
SHARPNESS = 4.0


def position_grid(side: int) -> Tensor:
    """Sines and cosines of row and column: (side * side, CHANNELS), unit mean square."""
    angle = torch.arange(side)[:, None] * RATES
    one = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
    rows, columns = one[:, None].expand(side, side, -1), one[None].expand(side, side, -1)
    return math.sqrt(2) * torch.cat([rows, columns], -1).reshape(side * side, CHANNELS)


def new_model(image_size: int) -> LlavaForConditionalGeneration:
    """A model to be trained; the seed is torch's."""
    model = LlavaForConditionalGeneration(llava_config(image_size))
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            residual = name.endswith(("out_proj", "fc2", "o_proj", "down_proj"))
            nn.init.normal_(module.weight, std=(0.4 if residual else 0.8) / math.sqrt(module.in_features))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    nn.init.normal_(model.model.language_model.embed_tokens.weight, std=0.08)
    model.tie_weights()
    tower = tower_of(model)
    patches, places = tower.embeddings.patch_embedding.weight.data, tower.embeddings.position_embedding.weight.data
    nn.init.normal_(patches, std=0.8 / math.sqrt(3 * PATCH * PATCH))
    patches[-CHANNELS:] *= 0.05
    places.zero_()
    places[1:, -CHANNELS:] = position_grid(image_size // PATCH)
    for layer, looks in zip(tower.encoder.layers, LOOKS, strict=False):
        _look(layer, looks)
    return model


def grown(model: LlavaForConditionalGeneration, image_size: int) -> LlavaForConditionalGeneration:
    """The same weights on a finer grid.

    The sines go on where they stopped, so that neighbours stay neighbours; what training has added is interpolated.
    """
    larger = LlavaForConditionalGeneration(llava_config(image_size))
    state = model.state_dict()
    for name, tensor in state.items():
        if name.endswith("position_embedding.weight"):
            side, new = round((len(tensor) - 1) ** 0.5), image_size // PATCH
            learned = tensor[1:].clone()
            learned[:, -CHANNELS:] -= position_grid(side)
            grid = learned.T.reshape(1, -1, side, side)
            finer = F.interpolate(grid, size=(new, new), mode="bicubic", align_corners=False)[0].flatten(1).T
            finer[:, -CHANNELS:] += position_grid(new)
            state[name] = torch.cat([tensor[:1], finer])
    larger.load_state_dict(state, strict=False)
    larger.tie_weights()
    return larger


def tower_of(model: LlavaForConditionalGeneration) -> nn.Module:
    """The CLIP vision transformer inside, wherever this version of Transformers keeps it."""
    tower = model.model.vision_tower
    return getattr(tower, "vision_model", tower)


def _look(layer: nn.Module, looks: tuple[tuple[int, int], ...]) -> None:
    """Make each head attend to the patch at its offset (rows, columns)."""
    attention, positions = layer.self_attn, slice(-CHANNELS, None)
    for head, offset in enumerate(looks):
        mine = slice(CHANNELS * head, CHANNELS * (head + 1))
        for projection, turn in ((attention.q_proj, _turned(offset)), (attention.k_proj, torch.eye(CHANNELS))):
            projection.weight.data[mine] *= 0.2
            projection.weight.data[mine, positions] += math.sqrt(SHARPNESS) * turn
    attention.out_proj.weight.data[positions] *= 0.2
    layer.mlp.fc2.weight.data[positions] *= 0.2


def _turned(offset: tuple[int, int]) -> Tensor:
    """The rotation that takes the sines of a place to those of the place `offset` away."""
    turn = torch.zeros(CHANNELS, CHANNELS)
    for axis, distance in enumerate(offset):
        for i, angle in enumerate((RATES * distance).tolist()):
            at = 2 * (axis * FREQUENCIES + i)
            sine, cosine = math.sin(angle), math.cos(angle)
            turn[at : at + 2, at : at + 2] = torch.tensor([[cosine, sine], [-sine, cosine]])
    return turn
