"""Every pruner on every family: the graph does what the reference does, or the pruner is refused with its reason."""

import functools
import zlib

import numpy as np
import pytest

from tests.laws.families import checkpoints_of, load_family
from vtp_export import rooms
from vtp_export.errors import ModelError
from vtp_export.graphs.assembly import assemble, needs_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.parity.judge import judge_of
from vtp_export.parity.noise import arithmetic_noise, signals_of
from vtp_export.parity.tally import Tally

KEEP = 5
REFUSED = {
    ("siglip", "visionzip"): "made with a CLS token",
    ("siglip", "prunesid"): "made with a CLS token",
    ("siglip", "prumerge"): "made with a CLS token",
    ("siglip", "prumerge_plus"): "made with a CLS token",
    ("dinov2", "prumerge"): "come from its last layer",
    ("dinov2", "prumerge_plus"): "come from its last layer",
    ("internvl", "visionzip"): "which the projector of this model cannot take",
    ("internvl", "prunesid"): "which the projector of this model cannot take",
    ("internvl", "prumerge"): "come from its last layer",
    ("internvl", "prumerge_plus"): "come from its last layer",
}
"""By family and pruner, what the reason says; the families that share a tower are refused alike."""
ALIKE = {
    **dict.fromkeys(
        (
            "siglip_vision_model",
            "siglip2",
            "siglip2_vision_model",
            "paligemma",
            "gemma3",
            "smolvlm",
            "idefics3",
            "llava_onevision",
            "qwen2_vl",
            "qwen2_5_vl",
            "qwen3_vl",
            "qwen3_vl_moe",
            "qwen3_5",
            "qwen3_5_moe",
        ),
        "siglip",
    ),
    "dinov2_with_registers": "dinov2",
}
PUBLISHED = {"average": 5.0, "low": 3.0, "high": 8.0}
"""In place of numbers that are LLaVA-1.5's alone."""

PAIRS = [(family, pruner) for family in rooms.names("models") for pruner in rooms.names("pruners")]


def sampled(pair):
    """A third of the pairs, with each family and each pruner among them; the others are `whole`."""
    marks = () if zlib.crc32("".join(pair).encode()) % 3 == 0 else pytest.mark.whole
    return pytest.param(*pair, id="-".join(pair), marks=marks)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    @functools.cache
    def written(family):
        writer = checkpoints_of(family).WRITERS[0]
        return writer(tmp_path_factory.mktemp(family))

    return written


def test_the_sample_holds_every_family_and_every_pruner():
    kept = [pair for pair in PAIRS if not sampled(pair).marks]
    assert {family for family, _ in kept} == set(rooms.names("models"))
    assert {pruner for _, pruner in kept} == set(rooms.names("pruners"))


@pytest.mark.parametrize(("family", "pruner"), [sampled(pair) for pair in PAIRS])
def test_a_pruner_does_what_its_reference_does_or_is_refused(checkpoint, family, pruner):
    settings = {} if pruner == "none" else {"keep": KEEP}
    needs = needs_of(pruner, settings)
    reason = REFUSED.get((ALIKE.get(family, family), pruner))
    if reason is not None:
        with pytest.raises(ModelError, match=rf"the pruner reads .*{reason}.*choose another pruner"):
            load_family(checkpoint(family), needs)
        return
    model = load_family(checkpoint(family), needs)
    config = rooms.load("pruners", pruner).Config(**settings)
    settings |= {name: value for name, value in PUBLISHED.items() if config.calibrated and hasattr(config, name)}
    assembly = assemble(model, pruner, settings)
    eager, method = EagerSession(assembly.graph), assembly.graph.pruner.method
    judge = judge_of(assembly.pruner, chaotic=method.chaotic, merges=method.merges)
    pixels = np.random.default_rng(4).standard_normal((2, 3, *assembly.layout.image_size), dtype=np.float32)
    tally = Tally(name="graph against reference", noise=arithmetic_noise(eager.encode(pixels)))
    for i, seen in enumerate(eager.see(pixels)):
        signals = signals_of(seen.tokens, 0, assembly.layout.candidates)
        case = judge.case(f"image {i}", signals, seen.result, functools.partial(eager.mixed, seen.tokens))
        judge.hold_graph(tally, case, eager.kept_in_float64(seen.tokens) if method.chaotic else None)
    comparison = tally.done()
    assert comparison.passed, comparison.failures
    assert comparison.images == 2
