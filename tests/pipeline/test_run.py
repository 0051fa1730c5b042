"""`run`: photos and folders of them in, one batch in memory; what cannot be used is refused, or skipped and listed."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from vtp_export.errors import ArtefactError, ImageError, OutputError, SpecError
from vtp_export.pipeline.run import run
from vtp_export.reports.results import run_summary
from vtp_export.runtime.front_end import PrunedArtefact, load
from vtp_export.terminal import plain


@pytest.fixture
def photos(tmp_path):
    """A folder of five photos, one of them in a folder of its own."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for name in ("a.png", "b.jfif", "c.png", "d.png", "more/e.png"):
        Image.fromarray(noise.integers(0, 256, (50, 60, 3), dtype=np.uint8)).save(folder / name)
    return folder


def test_a_folder_stands_for_its_images(artefact, photos, tmp_path):
    report = run(artefact, [photos], out=tmp_path / "all.npz", overlays=tmp_path / "overlays")
    paths = sorted(photos.rglob("*.*"))
    assert [one.image for one in report.images] == [str(path) for path in paths]
    assert [one.overlay.name for one in report.images] == [f"00{i}-{path.stem}.png" for i, path in enumerate(paths)]
    with load(artefact) as front_end, np.load(tmp_path / "all.npz") as saved:
        output = front_end(paths)
        assert list(saved) == ["images", *output.arrays()]
        assert saved["images"].tolist() == [str(path) for path in paths]
        for name, array in output.arrays().items():
            assert saved[name].dtype == array.dtype
            assert np.allclose(saved[name], array, atol=1e-5)
    assert [one.kept for one in report.images] == [tuple(one.kept.tolist()) for one in output]


def test_it_is_told_what_ran_and_on_what(artefact, photos):
    for fmt, provider in (("onnx", "CPUExecutionProvider"), ("torchscript", None)):
        told = plain(run(artefact, [photos / "a.png"], format=fmt))
        assert (told["format"], told["device"], told["provider"]) == (fmt, "cpu", provider)
        assert len(told["images"][0]["kept"]) == told["images"][0]["num_kept"] == 8


def test_what_is_bad_stops_the_run_or_is_skipped_and_listed(artefact, photos, tmp_path, monkeypatch):
    (photos / "b.jfif").write_bytes(b"no image")
    dark = Image.new("L", (9, 9))
    dark.save(photos / "c.png")
    whole = PrunedArtefact.run

    def overflowing(self, pixels):
        """Of a photo that is black all over nothing finite comes out."""
        bad = [i for i, image in enumerate(pixels) if np.ptp(image[0]) == 0]
        if bad:
            raise OutputError("tokens", bad)
        return whole(self, pixels)

    monkeypatch.setattr(PrunedArtefact, "run", overflowing)
    with pytest.raises(ImageError, match=r"b\.jfif' is not an image"):
        run(artefact, [photos], out=tmp_path / "r.npz", overlays=tmp_path / "o")
    (photos / "b.jfif").rename(photos / "z.jfif")
    with pytest.raises(OutputError, match=r"'tokens' of '.*c\.png' is not finite"):
        run(artefact, [photos], out=tmp_path / "r.npz", overlays=tmp_path / "o")
    assert not (tmp_path / "r.npz").exists() and not (tmp_path / "o").exists()
    report = run(artefact, [photos], out=tmp_path / "r.npz", skip_bad=True)
    assert [one.image[-5:] for one in report.images] == ["a.png", "d.png", "e.png"]
    assert [one.image[-5:] for one in report.skipped] == ["c.png", ".jfif"]
    assert "is not an image" in report.skipped[1].reason and "finite" in report.skipped[0].reason
    assert run_summary(report)[1].title == "skipped, 2 of 5"
    assert json.loads(json.dumps(plain(report)))["skipped"][0]["image"].endswith("c.png")
    with np.load(tmp_path / "r.npz") as saved:
        assert len(saved["images"]) == len(saved["tokens"]) == 3
    with pytest.raises(ImageError, match=r"none of 1 images can be used; of the first: '.*z\.jfif' is not"):
        run(artefact, [photos / "z.jfif"], skip_bad=True)


def test_places_that_cannot_be_written_are_one_sentence(artefact, photos, tmp_path):
    (tmp_path / "file").touch()
    for places in (
        {"out": tmp_path / "file" / "r.npz"},
        {"overlays": tmp_path / "file"},
        {"overlays": tmp_path / "file" / "o"},
    ):
        with pytest.raises(ArtefactError, match="cannot write"):
            run(artefact, [photos / "a.png"], **places)
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_what_is_read_is_not_written_over(artefact, photos, tmp_path):
    there = shutil.copytree(artefact, tmp_path / "there")
    (photos / "c.png").rename(photos / "001-b.png")
    for places in ({"out": photos / "a.png"}, {"out": there / "model.onnx"}, {"out": there / "golden" / "arrays.npz"}):
        before = places["out"].read_bytes()
        with pytest.raises(SpecError, match="is read here, and would be written over"):
            run(there, [photos / "a.png"], **places)
        assert places["out"].read_bytes() == before
    with pytest.raises(SpecError, match=r"001-b\.png' is read here"):
        run(there, [photos / "001-b.png", photos / "b.jfif"], out=tmp_path / "r.npz", overlays=photos)
    assert not (tmp_path / "r.npz").exists() and len(list(photos.iterdir())) == 5


def test_a_photo_of_the_longest_name_is_drawn(artefact, photos, tmp_path):
    for name in ("x" * 251, "é" * 125):
        (photo,) = [(photos / "a.png").rename(photos / f"{name}.png")]
        (drawn,) = run(artefact, [photo], overlays=tmp_path / "o").images
        assert drawn.overlay.name.startswith(f"000-{name[:100]}") and drawn.overlay.is_file()
        photo.rename(photos / "a.png")
