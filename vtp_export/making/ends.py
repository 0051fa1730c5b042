"""Pictures from both ends of a calibration, with the tokens that are kept of them."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from vtp_export.calibration.columns import Columns
from vtp_export.calibration.corruptions.every import Corrupting
from vtp_export.calibrations import CalibrationRecord
from vtp_export.making.calibrating import Calibration, Keeper
from vtp_export.reports.calibration_page import End
from vtp_export.reports.overlay import overlay_of_views
from vtp_export.runtime.images import rgb_from_image
from vtp_export.runtime.preprocess import model_views, values_of
from vtp_export.runtime.resolution import stretching

EACH = 3
"""Pictures from either end."""


def ends(calibration: Calibration, record: CalibrationRecord, columns: Columns) -> Iterator[End]:
    """The simplest pictures and the most complex ones, by erank (else by entropy); of corruptions the middle one too.

    One picture is in memory at a time, if they are taken so.
    """
    clean = columns.clean()
    names, means = clean.per_picture()
    positions = np.unique(clean.position)
    order = np.argsort(next(iter(means.values())), kind="stable")
    chosen = list(dict.fromkeys([*order[:EACH].tolist(), *order[-EACH:].tolist()]))
    middle = int(order[len(order) // 2]) if isinstance(calibration.decoder.change, Corrupting) else None
    keeper = calibration.keeper(record)
    for place in chosen if middle is None else [middle, *(one for one in chosen if one != middle)]:
        position = int(positions[place])
        image = rgb_from_image(next(iter(calibration.pictures.at([position]))).open())
        changed = tuple(calibration.decoder.change(image, position)) if place == middle else ()
        yield End(
            name=names[place],
            numbers={name: float(values[place]) for name, values in means.items()},
            image=image,
            lit=None if keeper is None else _lit(calibration, keeper, image),
            corrupted=tuple(zip(calibration.origin.corruptions, changed, strict=False)) if changed else (),
        )


def _lit(calibration: Calibration, keeper: Keeper, image: Image.Image) -> Image.Image:
    prep = stretching(calibration.decoder.preprocessing)
    views = model_views(image, prep)
    kept = [one for view in views for one in keeper.kept(values_of(view[None], prep))]
    return overlay_of_views(image, kept, keeper.layout, prep)
