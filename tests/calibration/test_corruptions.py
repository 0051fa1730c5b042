"""The fifteen corruptions: those that draw nothing equal a maintained package's, the others are as strong as its."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vtp_export.benchmarks.photos import Benchmark as Photos
from vtp_export.calibration.corruptions.every import FROST, GLOBAL, KINDS, LOCAL, Corrupting, corrupted, corrupting
from vtp_export.errors import ImageError, SpecError, VtpError, VtpWarning

CERTAIN = ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
"""Those that draw nothing."""


def photo(name="chelsea", size=(160, 120)):
    example = next(one for one in Photos().examples(None) if one.name == name)
    return example.open().convert("RGB").resize(size)


@pytest.fixture(scope="module")
def ice(tmp_path_factory):
    """A folder of two pictures in the place of frost."""
    folder = tmp_path_factory.mktemp("frost")
    for number in range(2):
        Image.effect_noise((90, 70), 90).convert("RGB").save(folder / f"{number}.png")
    return folder


def change(image, kind, severity, seed, frost):
    made = corrupted(image, kind, severity, np.random.default_rng(seed), sorted(frost.iterdir()))
    return np.abs(np.asarray(made).astype(float) - np.asarray(image)).mean()


@pytest.mark.parametrize("kind", KINDS)
def test_a_corruption_is_drawn_by_its_generator_alone_and_grows_with_its_severity(kind, ice):
    image = photo()
    np.random.seed(1)
    paths = sorted(ice.iterdir())
    one, two = (corrupted(image, kind, 2, np.random.default_rng(7), paths) for _ in range(2))
    assert one.mode == "RGB" and one.size == image.size and one.tobytes() == two.tobytes()
    other = corrupted(image, kind, 2, np.random.default_rng(8), paths)
    assert (other.tobytes() == one.tobytes()) == (kind in CERTAIN)
    weak, strong = (np.mean([change(image, kind, level, seed, ice) for seed in range(3)]) for level in (1, 5))
    assert 0 < weak < strong


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (33, 47), (300, 9)])
@pytest.mark.parametrize("severity", [1, 5])
def test_pictures_of_any_size_are_corrupted(size, severity, ice):
    image = photo(size=size)
    for kind in KINDS:
        made = corrupted(image, kind, severity, np.random.default_rng(0), sorted(ice.iterdir()))
        assert made.size == size, kind


def test_every_form_depends_on_the_place_of_its_picture_alone(ice):
    corrupt = corrupting([1, 3], ice)
    assert len(corrupt.cases) == 30 and corrupt.cases[15] == ("gaussian_noise", 3)
    image = photo(size=(64, 48))
    few = Corrupting((("fog", 3), ("snow", 1)))
    fog, snow = few(image, 5)
    every = dict(zip(corrupt.cases, (one.tobytes() for one in corrupt(image, 5)), strict=True))
    assert every["fog", 3] == fog.tobytes() and every["snow", 1] == snow.tobytes()
    assert next(few(image, 6)).tobytes() != fog.tobytes()
    assert set(GLOBAL) | set(LOCAL) <= set(KINDS) and not set(GLOBAL) & set(LOCAL)


def test_without_a_folder_of_frost_that_kind_is_left_out(tmp_path):
    with pytest.warns(VtpWarning, match="frost is left out"):
        assert FROST not in dict(corrupting([1], None).cases)
    with pytest.raises(ImageError, match="no images below"):
        corrupting([1], tmp_path)


@pytest.mark.parametrize("severities", [[], [0], [6], [1, 1], ["3"], [2.5]])
def test_severities_are_some_of_five(severities, ice):
    with pytest.raises(VtpError, match="severit") as caught:
        corrupting(severities, ice)
    assert isinstance(caught.value, SpecError)


# Another implementation: the package imagecorruptions-imaug, which brings OpenCV and numba

needs_oracle = pytest.mark.skipif(
    importlib.util.find_spec("imagecorruptions") is None,
    reason="needs imagecorruptions-imaug in an environment of its own",
)


def theirs(image, kind, severity, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from imagecorruptions import corrupt

        np.random.seed(seed)
        pixels = np.asarray(image)
        own = {"seed": seed} if kind in ("impulse_noise", "glass_blur") else {}
        return corrupt(pixels, severity=severity, corruption_name=kind, **own).astype(float)


@needs_oracle
@pytest.mark.whole
@pytest.mark.parametrize("severity", range(1, 6))
@pytest.mark.parametrize("kind", KINDS)
def test_they_are_those_of_another_implementation(kind, severity):
    import imagecorruptions

    frost = sorted((Path(imagecorruptions.__file__).parent / "frost").iterdir())
    image = photo(size=(200, 150))
    clean = np.asarray(image).astype(float)
    if kind in CERTAIN:
        made = np.asarray(corrupted(image, kind, severity, np.random.default_rng(0))).astype(float)
        apart = np.abs(made - theirs(image, kind, severity, 0))
        assert apart.max() <= 1 and apart.mean() < 0.05
        return
    seeds = range(24)
    mine = [np.asarray(corrupted(image, kind, severity, np.random.default_rng(s), frost)).astype(float) for s in seeds]
    other = [theirs(image, kind, severity, seed) for seed in seeds]
    for measure in (
        lambda x: np.abs(x - clean).mean(),
        lambda x: (x - clean).mean(),
        lambda x: np.abs(np.diff(x, axis=1)).mean(),
    ):
        ours, their = ([measure(x) for x in made] for made in (mine, other))
        spread = np.sqrt((np.var(ours) + np.var(their)) / len(ours))
        assert abs(np.mean(ours) - np.mean(their)) <= 4 * spread + 0.05, (np.mean(ours), np.mean(their), spread)
