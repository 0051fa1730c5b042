"""Two results held against each other: what is planted in one is found, and named by the gate it breaks."""

import dataclasses
import json

import numpy as np
import pytest

from vtp_export.parity.gates import GATES
from vtp_export.parity.tally import Tally
from vtp_export.parity.verdict import ValidationReport
from vtp_export.parity.witness import Noise, Witness
from vtp_export.runtime.output import Kept

RIGHT = Kept(
    kept=np.array([1, 4, 6]),
    tokens=np.array([[3.0, 4.0], [0.0, 2.0], [1.0, 1.0]], np.float32),
    erank=40.0,
    attention_entropy=3.0,
)
WITNESS = Witness(0.25, Noise({"saliency": 1e-7}))


def changed(**fields):
    return dataclasses.replace(RIGHT, **fields)


def token(value, at=(0, 0)):
    tokens = RIGHT.tokens.copy()
    tokens[at] = value
    return changed(tokens=tokens)


def verdict(found, expected=RIGHT, explain=None, precision="fp32"):
    tally = Tally(name="a against b", noise=Noise({}), gates=GATES[precision])
    tally.add("photo.png", expected, RIGHT if found is None else found, *([] if explain is None else [explain]))
    return tally.done()


def test_the_same_passes():
    comparison = verdict(None)
    assert comparison.passed and not comparison.differences
    assert (comparison.images, comparison.identical, comparison.jaccard_mean) == (1, 1, 1.0)
    assert comparison.values.cosine_min == pytest.approx(1, abs=1e-12)
    assert comparison.values.relative_error == comparison.erank_error == comparison.attention_entropy_error == 0


PLANTED = {
    "a wrong token": (changed(kept=np.array([1, 4, 7])), "photo.png: keeps other tokens"),
    "a token too few": (changed(kept=RIGHT.kept[:2], tokens=RIGHT.tokens[:2]), "photo.png: keeps other tokens"),
    "another order of slots": (changed(kept=RIGHT.kept[::-1], tokens=RIGHT.tokens[::-1]), "keeps other tokens"),
    "a wrong value": (token(3.01), "error of tokens, relative to the largest entry, is 0.0025"),
    "another direction": (token(-3.0), "cosine of tokens is 0.28"),
    "a longer token": (changed(tokens=RIGHT.tokens * 1.01), "ratio of the lengths of tokens is 1.01, above 1.001"),
    "a shorter token": (changed(tokens=RIGHT.tokens * 0.99), "ratio of the lengths of tokens is 0.99, below 0.999"),
    "no number": (token(np.nan), "cosine of tokens is nan"),
    "no number in the last token": (token(np.nan, (2, 1)), "error of tokens, relative to the largest entry, is nan"),
    "infinity": (token(np.inf), "error of tokens, relative to the largest entry, is inf"),
    "all zero": (changed(tokens=RIGHT.tokens * 0), "ratio of the lengths of tokens is 0, below"),
    "a wrong erank": (changed(erank=41.0), "relative error of erank is 0.025, above 0.0002"),
    "an erank that is no number": (changed(erank=float("nan")), "relative error of erank is nan"),
    "a wrong entropy": (changed(attention_entropy=3.001), "error of attention entropy is 0.001, above 0.0001"),
    "an entropy that is no number": (changed(attention_entropy=float("nan")), "error of attention entropy is nan"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_planted_is_named(what):
    found, sentence = PLANTED[what]
    comparison = verdict(found)
    assert not comparison.passed
    assert any(sentence in failure for failure in comparison.failures), comparison.failures


def test_an_explained_difference_passes_and_its_common_tokens_are_compared():
    found = changed(kept=np.array([1, 4, 7]))
    comparison = verdict(found, explain=lambda: WITNESS)
    (difference,) = comparison.differences
    assert comparison.passed
    assert (difference.only_expected, difference.only_found, difference.witness) == ((6,), (7,), WITNESS)
    assert comparison.jaccard_mean == 0.5
    wrong = dataclasses.replace(token(3.01), kept=found.kept)
    assert not verdict(wrong, explain=lambda: WITNESS).passed


def test_an_explanation_is_not_asked_for_what_is_the_same():
    def never():
        raise AssertionError("asked")

    assert verdict(None, explain=never).passed


def test_a_coarse_precision_is_asked_for_a_share_of_the_tokens():
    other = changed(kept=np.array([1, 4, 7]))
    comparison = verdict(other, explain=lambda: WITNESS, precision="int8")
    assert comparison.failures == ("mean Jaccard index of the kept sets is 0.5, below 0.85",)


def test_a_small_erank_is_not_asked_for_the_last_digits():
    small = dataclasses.replace(RIGHT, erank=19.0)
    comparison = verdict(dataclasses.replace(small, erank=18.0), small)
    assert comparison.erank_error is None and comparison.passed


@pytest.mark.parametrize("wrong", [16.0, 38.0, float("nan")])
def test_a_small_erank_may_not_be_anything(wrong):
    small = dataclasses.replace(RIGHT, erank=19.0)
    (failure,) = verdict(dataclasses.replace(small, erank=wrong), small).failures
    assert failure == f"photo.png: erank is {wrong:.4g} instead of 19"


def test_tokens_without_a_place_are_compared_one_by_one():
    expected = changed(kept=np.array([-1, -1, 6]))
    wrong = dataclasses.replace(expected, tokens=expected.tokens * np.array([[1], [3], [1]], np.float32))
    assert not verdict(wrong, expected).passed


def test_what_is_not_measured_is_not_compared():
    unmeasured = changed(erank=None, attention_entropy=None)
    comparison = verdict(unmeasured)
    assert comparison.erank_error is comparison.attention_entropy_error is None
    assert verdict(RIGHT, unmeasured).passed


def test_the_worst_image_decides():
    tally = Tally(name="a against b", noise=Noise({}))
    for found in (RIGHT, changed(erank=44.0), RIGHT):
        tally.add("photo.png", RIGHT, found)
    assert tally.done().erank_error == pytest.approx(0.1)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("measured", ["erank", "attention_entropy"])
def test_a_number_that_is_none_is_not_lost_among_others(measured, place):
    tally = Tally(name="a against b", noise=Noise({}))
    results = [RIGHT, RIGHT]
    results[place] = changed(**{measured: float("nan")})
    for found in results:
        tally.add("photo.png", RIGHT, found)
    assert not tally.done().passed


@pytest.mark.parametrize("place", [0, 1])
def test_a_token_that_is_no_number_is_not_lost_among_others(place):
    tally = Tally(name="a against b", noise=Noise({}))
    results = [RIGHT, RIGHT]
    results[place] = token(np.nan)
    for found in results:
        tally.add("photo.png", RIGHT, found)
    values = tally.done().values
    assert np.isnan([values.cosine_min, values.norm_ratio_min, values.norm_ratio_max, values.relative_error]).all()


def test_a_report_is_passed_only_if_all_are():
    right, wrong = verdict(None), verdict(token(9))

    def report(*comparisons, **others):
        return ValidationReport(artefact="a", benchmark="photos", comparisons=comparisons, **others)

    assert report(right).passed
    assert not report(right, wrong).passed
    assert not report(right, batches=(wrong,)).passed
    assert not report(right, false_claims=("layout.slots is 9",)).passed
    told = report(right, wrong).as_dict()
    assert [row["passed"] for row in json.loads(json.dumps(told))["comparisons"]] == [True, False]


PLANES = np.array([[1.0, -2.0, 30.0, 40.0], [5.0, 6.0, 7.0, 8.0], [0.5, 0.5, 0.5, 0.5]], np.float32)
"""Two planes of `RIGHT`, far larger than its tokens."""


def test_planes_are_held_against_planes_of_the_same_candidates():
    right = changed(deepstack=PLANES)
    assert verdict(right, right).passed
    swapped = changed(deepstack=PLANES[[1, 0, 2]])
    assert not verdict(swapped, right).passed
    fewer = changed(kept=RIGHT.kept[1:], tokens=RIGHT.tokens[1:], deepstack=PLANES[1:])
    comparison = verdict(fewer, right, explain=lambda: WITNESS)
    assert comparison.values.relative_error == 0


def test_large_planes_hide_no_wrong_token():
    wrong = token(3.1)
    alone = verdict(wrong).values.relative_error
    beside = verdict(dataclasses.replace(wrong, deepstack=1e6 * PLANES), changed(deepstack=1e6 * PLANES))
    assert beside.values.relative_error == alone > 0.01
