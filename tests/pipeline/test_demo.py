"""The demo, on fewer scenes than it shows people."""

import pytest
from PIL import Image

from vtp_export.errors import ArtefactError
from vtp_export.pipeline import demo


@pytest.mark.whole
def test_demo_makes_everything_and_may_be_repeated(monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "IMAGES", 6)
    out = tmp_path / "out"
    for _ in range(2):
        report = demo.demo(out)
        assert report.validation.passed
        assert {c.name for c in report.validation.answers} == {"answers of onnx", "answers of torchscript"}
        assert report.page.read_text().count("<figure>") >= 6
        with Image.open(report.picture) as picture:
            assert picture.width > 200
        assert report.next_command.startswith("vtp-export compare tiny-llava")


def test_demo_keeps_its_hands_off_other_folders(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ArtefactError, match="not an earlier demo"):
        demo.demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
