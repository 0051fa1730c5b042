"""A seeded random LLaVA front end: 576 patches like LLaVA-1.5, a tiny width, no download.

Its answers mean nothing. Its attention is sharpened, so that saliency and effective rank differ between images.
"""

import dataclasses
from collections.abc import Collection

import torch
from torch import nn

from vtp_export.models._config import TowerConfig
from vtp_export.models._frontend import VisionFrontend
from vtp_export.models._loading import loaded
from vtp_export.models._projectors import TwoLayers
from vtp_export.models.base import LoadedModel
from vtp_export.runtime.preprocess import clip_preprocessing

EMBEDDED = True

CONFIG = TowerConfig(
    hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4, image_size=336, patch_size=14
)
WIDTH_OUT = 96
SEED = 20260301


def load(checkpoint: None, needs: Collection[str]) -> LoadedModel:
    """Build it; the same weights every time."""
    # Built without memory first: torch's own initialisation would move its global generator.
    with torch.device("meta"):
        projector = TwoLayers(width=WIDTH_OUT)
        module = VisionFrontend(CONFIG, [CONFIG.num_hidden_layers - 1], projector=projector, needs=needs)
    module = module.to_empty(device="cpu")
    following, module.tower.following = module.tower.following, None
    draw_weights(module, SEED)
    if following is not None:  # of a seed of its own, so that the others are the same without it
        draw_weights(following, SEED + 1)
        module.tower.following = following
    tensors = sorted(module.state_dict().items())
    model = loaded(module, tensors, clip_preprocessing(CONFIG.image_size), id="toy", revision=None, family="toy")
    return dataclasses.replace(model, published=True)


def draw_weights(module: nn.Module, seed: int) -> None:
    """Fill every parameter from one seeded CPU generator, scaled so that signals keep their size with depth."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() < 2:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
                continue
            fan_in = parameter[0].numel()
            sharpness = 2.0 if "q_proj" in name or "k_proj" in name else 1.0
            parameter.normal_(0.0, sharpness * fan_in**-0.5, generator=generator)
