"""Photos are decoded one after the other, however many there are: no command holds as many as a batch."""

import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vtp_export.benchmarks._lookup import examples_of
from vtp_export.pipeline.calibrate import calibrate
from vtp_export.pipeline.run import run
from vtp_export.pipeline.validate import validate
from vtp_export.precision.images import range_images
from vtp_export.runtime.front_end import load
from vtp_export.runtime.preprocess import clip_preprocessing

PHOTOS = 7


class Alive:
    """How many images that were opened are alive, and how many were at most."""

    def __init__(self):
        self.now = self.most = self.all = 0

    def add(self, image):
        self.now, self.all = self.now + 1, self.all + 1
        self.most = max(self.most, self.now)
        weakref.finalize(image, self.drop)

    def drop(self):
        self.now -= 1


@pytest.fixture
def alive(monkeypatch):
    counted, opened = Alive(), Image.open

    def counting(*place, **settings):
        image = opened(*place, **settings)
        counted.add(image)
        return image

    monkeypatch.setattr(Image, "open", counting)
    return counted


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i, photo in enumerate(np.random.default_rng(0).integers(0, 256, (PHOTOS, 50, 60, 3), dtype=np.uint8)):
        Image.fromarray(photo).save(folder / f"{i}.png")
    return folder


def calls(artefact, small_llava, photos, out):
    """Every way from a folder of photos."""
    with load(artefact) as front_end:
        yield lambda: front_end(photos)
        yield lambda: [kept for _, kept in front_end.stream(photos)]
    yield lambda: run(artefact, [photos], out=out / "r.npz", overlays=out / "o")
    yield lambda: validate(artefact, formats=["onnx"], benchmark=photos, report=out / "report")
    yield lambda: calibrate(small_llava, photos, out / "record.json")
    yield lambda: list(range_images(str(photos), None, clip_preprocessing(42)).batches())


def test_no_command_holds_a_batch_of_photos(artefact, small_llava, photos, tmp_path, alive):
    for call in calls(artefact, small_llava, photos, tmp_path):
        alive.most, alive.all = alive.now, 0
        result = call()
        assert alive.all >= PHOTOS and alive.now == 0 and result is not None
        assert alive.most <= 2  # the one that is read, and the one before it


def test_a_list_of_examples_holds_none(photos, alive):
    examples = [*examples_of(photos, None), *examples_of("photos", None)]
    assert alive.all == 0
    size = examples[-1].open().size
    assert min(size) > 0 and alive.now == 0


LARGE, CROWD = (4000, 3000), 12
GROWTH = """
import resource, sys
from vtp_export import load
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
artefact, photo, crowd = sys.argv[1:]
with load(artefact, "onnx", threads=1) as front_end:
    front_end([photo] * 2)
    before = peak()
    assert len(front_end([photo] * int(crowd)).kept) == int(crowd)
    print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count in other units")
def test_the_megabytes_are_those_of_a_photo_and_not_of_a_batch(artefact, tmp_path):
    Image.new("RGB", LARGE, (90, 120, 30)).save(tmp_path / "large.jpg")
    command = [sys.executable, "-c", GROWTH, artefact, tmp_path / "large.jpg", str(CROWD)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    one = 3 * LARGE[0] * LARGE[1] / 1024  # KiB of a photo that is decoded
    assert int(done.stdout) < 2 * one  # a batch would be ten more
