import dataclasses
import itertools

import numpy as np
import pytest
from PIL import Image

from vtp_export.errors import SpecError
from vtp_export.reports.overlay import EDGE, cells, contact_sheet, overlay
from vtp_export.runtime.preprocess import clip_preprocessing
from vtp_export.spec import Candidates, Layout

GRID = Layout(candidates=Candidates((4, 4)), image_size=(28, 28), patch=(7, 7), keep=2, slots=2)
PREP = clip_preprocessing(56)
RED = (220, 60, 40)


def lit_cells(picture: Image.Image, box: tuple[float, float, float, float]) -> list[int]:
    """Patches of the 4 x 4 that have the photo's own colour all over, box given in parts of the picture.

    Each is looked at in nine places, which must agree.
    """
    pixels = np.asarray(picture)
    found = []
    for cell in range(16):
        seen = set()
        for across, down in itertools.product((0.06, 0.5, 0.94), repeat=2):
            x = box[0] + (box[2] - box[0]) * (cell % 4 + across) / 4
            y = box[1] + (box[3] - box[1]) * (cell // 4 + down) / 4
            if 0 <= x < 1 and 0 <= y < 1:
                pixel = pixels[int(y * picture.height), int(x * picture.width)]
                seen.add(bool(np.abs(pixel.astype(int) - RED).max() < 8))
        assert len(seen) <= 1, f"patch {cell} is lit in part"
        found += [cell] * (seen == {True})
    return found


@pytest.mark.parametrize(
    ("size", "pad", "box"),
    [
        ((600, 600), False, (0, 0, 1, 1)),
        ((800, 400), False, (0.25, 0, 0.75, 1)),
        ((400, 800), False, (0, 0.25, 1, 0.75)),
        ((800, 400), True, (0, -0.5, 1, 1.5)),
        ((40, 30), False, (0.125, 0, 0.875, 1)),
    ],
)
def test_patches_lie_where_the_model_saw_them(
    size: tuple[int, int], pad: bool, box: tuple[float, float, float, float]
) -> None:
    prep = dataclasses.replace(PREP, pad_to_square=pad)
    photo = Image.new("RGB", size, RED)
    for position in range(16):
        picture = overlay(photo, np.array([position]), GRID, prep)
        inside = not pad or 4 <= position < 12  # with padding the outer rows lie off the photo
        assert lit_cells(picture, box) == ([position] if inside else [])


@pytest.mark.parametrize("size", [31, 34])
def test_what_is_no_whole_patch_was_not_seen(size: int) -> None:
    """A tower of 31 pixels and patches of 7 reads 28 of them, from the left and the top; of 34 as many."""
    layout, prep = dataclasses.replace(GRID, image_size=(size, size)), clip_preprocessing(size)
    photo, covered = Image.new("RGB", (size * 20, size * 20), RED), 28 / size
    for position in range(16):
        picture = overlay(photo, np.array([position]), layout, prep)
        assert lit_cells(picture, (0, 0, covered, covered)) == [position]
        beyond = picture.getpixel((size * 20 - 5, 300))
        assert max(beyond) < min(200, max(picture.getpixel((2, 2 if position else 559))))
        boxes = cells(photo, layout, prep, picture.size)
        assert boxes[position] == pytest.approx((x := position % 4 * 140, y := position // 4 * 140, x + 140, y + 140))


def test_what_was_kept_is_untouched_and_the_rest_grows_darker() -> None:
    photo = Image.new("RGB", (800, 400), RED)
    pixels = np.asarray(overlay(photo, np.array([5]), GRID, PREP)).astype(int)
    kept, dropped, unseen = pixels[150, 350], pixels[350, 550], pixels[200, 50]
    assert tuple(kept) == RED
    assert kept.sum() > 1.8 * dropped.sum() > 3 * unseen.sum()
    assert np.ptp(dropped) < np.ptp(kept) / 3  # paler


def test_regions_are_outlined_once() -> None:
    picture = np.asarray(overlay(Image.new("RGB", (512, 512), RED), np.array([5, 6]), GRID, PREP))
    gold = (picture == EDGE).all(axis=2)
    assert gold[128, 128:384].all()  # the top of both
    assert gold[255, 128:384].all()
    assert gold[128:256, 128].all()
    assert gold[128:256, 383].all()
    assert gold.sum() == 2 * 256 + 2 * 126  # nothing between the two
    picture = np.asarray(overlay(Image.new("RGB", (512, 512), RED), np.array([5, 6, 9, 10]), GRID, PREP))
    assert (picture == EDGE).all(axis=2).sum() == 4 * 256 - 4


def test_cls_is_no_patch_and_empty_slots_are_ignored() -> None:
    photo = Image.new("RGB", (512, 512), RED)
    with_cls = dataclasses.replace(GRID, candidates=Candidates((4, 4), cls=True))
    assert lit_cells(overlay(photo, np.array([0, 1, 16, -1]), with_cls, PREP), (0, 0, 1, 1)) == [0, 15]
    assert lit_cells(overlay(photo, np.array([0, 15, -1, -1]), GRID, PREP), (0, 0, 1, 1)) == [0, 15]
    assert lit_cells(overlay(photo, np.array([-1, -1]), GRID, PREP), (0, 0, 1, 1)) == []
    assert lit_cells(overlay(photo, np.array([], dtype=np.int64), GRID, PREP), (0, 0, 1, 1)) == []


@pytest.mark.parametrize("position", [16, -2, 10**9])
def test_positions_off_the_grid_are_refused(position: int) -> None:
    with pytest.raises(SpecError, match=f"position {position} is not among this layout's 16"):
        overlay(Image.new("RGB", (64, 64)), np.array([position]), GRID, PREP)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((1, 1), (512, 512)),
        ((40, 30), (512, 384)),
        ((900, 700), (900, 700)),
        ((6000, 4000), (1600, 1067)),
        ((2000, 7), (1600, 6)),
    ],
)
def test_sizes(size: tuple[int, int], shown: tuple[int, int]) -> None:
    picture = overlay(Image.new("RGB", size), np.arange(16), GRID, PREP)
    assert picture.size == shown
    assert picture.mode == "RGB"


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "I;16"])
def test_modes_and_the_photo_is_not_changed(mode: str) -> None:
    photo = Image.new(mode, (60, 40))
    before = photo.tobytes()
    overlay(photo, np.array([3]), GRID, PREP)
    assert photo.tobytes() == before
    assert photo.mode == mode


def test_contact_sheet_holds_every_picture() -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    sizes = [(80, 40), (40, 80), (9, 9)]
    wide, tall, square = (Image.new("RGB", *each) for each in zip(sizes, colours, strict=True))
    sheet = np.asarray(contact_sheet([[("one", wide), ("two " * 40, tall)], [], [("three", square)]]))
    areas = [int((sheet == colour).all(axis=2).sum()) for colour in colours]
    assert areas == [320 * 160, 160 * 320, 320 * 320]
    ink = np.flatnonzero((sheet == (33, 37, 41)).all(axis=2).any(axis=1))
    first, last = (np.flatnonzero((sheet == colours[1]).all(axis=2).any(axis=1))[[0, -1]]).tolist()
    below = np.flatnonzero((sheet == colours[2]).all(axis=2).any(axis=1))[0]
    assert (first, last) == (14, 333)
    assert ink.min() > last + 2  # a label stands clear of its own picture and of the next
    assert not ((ink > below - 2) & (ink < below + 322)).any()
    assert (sheet[:, :14] == 255).all()  # the margins stay free
    assert (sheet[:, -14:] == 255).all()


def test_contact_sheet_of_nothing() -> None:
    for rows in ([], [[]]):
        with pytest.raises(SpecError, match="at least one"):
            contact_sheet(rows)
