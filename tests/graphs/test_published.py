"""Published numbers are LLaVA-1.5's, and taken for no other model in silence."""

import pytest

from tests.laws.checkpoints.siglip_vision_model import siglip_vision_model
from vtp_export.errors import SpecError, VtpWarning
from vtp_export.graphs.assembly import assemble, calibration_for, load_model, needs_of
from vtp_export.pipeline.calibrate import calibrate


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    return siglip_vision_model(tmp_path_factory.mktemp("siglip"))


@pytest.mark.parametrize("settings", [{}, {"complexity": "entropy"}, {"count": "adaptive"}])
def test_another_model_has_no_average(siglip, settings):
    model = load_model(siglip, needs_of("adaptive", settings))
    with pytest.raises(SpecError, match=r"only LLaVA-1\.5's is published, .* 'vtp-export calibrate .* --images photos"):
        assemble(model, "adaptive", {"keep": 4, **settings})


def test_its_own_record_or_a_number_of_the_user_will_do(siglip, tmp_path):
    model = load_model(siglip, needs_of("adaptive", {}))
    with pytest.warns(VtpWarning, match="images are prepared as for Google's SigLIP, at 28 pixels"):
        record = calibrate(siglip, "shapes", tmp_path / "record.json", limit=3)
    measured, _ = calibration_for(model, tmp_path / "record.json", "adaptive", {})
    assembly = assemble(model, "adaptive", {"keep": 4}, measured)
    assert assembly.pruner.settings["average"] == pytest.approx(record.measures["erank"].mean)
    assert assemble(model, "adaptive", {"keep": 4, "average": 7.5}).pruner.settings["average"] == 7.5


def test_methods_without_such_a_number_do_not_ask(siglip):
    model = load_model(siglip, needs_of("fastervlm", {}))
    assert assemble(model, "fastervlm", {"keep": 4}).layout.slots == 4


@pytest.mark.parametrize("name", ["toy", "tiny-llava"])
def test_a_llava_goes_by_the_published_one(name):
    model = load_model(name, needs_of("adaptive", {}))
    assert assemble(model, "adaptive", {"keep": 4}).pruner.settings["average"] == 90.0
