"""The preprocessing of a model whose folder says nothing about it. Standard library only."""

import dataclasses

from vtp_export.manifests import LARGEST_EDGE, LONGEST
from vtp_export.runtime.pinpoints import canvases_of_longest, canvases_up_to, tiled
from vtp_export.runtime.processor_defaults import (
    BICUBIC,
    BILINEAR,
    CLIP_MEAN,
    CLIP_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    LANCZOS,
    MOST_TILES,
)
from vtp_export.spec import Preprocessing

HALF = (0.5, 0.5, 0.5)


def clip_preprocessing(image_size: int) -> Preprocessing:
    """OpenAI CLIP's preprocessing.

    Args:
        image_size: edge of the square that the tower takes, in pixels.

    Example:
        >>> clip_preprocessing(336).crop
        (336, 336)
    """
    return Preprocessing(
        resize_shortest=image_size,
        resize_exact=None,
        resample=BICUBIC,
        crop=(image_size, image_size),
        rescale_factor=1 / 255,
        mean=CLIP_MEAN,
        std=CLIP_STD,
    )


def usual_preprocessing(whose: str, image_size: int) -> Preprocessing:
    """What a model folder that says nothing about it is likely to mean.

    Args:
        whose: "OpenAI's CLIP", "Google's SigLIP", "Google's SigLIP 2", "Google's Gemma 3", "Meta's DINOv2",
            "OpenGVLab's InternVL" or "HuggingFaceTB's SmolVLM".
        image_size: edge of the square that the tower takes, in pixels.

    Example:
        >>> usual_preprocessing("Meta's DINOv2", 224).resize_shortest
        256
    """
    clip = clip_preprocessing(image_size)
    if whose in ("Google's SigLIP", "Google's SigLIP 2", "Google's Gemma 3"):
        size = (image_size, image_size)
        resample = BICUBIC if whose == "Google's SigLIP" else BILINEAR
        return dataclasses.replace(
            clip, resize_shortest=None, resize_exact=size, resample=resample, crop=None, mean=HALF, std=HALF
        )
    if whose == "Meta's DINOv2":  # an eighth of the picture's edge is cut off, ImageNet's mean and deviation
        return dataclasses.replace(
            clip, resize_shortest=round(image_size * 256 / 224), mean=IMAGENET_MEAN, std=IMAGENET_STD
        )
    if whose == "OpenGVLab's InternVL":
        most = min(MOST_TILES, LARGEST_EDGE // image_size)
        colours = dataclasses.replace(clip, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        return tiled(colours, image_size, canvases_up_to(most, 1, image_size), "stretch")
    if whose == "HuggingFaceTB's SmolVLM":
        longest = min(4 * image_size, LONGEST)
        colours = dataclasses.replace(clip, resample=LANCZOS, mean=HALF, std=HALF)
        return tiled(colours, image_size, canvases_of_longest(longest, image_size), "grow", longest)
    return clip
