"""The complexity that a setting asks for, and what is usual of it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from vtp_export import rooms
from vtp_export.calibrations import calibration_from_json
from vtp_export.errors import SpecError
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.graphs.assembly import source_of
from vtp_export.pruners._complexity import KINDS, SIGNALS, calibrated, complexity_of
from vtp_export.reference import erank as reference
from vtp_export.reference.base import Signals
from vtp_export.settings import from_settings
from vtp_export.spec import Candidates


@pytest.fixture(scope="module")
def tokens():
    random = np.random.default_rng(0)
    projected = torch.from_numpy(random.standard_normal((2, 24, 16)) + 1)
    return Tokens(projected, projected=projected, saliency=torch.from_numpy(random.random((2, 24))))


def signals(tokens, image, **fields):
    arrays = {name: getattr(tokens, name)[image].numpy() for name in ("hidden", "projected", "saliency")}
    return Signals(candidates=Candidates((4, 6)), **arrays, **fields)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("center", [True, False])
def test_it_is_that_of_the_reference(tokens, kind, center):
    settings = {"complexity": kind, "center": center}
    expected = [reference.complexity_of(signals(tokens, image), settings) for image in range(2)]
    assert complexity_of(kind, tokens, center).tolist() == pytest.approx(expected, rel=1e-4)


def test_the_kinds_differ(tokens):
    found = {complexity_of("erank", tokens, c)[0].item() for c in (True, False)}
    assert len({*found, complexity_of("entropy", tokens)[0].item()}) == 3


def test_what_is_known_is_not_measured(tokens):
    settings = {"complexity": "erank", "center": True}
    assert reference.complexity_of(signals(tokens, 0, complexity=7.0), settings) == 7.0


def test_a_kind_reads_its_signal_alone(tokens):
    for kind, one in KINDS.items():
        others = {name: None for name in SIGNALS if name != one.signal}
        assert torch.equal(complexity_of(kind, tokens._replace(**others)), complexity_of(kind, tokens))
        assert one.output in Selection._fields
        assert one.low < one.average < one.high


def test_a_record_is_read_by_kind():
    record = calibration_from_json((Path(source_of("tiny-llava")) / "calibration.json").read_text())
    assert calibrated("erank", record) == record.measures["erank"]
    assert calibrated("erank", record, center=False) == record.measures["erank_uncentred"] != record.measures["erank"]
    entropy = record.measures["attention_entropy"]
    assert calibrated("entropy", record) == calibrated("entropy", record, center=False) == entropy


def test_a_record_may_lack_a_measure():
    """One that was made with an artefact."""
    record = calibration_from_json((Path(source_of("tiny-llava")) / "calibration.json").read_text())
    poor = dataclasses.replace(record, engine="onnx", measures={"erank": record.measures["erank"]})
    assert calibrated("erank", poor) == record.measures["erank"]
    with pytest.raises(SpecError, match="has no attention_entropy: it was measured with onnx"):
        calibrated("entropy", poor)


IDLE = [
    ("adaptive", {"average": 0.5}, True),
    ("adaptive", {"average": 1e9}, True),
    ("adaptive", {"average": 0.5, "count": "adaptive"}, True),
    ("adaptive", {"average": 60, "count": "adaptive", "tau": 0.1}, False),
    ("adaptive", {"complexity": "entropy", "step": 1}, True),
    ("adaptive", {"complexity": "entropy"}, False),
    ("adaptive", {"tau": 0.1}, False),
    ("adaptive", {}, False),
    ("vispruner", {"ratio": "adaptive", "low": 200, "high": 300}, True),
    ("bat", {"ratio": "inverse", "low": 1, "high": 2}, True),
    ("fastervlm_divprune", {"ratio": "adaptive", "most": 0.5, "least": 0.5}, True),
    ("vispruner", {"ratio": "adaptive"}, False),
    ("bat", {}, False),
    ("fastervlm", {}, False),
]


@pytest.mark.parametrize(("pruner", "settings", "told"), IDLE)
def test_settings_with_which_the_measure_decides_nothing_are_told(pruner, settings, told):
    config = from_settings(rooms.load("pruners", pruner).Config, settings)
    sentence = config.idle(Candidates((24, 24)))
    assert (sentence is not None) is told
    if told:
        assert "decides nothing with these settings: images of" in sentence
