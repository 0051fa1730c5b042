"""The judge: what rounding explains passes, what it does not fails, for selectors and for mixtures."""

import dataclasses
import functools

import numpy as np
import pytest
import torch

from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.assembly import assemble, load_model
from vtp_export.graphs.eager import EagerSession, Seen
from vtp_export.parity.judge import Start, judge_of
from vtp_export.parity.noise import deviation, signals_of
from vtp_export.parity.tally import Tally
from vtp_export.parity.witness import HEADROOM, Noise

NOISE = Noise({"hidden": 1e-6, "saliency": 1e-6})
KEEP = 4


@pytest.fixture(scope="module")
def model(small_llava):
    return load_model(str(small_llava))


class Court:
    """A judge, and the graph that it judges by."""

    def __init__(self, model, pruner, **settings):
        assembly = assemble(model, pruner, {"keep": KEEP, **settings})
        method = assembly.graph.pruner.method
        self.judge = judge_of(assembly.pruner, chaotic=method.chaotic, merges=method.merges)
        self.eager = EagerSession(assembly.graph)
        self.hold_graph, self.hold_format = self.judge.hold_graph, self.judge.hold_format

    def signals(self, tokens):
        return signals_of(tokens, 0, self.eager.graph.frontend.candidates)

    def case(self, image, seen):
        return self.judge.case(
            image, self.signals(seen.tokens), seen.result, functools.partial(self.eager.mixed, seen.tokens)
        )


def pixels():
    return np.random.default_rng(1).standard_normal((1, 3, 42, 42), dtype=np.float32)


def judged(hold, *arguments):
    tally = Tally(name="a against b", noise=NOISE)
    hold(tally, *arguments)
    return tally.done()


def ranked(judge, fourth_less_fifth):
    """An image whose patches are wanted in their order, the last kept before the first left out by so much."""
    session = judge.eager
    n, width = session.graph.frontend.candidates.n, session.encode(pixels()).hidden.shape[-1]
    saliency = np.linspace(0.9, 0.1, n)
    saliency[KEEP:] += saliency[KEEP - 1] - saliency[KEEP] - fourth_less_fifth
    hidden = torch.from_numpy(np.random.default_rng(0).standard_normal((1, n, width))).float()
    tokens = Tokens(hidden, saliency=torch.from_numpy(saliency)[None])
    return Seen(tokens, session.finish(tokens)[0])


@pytest.fixture(scope="module")
def selector(model):
    return Court(model, "fastervlm")


@pytest.mark.parametrize(("gap", "explained"), [(0.5, True), (2 * HEADROOM * 0.99, True), (2 * HEADROOM * 1.01, False)])
def test_a_tie_within_the_noise_is_explained(selector, gap, explained):
    """Both weights may move, so a gap of twice the noise with its headroom can close and no wider one."""
    seen = ranked(selector, gap * NOISE.sizes["saliency"])
    found = dataclasses.replace(seen.result, kept=np.array([0, 1, 2, 4]))
    assert seen.result.kept.tolist() == [0, 1, 2, 3]
    comparison = judged(selector.hold_format, selector.case("photo.png", seen), found)
    (difference,) = comparison.differences  # its token is not compared: no other has kept it
    assert (difference.only_expected, difference.only_found) == ((3,), (4,))
    assert (difference.witness is not None) == explained == comparison.passed


def test_tokens_that_part_are_told_one_by_one(selector):
    """The reference's own account of each: what it is paid, and its place among all."""
    seen = ranked(selector, 0.5 * NOISE.sizes["saliency"])
    found = dataclasses.replace(seen.result, kept=np.array([0, 1, 2, 4]))
    (difference,) = judged(selector.hold_format, selector.case("photo.png", seen), found).differences
    kept, dropped = difference.reasons
    assert kept.startswith("3 (row 0, column 3): kept by the reference (") and "attention 0.83" in kept
    assert ", place 4; " in kept and dropped.startswith("4 (row 0, column 4): dropped by the reference (")
    assert ", place 5; " in dropped


def test_of_many_tokens_a_few_of_each_side_are_told(model):
    court = Court(model, "fastervlm", keep=18)
    seen = ranked(court, 0.5 * NOISE.sizes["saliency"])
    found = dataclasses.replace(seen.result, kept=np.arange(18, 36))
    (difference,) = judged(court.hold_format, court.case("photo.png", seen), found).differences
    told = [reason.split()[0] for reason in difference.reasons]
    assert told == [*map(str, range(6)), *map(str, range(18, 24)), "and"] and difference.reasons[-1] == "and 24 more"


def test_what_is_kept_is_told_by_complexity(selector):
    """Eight images of a rank each, the two most complex of which keep another token."""
    tally = Tally(name="a against b", noise=NOISE)
    for rank in (3, 1, 4, 2, 4, 1, 2, 3):
        seen = ranked(selector, 0.5 * NOISE.sizes["saliency"])
        result = dataclasses.replace(seen.result, tokens=np.eye(KEEP, 48, dtype=np.float32)[np.arange(KEEP) % rank])
        kept = np.array([0, 1, 2, 4]) if rank == 4 else result.kept
        selector.hold_format(
            tally,
            selector.case("x", dataclasses.replace(seen, result=result)),
            dataclasses.replace(result, kept=kept, tokens=result.tokens),
        )
    quarters = tally.done().by_complexity
    assert [(few.images, few.identical) for few in quarters] == [(2, 2), (2, 2), (2, 2), (2, 0)]
    assert [round(few.low, 3) for few in quarters] == [1, 2, pytest.approx(2.828, abs=0.2), 4]
    assert quarters[0].jaccard_mean == 1 and quarters[3].jaccard_mean == pytest.approx(3 / 5)


def test_nobody_says_how_complex_images_are_whose_tokens_are_not_finite(selector):
    tally = Tally(name="a against b", noise=NOISE)
    seen = ranked(selector, 0.5 * NOISE.sizes["saliency"])
    broken = dataclasses.replace(seen.result, tokens=np.full_like(seen.result.tokens, np.nan))
    selector.hold_format(tally, selector.case("x", dataclasses.replace(seen, result=broken)), seen.result)
    assert tally.done().by_complexity == ()


def test_a_witness_tells_how_far_it_moved(selector):
    seen = ranked(selector, 0.9 * NOISE.sizes["saliency"])
    found = dataclasses.replace(seen.result, kept=np.array([0, 1, 2, 4]))
    tally = Tally(name="a", noise=NOISE)
    selector.hold_format(tally, selector.case("photo.png", seen), found)
    witness = tally.differences[0].witness
    assert witness.scale == 0.25 and witness.moved.sizes["saliency"] == pytest.approx(
        HEADROOM * NOISE.sizes["saliency"] / 4
    )


PLANTED = {
    "a token that nobody wants": lambda result: dataclasses.replace(result, kept=np.array([0, 1, 2, 8])),
    "a token too few": lambda result: dataclasses.replace(result, kept=result.kept[:3], tokens=result.tokens[:3]),
    "the same twice": lambda result: dataclasses.replace(result, kept=np.array([0, 1, 2, 2])),
    "another order of slots": lambda r: dataclasses.replace(r, kept=r.kept[::-1].copy(), tokens=r.tokens[::-1].copy()),
    "wrong values": lambda result: dataclasses.replace(result, tokens=result.tokens * 1.01),
    "values of other slots": lambda result: dataclasses.replace(result, tokens=result.tokens[::-1].copy()),
    "no number": lambda result: dataclasses.replace(result, tokens=result.tokens * np.nan),
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_planted_in_a_format_fails(selector, what):
    seen = ranked(selector, 0.1)
    case = selector.case("photo.png", seen)
    assert judged(selector.hold_format, case, seen.result).passed
    assert not judged(selector.hold_format, case, PLANTED[what](seen.result)).passed


@pytest.mark.parametrize("what", ["a token that nobody wants", "a token too few", "another order of slots"])
def test_what_is_planted_in_the_graph_fails(selector, what):
    seen = ranked(selector, 0.1)
    assert judged(selector.hold_graph, selector.case("photo.png", seen)).passed
    wrong = Seen(seen.tokens, PLANTED[what](seen.result))
    assert not judged(selector.hold_graph, selector.case("photo.png", wrong)).passed


def test_a_wrong_complexity_of_the_graph_fails(model):
    judge = Court(model, "adaptive", complexity="entropy")
    seen = judge.eager.see(pixels())[0]
    assert judged(judge.hold_graph, judge.case("photo.png", seen)).passed
    wrong = Seen(seen.tokens, dataclasses.replace(seen.result, attention_entropy=seen.result.attention_entropy + 1e-3))
    comparison = judged(judge.hold_graph, judge.case("photo.png", wrong))
    assert any("attention entropy" in failure for failure in comparison.failures)


@pytest.fixture(scope="module")
def merging(model):
    return Court(model, "bat")


def test_a_wrong_mixture_under_the_right_anchors_fails(merging):
    seen = merging.eager.see(pixels())[0]
    case = merging.case("photo.png", seen)
    assert case.outcome().mix is not None
    assert judged(merging.hold_graph, case).identical == judged(merging.hold_format, case, seen.result).identical == 1
    tokens = seen.result.tokens.copy()
    tokens[1] = (tokens[1] + tokens[2]) / 2
    wrong = dataclasses.replace(seen.result, tokens=tokens)
    for comparison in (
        judged(merging.hold_format, case, wrong),
        judged(merging.hold_graph, merging.case("photo.png", Seen(seen.tokens, wrong))),
    ):
        (difference,) = comparison.differences
        assert difference.witness is None and not comparison.passed
        assert difference.only_expected == difference.only_found == ()
        assert comparison.values.relative_error < 1e-4  # the other mixtures are still compared, and are right


def test_the_way_begins_at_the_twin(selector):
    """From signals in the artefact's precision the rest of the way is shorter, and both ways count."""
    noise = Noise({"hidden": 1e-6, "saliency": 1e-3})
    seen = ranked(selector, 7e-3)  # a saliency of each, moved by 4e-3, closes at most 8e-3
    nearer = seen.tokens.saliency.clone()
    nearer[0, 3:5] += torch.tensor([-3.4e-3, 3.4e-3])
    twin = seen.tokens._replace(saliency=nearer)
    found = dataclasses.replace(seen.result, kept=np.array([0, 1, 2, 4]))
    scales = []
    start = Start(selector.signals(twin), deviation(seen.tokens, twin))
    for near in (None, lambda: start):
        tally = Tally(name="a", noise=noise)
        selector.hold_format(tally, selector.case("photo.png", seen), found, near)
        scales.append(tally.differences[0].witness.scale)
    assert scales[0] == 1.0
    assert scales[1] == pytest.approx((3.4e-3 + HEADROOM * 1e-3 / 16) / (HEADROOM * 1e-3), rel=1e-6)
