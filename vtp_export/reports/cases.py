"""The worst cases of a validation as pictures: what both sides keep, over the photo, and where they part."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from vtp_export.errors import ImageError
from vtp_export.parity.verdict import Comparison, Difference
from vtp_export.progress import Progress
from vtp_export.reports.overlay import cells, overlay
from vtp_export.reports.page import Picture, embedded
from vtp_export.runtime.images import ImageLike
from vtp_export.runtime.resolution import stretching
from vtp_export.spec import Candidates, Layout, Preprocessing

MOST = 12
"""Cases that a page draws; all of them are in its table."""

LISTED = 12
"""Tokens that are told one by one."""

SIDES = ((56, 132, 255), (255, 106, 19))
"""Colours of what the first side keeps alone, and the second: blue and orange, told apart by nearly everybody."""

IN_A_BATCH = re.compile(r" as image \d+ of a batch of \d+$")

Source = Callable[[str], tuple[ImageLike, int] | None]
"""From the name of an image to its photo and the number of the view; None where there is no such photo."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One image on which two selections differ.

    margin: how much of what rounding may do explains it, or that nothing does. reasons: of the tokens that one side
    keeps alone, what the reference makes of each. pictures: of both sides; none where there is no photo to draw on.
    """

    comparison: str
    image: str
    explained: bool
    margin: str
    parting: tuple[str, str]
    reasons: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()


def differing(comparisons: Sequence[Comparison]) -> list[tuple[Comparison, Difference]]:
    """Every difference: what nothing explains first, then by how much it takes to explain it."""
    pairs = [(comparison, difference) for comparison in comparisons for difference in comparison.differences]

    def ease(pair: tuple[Comparison, Difference]) -> float:
        witness = pair[1].witness
        return float("inf") if witness is None else witness.scale

    return sorted(pairs, key=ease, reverse=True)


def cases(
    comparisons: Sequence[Comparison], source: Source, layout: Layout, prep: Preprocessing, progress: Progress
) -> Iterator[Case]:
    """All of them, the worst ones with pictures.

    Args:
        comparisons: that are judged.
        source: where the photos are.
        layout: how positions map to patches.
        prep: how the photos were preprocessed.
        progress: told of every picture.
    """
    pairs, drawn = differing(comparisons), 0
    for done, (comparison, difference) in enumerate(pairs):
        pictures: tuple[Picture, ...] = ()
        if drawn < MOST:
            progress("drawing what differs", done, min(len(pairs), MOST))
            pictures = _pictures(comparison, difference, source, layout, prep)
            drawn += bool(pictures)
        alone = difference.only_expected, difference.only_found
        yield Case(
            comparison=comparison.name,
            image=difference.image,
            explained=difference.witness is not None,
            margin=margin(difference),
            parting=(places(alone[0], layout.candidates), places(alone[1], layout.candidates)),
            reasons=difference.reasons,
            pictures=pictures,
        )


def margin(difference: Difference) -> str:
    """How far the signals have to move for the method to decide so."""
    if (witness := difference.witness) is None:
        return "nothing within the rounding noise explains it"
    moved = " and ".join(f"{name} by {size:.1e}" for name, size in witness.moved.sizes.items() if size > 0)
    way = f"a movement of {moved}" if moved else "another rounding of the measure"
    return f"explained by {way}: {witness.scale:.0%} of what rounding may do"


def places(tokens: Sequence[int], candidates: Candidates) -> str:
    """Tokens in words, with their cells.

    Example:
        >>> places((0, 7), Candidates((2, 3), cls=True)), places((), Candidates((2, 3)))
        ('CLS, 7 (row 2, column 0)', 'none')
    """
    first, (_, columns) = int(candidates.cls), candidates.grid
    told = []
    for token in tokens[:LISTED]:
        row, column = divmod(token - first, columns)
        told.append("CLS" if token < first else f"{token} (row {row}, column {column})")
    more = [f"{len(tokens) - LISTED} more"] if len(tokens) > LISTED else []
    return ", ".join(told + more) or "none"


def sides(name: str) -> tuple[str, str]:
    """What is trusted in a comparison, and what is judged by it.

    Example:
        >>> sides("onnx against graph"), sides("onnx in batches of other sizes against itself")
        (('graph', 'onnx'), ('onnx before', 'onnx in batches of other sizes'))
    """
    judged, _, trusted = name.partition(" against ")
    return f"{judged.partition(' in batches')[0]} before" if trusted == "itself" else trusted, judged


def _pictures(
    comparison: Comparison, difference: Difference, source: Source, layout: Layout, prep: Preprocessing
) -> tuple[Picture, ...]:
    """Both sides; where they keep the same places, in another order or mixture, once."""
    name = IN_A_BATCH.sub("", difference.image)
    if (found := source(name)) is None:
        return ()
    photo, view = found
    drawn = []
    alone = difference.only_expected, difference.only_found
    for side, only, colour in zip(sides(comparison.name), alone, SIDES, strict=True):
        kept = np.array(sorted((*difference.common, *only)), dtype=np.int64)
        try:
            image = overlay(photo, kept, layout, prep, view)
            frame(image, photo, only, layout, prep, view, colour)
        except ImageError:  # it went when it was to be drawn
            return ()
        caption = f"{side}: {len(kept)} tokens, {len(only)} that the other does not keep"
        alt = f"{name} with the {len(kept)} tokens that {side} keeps lit; outlined: {places(only, layout.candidates)}"
        drawn.append(embedded(image, alt, name, caption))
    return tuple(drawn)


def frame(  # noqa: PLR0913 (one place)
    image: Image.Image,
    photo: ImageLike,
    tokens: Sequence[int],
    layout: Layout,
    prep: Preprocessing,
    view: int,
    colour: tuple[int, int, int],
) -> None:
    """Frame tokens of one view on its overlay, in place.

    Args:
        image: of `overlay`.
        photo: as for `overlay`, as `layout`, `prep` and `view`.
        tokens: candidate positions.
        layout: how they map to patches.
        prep: how the photo was preprocessed.
        view: which.
        colour: of the frames.
    """
    boxes, first = cells(photo, layout, stretching(prep), image.size, view), int(layout.candidates.cls)
    draw, thick = ImageDraw.Draw(image), max(3, round(max(image.size) / 150))
    for token in tokens:
        if token >= first:
            left, top, right, bottom = boxes[token - first]
            draw.rectangle(
                (left - thick, top - thick, right + thick - 1, bottom + thick - 1), outline=colour, width=thick
            )
