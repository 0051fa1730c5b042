"""How a model gives every picture a size of its own: part of a manifest. Standard library only."""

from dataclasses import dataclass
from typing import Literal

OtherSizes = Literal["refused", "stretched", "measured"]
"""See `AnyResolution`."""


@dataclass(frozen=True, kw_only=True)
class AnyResolution:
    """How a model gives every picture a size of its own, see `runtime.resolution`.

    token: edge in pixels of a token, of which sizes are multiples. min_pixels, max_pixels: bounds of a picture's area.
    others: pictures of another size than the graph's are refused, as a manifest says; stretched to it, with a note; or
        measured: stretched without one, where a model is looked at and not a picture.
    """

    token: int
    min_pixels: int
    max_pixels: int
    others: OtherSizes = "refused"
