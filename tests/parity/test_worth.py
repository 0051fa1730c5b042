"""What a kept set is worth by what its method maximises: reference's sets are good ones, and planted harm is found."""

import dataclasses

import numpy as np
import pytest

from vtp_export import rooms
from vtp_export.parity.gates import GATES
from vtp_export.parity.judge import judge_of
from vtp_export.parity.tally import Pair, Tally, worth_of
from vtp_export.parity.verdict import Worth
from vtp_export.parity.witness import DRAWS, FEW_DRAWS, SCALES, Noise
from vtp_export.reference.base import Outcome, Signals
from vtp_export.runtime.output import Kept
from vtp_export.settings import from_settings
from vtp_export.spec import Candidates, PrunerRecord

SIDE, WIDTH, KEEP = 12, 24, 18
METHODS = [name for name in rooms.names("pruners") if rooms.load("reference", name).MAXIMISES]


def signals(seed):
    """Tokens of a few kinds, as of a picture, and attention that leans to one corner."""
    draw = np.random.default_rng(seed)
    n = SIDE * SIDE
    kinds = draw.standard_normal((9, WIDTH))
    features = kinds[draw.integers(0, 9, n)] + 0.3 * draw.standard_normal((n, WIDTH))
    attention = np.exp(2 * draw.standard_normal(n) + np.linspace(0, 2, n))
    attention /= attention.sum()
    like = dict.fromkeys(("saliency", "received", "early_saliency", "early_received"), attention)
    following = {"following_keys": features, "following_saliency": attention}
    return Signals(
        candidates=Candidates((SIDE, SIDE)), hidden=features, projected=features, cls=features[:1], keys=features,
        **like, **following,
    )  # fmt: skip


def judge(method):
    config, _ = from_settings(rooms.load("pruners", method).Config, {"keep": KEEP}).resolved()
    return judge_of(PrunerRecord(method, dataclasses.asdict(config), {}, ascending=True), chaotic=False, merges=False)


def result(kept):
    return Kept(kept=np.asarray(kept), tokens=np.zeros((len(kept), 1), np.float32))


def compared(method, change):
    """A comparison in which `change` made another set of what the reference keeps."""
    one = judge(method)
    tally = Tally(name="narrow", noise=Noise({}), gates=one.gates(GATES["int8"]))
    for seed in range(6):
        case = one.case(f"image {seed}", signals(seed), result([0]))
        expected = one.select(case.signals, one.settings).kept
        tally.add_worth(case.image, one.worth(case, change(np.random.default_rng(seed), expected, case.signals)))
        tally.images += 1
    return tally.done()


def same(draw, kept, seen):
    return kept


def random(draw, kept, seen):
    return np.sort(draw.choice(seen.n, int((kept >= 0).sum()), replace=False))


@pytest.mark.parametrize("method", METHODS)
def test_the_set_of_the_reference_is_worth_itself_and_a_random_one_is_found(method):
    assert all((by.mean, by.worst) == (1.0, 1.0) for by in compared(method, same).worth)
    comparison = compared(method, random)
    assert min(by.mean for by in comparison.worth) < GATES["int8"].worth
    assert any("over the reference's, mean, is" in failure for failure in comparison.failures)


def stopped_early(draw, kept, seen):
    """Half of the set is the reference's, the rest the first positions."""
    half = kept[: len(kept) // 2].tolist()
    return np.array(half + [i for i in range(seen.n) if i not in half][: len(kept) - len(half)])


def by_half_the_signal(draw, kept, seen):
    """By attention that was rounded to a few steps, ties to the lowest position."""
    steps = np.round(seen.saliency / seen.saliency.max() * 3)
    return np.sort(np.argsort(-steps, kind="stable")[: len(kept)])


@pytest.mark.parametrize("harm", [stopped_early, by_half_the_signal])
@pytest.mark.parametrize("method", ["adaptive", "fastervlm", "scope"])
def test_a_walk_that_stops_early_and_coarse_signals_are_found(method, harm):
    assert compared(method, harm).failures


def test_sets_without_a_place_and_pictures_without_a_difference_have_a_worth():
    """CLS alone was kept; a blank picture, whose tokens are all the same."""
    one = judge("prunesid")
    alone = dataclasses.replace(one, select=lambda *_: Outcome(np.array([-1])))
    case = alone.case("a", signals(0), result([0]))
    assert alone.worth(case, np.array([-1])) == {"mass": 1.0, "coverage": 1.0}
    assert alone.worth(case, np.array([3]))["mass"] > 1
    assert one.worth(one.case("a", signals(0), result([0])), np.array([-1]))["mass"] < 1e-9
    dart = judge("dart")
    blank = dataclasses.replace(signals(0), projected=np.ones((SIDE * SIDE, WIDTH)))
    assert dart.worth(dart.case("a", blank, result([0])), np.arange(5, 5 + KEEP)) == {"unlikeness": 1.0}


def test_the_mean_and_the_worst_image_are_told():
    assert worth_of("mass", [(1.0, "a"), (0.5, "b")]) == Worth("mass", 0.75, 0.5, "b")
    assert np.isnan(worth_of("mass", [(1.0, "a"), (float("nan"), "b")]).worst)


def test_an_unknown_worth_passes_no_gate():
    tally = Tally(name="narrow", noise=Noise({}), gates=GATES["int8"])
    tally.add_worth("b", {"mass": float("nan")})
    assert len(tally.done().shortfalls) == 2


@pytest.mark.parametrize(("precision", "fails"), [("fp16", True), ("int8", False)])
def test_where_numbers_are_coarse_a_set_as_good_needs_no_explanation(precision, fails):
    tally = Tally(name="narrow", noise=Noise({}), gates=dataclasses.replace(GATES[precision], jaccard=0.0))
    tally.add("b", result([1, 2]), result([1, 3]))
    assert any("no rounding" in failure for failure in tally.done().failures), "nothing is known of what it is worth"
    tally.add_worth("b", {"mass": 1.0})
    assert any("no rounding" in failure for failure in tally.done().failures) is fails


@pytest.mark.parametrize(("method", "merges", "asked"), [
    ("fastervlm", False, (False, 0.85)), ("adaptive", False, (False, 0.0)), ("visionzip", True, (True, 0.85)),
])  # fmt: skip
def test_what_is_asked_of_a_method_in_int8(method, merges, asked):
    gates = dataclasses.replace(judge(method), merges=merges).gates(GATES["int8"])
    assert (gates.explained, gates.jaccard) == asked


def test_another_mixture_of_the_same_anchors_fails_in_int8_too():
    one = dataclasses.replace(judge("visionzip"), merges=True)
    tally = Tally(name="narrow", noise=Noise({}), gates=one.gates(GATES["int8"]))
    expected = result([1, 2])
    other = dataclasses.replace(expected, tokens=expected.tokens + 1)
    case = one.case("a", signals(0), expected)
    tally.add("a", expected, other, pair=Pair(expected.tokens, other.tokens, mixed=True))
    tally.add_worth("a", one.worth(case, case.outcome().kept))
    assert any("no rounding" in failure for failure in tally.done().failures)


def test_what_an_image_keeps_in_another_batch_is_held_to_what_it_kept_before():
    """Both may be worth less than the reference's set: that the comparison with the reference says."""
    one = judge("fastervlm")
    case = one.case("a", signals(0), result([0]))
    best = np.argsort(-case.signals.saliency)
    before, worse = np.sort(best[10 : 10 + KEEP]), np.sort(best[20 : 20 + KEEP])
    itself = dataclasses.replace(case, standard=before)
    assert one.worth(itself, before) == {"mass": 1.0}
    assert one.worth(case, before)["mass"] < 0.9
    assert one.worth(itself, worse)["mass"] < 0.9


@pytest.mark.parametrize(("precision", "draws"), [("fp16", DRAWS), ("bf16", FEW_DRAWS), ("int8", FEW_DRAWS)])
def test_where_a_set_as_good_is_enough_an_explanation_is_looked_for_briefly(precision, draws):
    one, asked = judge("fastervlm"), []
    counting = dataclasses.replace(one, select=lambda *signals: asked.append(0) or one.select(*signals))
    case = counting.case("a", signals(0), result(one.select(signals(0), one.settings).kept))
    tally = Tally(name="narrow", noise=Noise({"saliency": 1e-12}), gates=one.gates(GATES[precision]))
    counting.hold_format(tally, case, result(np.arange(KEEP)))
    assert tally.differences[0].witness is None
    assert len(asked) == 1 + len(SCALES) * draws + 1  # the signals as they are, moved, and the standard of the worth
