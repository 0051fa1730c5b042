"""Pictures of a model of any resolution: each has a size of its own, and a graph has one.

As `smart_resize` of transformers' Qwen2-VL, which all that came after it took over: both edges become multiples of a
token's, the shape stays as near as that allows, and the number of pixels is held between two bounds.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from vtp_export.errors import ImageError, SpecError, shown
from vtp_export.resolutions import AnyResolution, OtherSizes
from vtp_export.runtime.images import note
from vtp_export.runtime.processor_defaults import ANY_RESOLUTION, DEFAULTS
from vtp_export.spec import Preprocessing

MOST_PIXELS = 400_000_000
"""Of a picture, as everywhere: a processor that lets more pass is a mistake."""

LONGEST = 200
"""A picture may be so many times as long as wide."""


def sized(size: tuple[int, int], rule: AnyResolution, name: str = "the picture") -> tuple[int, int]:
    """What a model of any resolution makes of a picture.

    Args:
        size: (width, height) of the picture in pixels, at least 1.
        rule: the model's.
        name: of the picture, for messages.

    Returns:
        (height, width) in pixels.

    Raises:
        ImageError: the picture is more than `LONGEST` times as long as wide.

    Example:
        >>> sized((1280, 720), AnyResolution(token=28, min_pixels=3136, max_pixels=12845056))
        (728, 1288)
    """
    width, height = size
    if max(size) > LONGEST * min(size):
        raise ImageError(
            f"{name} has {width} x {height} pixels; this model takes pictures up to {LONGEST} times as long as wide: "
            "crop it first"
        )
    edge = rule.token
    high, wide = round(height / edge) * edge, round(width / edge) * edge
    if high * wide > rule.max_pixels:
        shrink = math.sqrt(height * width / rule.max_pixels)
        high, wide = (max(edge, math.floor(side / shrink / edge) * edge) for side in (height, width))
    elif high * wide < rule.min_pixels:
        grow = math.sqrt(rule.min_pixels / (height * width))
        high, wide = (math.ceil(side * grow / edge) * edge for side in (height, width))
    return high, wide


def placed(
    size: tuple[int, int], rule: AnyResolution, built: Sequence[tuple[int, int]], name: str = "the picture"
) -> tuple[int, int]:
    """Which of the sizes that graphs were built for a picture gets.

    Args:
        size: (width, height) of the picture in pixels, at least 1.
        rule: the model's; of `others` it says what becomes of a picture whose own size is none of them.
        built: (height, width) in pixels, at least one.
        name: of the picture, for messages.

    Returns:
        One of `built`: its own, or else that of nearest shape; of several such the nearest in area.

    Raises:
        ImageError: its own is none of them, and others are refused; or it is too long.
    """
    own = sized(size, rule, name)
    if own in built:
        return own
    nearest = min(built, key=lambda edges: _distance(edges, size, own))
    if rule.others == "measured":
        return nearest
    makes, *grids = [" x ".join(str(edge // rule.token) for edge in edges) for edges in (own, *built)]
    told = f"{name}, {size[0]} x {size[1]} pixels, makes {makes} tokens, and this artefact was built for "
    told += grids[0] if len(grids) == 1 else f"{', '.join(grids[:-1])} and {grids[-1]}"
    if rule.others == "stretched":
        note(f"{told}: it is stretched" + ("" if len(built) == 1 else f" to {grids[built.index(nearest)]}"))
        return nearest
    raise ImageError(
        f"{told}; give pictures of about {nearest[1]} x {nearest[0]} pixels, export with another --image-size, or let "
        "it be stretched (--nearest-grid)"
    )


def _distance(edges: tuple[int, int], size: tuple[int, int], own: tuple[int, int]) -> tuple[float, int]:
    """How far a (height, width) is from the shape of a picture, and from the area that it gets itself."""
    shape = math.log(edges[1] / edges[0]) - math.log(size[0] / size[1])
    return round(abs(shape), 9), abs(edges[0] * edges[1] - own[0] * own[1])


def refuse_other_size(size: tuple[int, int], prep: Preprocessing, name: str = "the picture") -> None:
    """See that a graph was built for a picture, as every picture is where a model has one size; see `placed`."""
    if prep.any_resolution is not None:
        assert prep.resize_exact is not None  # the manifest says so
        height, width = prep.resize_exact
        placed(size, prep.any_resolution, [(height, width)], name)


def stretching(prep: Preprocessing, others: OtherSizes = "measured") -> Preprocessing:
    """The same, and a picture of another grid is stretched to the one that was built; see `AnyResolution`."""
    if prep.any_resolution is None:
        return prep
    return dataclasses.replace(prep, any_resolution=dataclasses.replace(prep.any_resolution, others=others))


def resolution_from_config(config: dict[str, Any]) -> AnyResolution:
    """Read what a `preprocessor_config.json` says of sizes, as `Qwen2VLImageProcessor` reads it.

    Args:
        config: the parsed JSON; what it leaves out, or sets to null, is the default of transformers' class.

    Raises:
        SpecError: bounds or edges that cannot be, or pictures that keep the size they have.
    """
    defaults = DEFAULTS[ANY_RESOLUTION]
    given = {key: value for key, value in config.items() if value is not None}
    bounds = given.get("size", defaults["size"])
    bounds = dict(bounds) if isinstance(bounds, dict) else {}
    for name, edge in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
        if name in given:
            bounds[edge] = given[name]
    least, most = bounds.get("shortest_edge"), bounds.get("longest_edge")
    if type(least) is not int or type(most) is not int or not 1 <= least <= most <= MOST_PIXELS:
        raise SpecError(
            f"it bounds a picture's pixels by {shown(least)} and {shown(most)} (size.shortest_edge and "
            f"size.longest_edge, or min_pixels and max_pixels); two whole numbers from 1 to {MOST_PIXELS} are needed"
        )
    if given.get("do_resize", True) is not True:
        raise SpecError("do_resize is off, so that every picture keeps its own size; this model needs it on")
    patch, merge = (given.get(name, defaults[name]) for name in ("patch_size", "merge_size"))
    if any(type(edge) is not int or not 1 <= edge <= 1 << 10 for edge in (patch, merge)):
        raise SpecError(f"patch_size and merge_size are {shown(patch)} and {shown(merge)}; whole numbers are needed")
    return AnyResolution(token=patch * merge, min_pixels=least, max_pixels=most)
