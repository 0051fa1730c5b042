"""Hugging Face image processor settings read without transformers. Standard library only."""

import dataclasses
import math
from typing import Any

from vtp_export.errors import SpecError, shown
from vtp_export.manifests import FILTERS, LARGEST_EDGE, LARGEST_NUMBER, SMALLEST_NUMBER
from vtp_export.runtime.pinpoints import (
    canvases_of_longest,
    canvases_up_to,
    longest_of,
    refuse_other_pinpoints,
    tiled,
)
from vtp_export.runtime.processor_defaults import ANY_RESOLUTION, DEFAULTS, FILLINGS, NAFLEX, SHARED
from vtp_export.spec import Filling, Preprocessing

_KNOWN_STEPS = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb", "do_pad"}
_OF_GROWN = {"do_image_splitting"}


def preprocessing_from_config(
    config: dict[str, Any],
    image_size: int | None,
    unnamed: str = "CLIPImageProcessor",
    pinpoints: tuple[tuple[int, int], ...] = (),
    filling: Filling | None = None,
) -> Preprocessing:
    """Read a `preprocessor_config.json`, or the `image_processor` part of a `processor_config.json`.

    Processors of CLIP, LLaVA, LLaVA-NeXT, LLaVA-OneVision, SigLIP, SigLIP 2 (at the grid of a square picture), Gemma 3,
    BiT (DINOv2), GOT-OCR 2 (InternVL), SmolVLM and Idefics3 are known, old spellings included (`CLIPFeatureExtractor`,
    sizes as bare numbers). What the file leaves out, or sets to null, is the default of transformers' class.

    Args:
        config: the parsed JSON.
        image_size: edge of the square that the tower takes, in pixels; None where it takes what the processor makes.
        unnamed: the class where the settings name none.
        pinpoints: what `config.json` says of them, where it does.
        filling: how the canvas of tiles is filled, where the model takes several views of a picture; else None.

    Raises:
        SpecError: another processor, a step or a size that is not supported, or a result that is not
            image_size x image_size, or of no fixed size; one view for a model that takes several, or several for one
            that takes one; other pinpoints.

    Example:
        >>> preprocessing_from_config({"size": 224, "crop_size": 224}, 224).resize_shortest
        224
    """
    if not isinstance(config, dict):
        raise SpecError(f"the image processor settings are {shown(config)}, and a JSON object was expected")
    family = _family(config, unnamed)
    settings = {**SHARED, **DEFAULTS[family]}
    settings.update({key: value for key, value in config.items() if value is not None})
    if (own := FILLINGS.get(family)) != filling:
        raise SpecError(_of_another_kind(family, own, filling))
    if filling == "grow":
        settings |= {"longest": settings["size"], "size": _tile(settings["max_image_size"])}
    if family == NAFLEX:
        settings["size"] = _largest_square(settings)
    _check_steps(family, settings)
    shortest, exact = _resize(settings) if settings["do_resize"] else (None, None)
    factor = _positive("rescale_factor", settings["rescale_factor"]) if settings["do_rescale"] else 1.0
    normalizes = settings["do_normalize"]
    prep = Preprocessing(
        resize_shortest=shortest,
        resize_exact=exact,
        resample=_resample(settings["resample"]),
        crop=_crop(settings) if settings["do_center_crop"] else None,
        rescale_factor=factor,
        mean=_three("image_mean", settings["image_mean"]) if normalizes else (0.0, 0.0, 0.0),
        std=_three("image_std", settings["image_std"], divisor=True) if normalizes else (1.0, 1.0, 1.0),
        pad_to_square=family == "LlavaImageProcessor" and bool(settings["do_pad"]),
    )
    if filling is not None and image_size is not None:
        return _of_tiles(prep, settings, image_size, pinpoints, filling)
    _check_result(prep, image_size)
    return prep


def _of_another_kind(family: str, own: Filling | None, filling: Filling | None) -> str:
    if own is not None and filling is not None:
        return f"the image processor {family} cuts tiles of pictures that {own} a canvas, and this model's {filling} it"
    kinds = "one view of a picture", "several views of a picture"
    makes, takes = (kinds[one is not None] for one in (own, filling))
    return f"the image processor {family} makes {makes}, and this model takes {takes}"


def _tile(value: Any) -> int:
    """Edge of the tiles that a grown picture is cut into."""
    if not isinstance(value, dict) or set(_present(value)) != {"longest_edge"}:
        raise _unexpected("max_image_size", value, "{longest_edge}")
    return _edge("max_image_size.longest_edge", value["longest_edge"])


def _of_tiles(
    prep: Preprocessing,
    settings: dict[str, Any],
    image_size: int,
    pinpoints: tuple[tuple[int, int], ...],
    filling: Filling,
) -> Preprocessing:
    """The same with the canvases that settings tell of."""
    if filling == "fit":
        refuse_other_pinpoints(settings["image_grid_pinpoints"], pinpoints, image_size)
        # `crop_size` is the edge of tiles, even if nothing is cropped.
        crop = None if settings["crop_size"] is None else _crop(settings)
        exact, shortest = prep.resize_exact, prep.resize_shortest
        for size in (crop, exact, None if shortest is None else (shortest, shortest)):
            views = dataclasses.replace(prep, resize_exact=size or (image_size, image_size), crop=None)
            _check_result(views, image_size)
        return tiled(prep, image_size, pinpoints)
    _check_result(prep, image_size)
    if filling == "stretch":
        most, least = settings["max_patches"], settings["min_patches"]
        return tiled(prep, image_size, canvases_up_to(most, least, image_size), filling)
    longest = longest_of(settings["longest"])
    canvases = canvases_of_longest(longest if settings["do_image_splitting"] else image_size, image_size)
    return tiled(prep, image_size, canvases, filling, longest)


def _family(config: dict[str, Any], unnamed: str) -> str:
    """The processor's class without the suffixes that name an implementation."""
    written = config.get("image_processor_type") or config.get("feature_extractor_type") or unnamed
    name = str(written).replace("FeatureExtractor", "ImageProcessor")
    name = name.removesuffix("Fast").removesuffix("Pil")
    # Whose pictures have sizes of their own is of no use to a tower of one size, nor the other way round.
    known = [own for own in DEFAULTS if (own == ANY_RESOLUTION) == (unnamed == ANY_RESOLUTION)]
    if name not in known:
        raise SpecError(f"the image processor {shown(written)} is not supported; known are {', '.join(known)}")
    return name


def _check_steps(family: str, settings: dict[str, Any]) -> None:
    """Refuse steps that `Preprocessing` cannot express."""
    for key, value in settings.items():
        if not key.startswith("do_"):
            continue
        if not isinstance(value, bool):
            raise _unexpected(key, value, "true or false")
        steps = _KNOWN_STEPS | (_OF_GROWN if FILLINGS.get(family) == "grow" else set())
        if value and key not in steps:
            known = ", ".join(sorted(steps))
            raise SpecError(f"the image processor step '{key}' is not supported; known are {known}")
    if not settings["do_pad"]:
        return
    if family != "LlavaImageProcessor" and settings.get("pad_size") is not None:
        raise _unexpected("pad_size", settings["pad_size"], f"none for {family}")
    if family == "LlavaImageProcessor" and not settings["do_normalize"]:
        # The padding has the mean colour, which an unnormalised Preprocessing no longer knows.
        raise SpecError("the image processor has do_pad without do_normalize; set both or neither")


def _resize(settings: dict[str, Any]) -> tuple[int | None, tuple[int, int] | None]:
    """(resize_shortest, resize_exact), one of them None."""
    size = settings["size"]
    if isinstance(size, dict) and set(_present(size)) == {"shortest_edge"}:
        return _edge("size.shortest_edge", size["shortest_edge"]), None
    if isinstance(size, (int, float)) and not settings["default_to_square"]:
        return _edge("size", size), None
    return None, _height_width("size", size)


def _largest_square(settings: dict[str, Any]) -> int:
    """Edge that a processor gives to a square picture whose grid of patches it chooses."""
    most = settings["max_num_patches"]
    if type(most) is not int or not 1 <= most <= LARGEST_EDGE**2:
        raise _unexpected("max_num_patches", most, f"a whole number from 1 to {LARGEST_EDGE**2}")
    return _edge("patch_size", settings["patch_size"]) * math.isqrt(most)


def _crop(settings: dict[str, Any]) -> tuple[int, int]:
    return _height_width("crop_size", settings["crop_size"])


def _height_width(key: str, value: Any) -> tuple[int, int]:
    """Two edges from an int, a pair or a dictionary."""
    if isinstance(value, dict) and set(_present(value)) == {"height", "width"}:
        return _edge(f"{key}.height", value["height"]), _edge(f"{key}.width", value["width"])
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return _edge(f"{key}[0]", value[0]), _edge(f"{key}[1]", value[1])
    if isinstance(value, (int, float)):
        return _edge(key, value), _edge(key, value)
    choices = "a number, {height, width}" + (" or {shortest_edge}" if key == "size" else "")
    raise _unexpected(key, value, choices)


def _present(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None}


def _edge(key: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= LARGEST_EDGE:
        raise _unexpected(key, value, f"a whole number of pixels, 1 to {LARGEST_EDGE},")
    return value


def _positive(key: str, value: Any) -> float:
    if type(value) not in (int, float) or not SMALLEST_NUMBER <= value <= LARGEST_NUMBER:
        raise _unexpected(key, value, f"a number from {SMALLEST_NUMBER:g} to {LARGEST_NUMBER:g}")
    return float(value)


def _resample(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value not in FILTERS:
        raise _unexpected("resample", value, "one of Pillow's filters, 0 to 5,")
    return int(value)  # from PIL.Image.Resampling too


def _three(key: str, value: Any, divisor: bool = False) -> tuple[float, float, float]:
    """One number per channel; a single one stands for all three."""
    numbers = [value] * 3 if isinstance(value, (int, float)) else value
    if not isinstance(numbers, (list, tuple)) or len(numbers) != 3:
        raise _unexpected(key, value, "a list of three numbers")
    if any(type(number) not in (int, float) or not abs(number) <= LARGEST_NUMBER for number in numbers):
        raise _unexpected(key, value, f"a list of three numbers up to {LARGEST_NUMBER:g}")
    if divisor and any(number < SMALLEST_NUMBER for number in numbers):
        raise _unexpected(key, value, f"a list of three numbers from {SMALLEST_NUMBER:g}")
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


def fixed_size(prep: Preprocessing) -> tuple[int, ...] | None:
    """(height, width) of the `pixel_values`, or None where they depend on the picture.

    Example:
        >>> fixed_size(preprocessing_from_config({"crop_size": 336}, 336))
        (336, 336)
    """
    if prep.pad_to_square and prep.resize_shortest is not None:
        return prep.crop or (prep.resize_shortest, prep.resize_shortest)
    return prep.crop or prep.resize_exact


def _check_result(prep: Preprocessing, image_size: int | None) -> None:
    """The size of `pixel_values` must be the tower's, whatever the photo."""
    size = fixed_size(prep)
    if size is None:
        needed = "pixels of one size" if image_size is None else f"{image_size} x {image_size} pixels"
        raise SpecError(
            "the image processor neither crops nor resizes to a fixed size, so its result depends on the "
            f"photo; this model needs {needed}"
        )
    if image_size is not None and size != (image_size, image_size):
        raise SpecError(
            f"the image processor gives {size[0]} x {size[1]} pixels, and this model needs {image_size} x {image_size}"
        )


def _unexpected(key: str, value: Any, wanted: str) -> SpecError:
    return SpecError(f"the image processor setting '{key}' is {shown(value)}, and {wanted} was expected")
