"""What transformers' image processors do where no file says otherwise. Standard library only."""

from collections.abc import Mapping
from typing import Any

from vtp_export.runtime.pinpoints import NEXT_PINPOINTS, ONEVISION_PINPOINTS
from vtp_export.spec import Filling

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LANCZOS, BILINEAR, BICUBIC = 1, 2, 3  # Pillow's numbers

MOST_TILES = 12
"""Of a picture, in InternVL."""

NAFLEX = "Siglip2ImageProcessor"

ANY_RESOLUTION = "Qwen2VLImageProcessor"
"""Of models whose pictures have sizes of their own; see `resolution`."""

CLIP: Mapping[str, Any] = {
    "size": {"shortest_edge": 224},
    "crop_size": {"height": 224, "width": 224},
    "default_to_square": False,
    "do_center_crop": True,
    "do_pad": False,
    "image_mean": CLIP_MEAN,
    "image_std": CLIP_STD,
}
SIGLIP: Mapping[str, Any] = {
    "size": {"height": 224, "width": 224},
    "crop_size": None,
    "default_to_square": True,
    "do_center_crop": False,
    "do_pad": False,
    "image_mean": (0.5, 0.5, 0.5),
    "image_std": (0.5, 0.5, 0.5),
}
SMOLVLM: Mapping[str, Any] = {
    **SIGLIP,
    "size": {"longest_edge": 4 * 364},
    "max_image_size": {"longest_edge": 364},
    "resample": LANCZOS,
    "do_image_splitting": True,
    "do_pad": True,
}
DEFAULTS: dict[str, Mapping[str, Any]] = {
    "CLIPImageProcessor": CLIP,
    "LlavaImageProcessor": CLIP,
    "BitImageProcessor": CLIP,
    "SiglipImageProcessor": SIGLIP,
    "Gemma3ImageProcessor": {**SIGLIP, "resample": BILINEAR},
    NAFLEX: {**SIGLIP, "resample": BILINEAR, "patch_size": 16, "max_num_patches": 256},
    ANY_RESOLUTION: {
        **CLIP,
        "size": {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280},  # pixels of a picture
        "crop_size": None,
        "do_center_crop": False,
        "patch_size": 14,
        "merge_size": 2,
        "temporal_patch_size": 2,
    },
    "LlavaNextImageProcessor": {**CLIP, "do_pad": True, "image_grid_pinpoints": NEXT_PINPOINTS},
    "LlavaOnevisionImageProcessor": {
        **CLIP,
        "size": {"height": 384, "width": 384},
        "crop_size": None,
        "do_center_crop": False,
        "do_pad": True,
        "image_grid_pinpoints": ONEVISION_PINPOINTS,
    },
    "GotOcr2ImageProcessor": {
        **SIGLIP,
        "size": {"height": 384, "width": 384},
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
        "min_patches": 1,
        "max_patches": MOST_TILES,
    },
    "SmolVLMImageProcessor": SMOLVLM,
    "Idefics3ImageProcessor": SMOLVLM,
}
"""What each class takes where its file says nothing."""

FILLINGS: dict[str, Filling] = {
    "LlavaNextImageProcessor": "fit",
    "LlavaOnevisionImageProcessor": "fit",
    "GotOcr2ImageProcessor": "stretch",
    "SmolVLMImageProcessor": "grow",
    "Idefics3ImageProcessor": "grow",
}
"""Of the classes that make several views of a picture, how they fill the canvas."""

SHARED: Mapping[str, Any] = {
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "rescale_factor": 1 / 255,
    "resample": BICUBIC,
}
"""What all classes take."""
