"""From budgets to cuts, by figures that were computed from the released code, and what cannot be reached."""

import pytest

from tests.inllm.test_laws import method_of
from vtp_export.errors import SpecError
from vtp_export.inllm._budgets import mean_tokens


def kept(method, n=576, layers=32):
    return [(cut.before, cut.keep, cut.merged) for cut in method.cuts(n, layers)]


@pytest.mark.parametrize(
    ("keep", "layer", "count"),
    [(192, None, 166), (128, None, 98), (64, None, 30), (192, "3", 152), (128, "3", 82), (64, "3", 11)],
)
def test_fastv(keep, layer, count):
    place = int(layer or 2)
    method = method_of("fastv", keep=keep, layer=layer)
    assert kept(method) == [(place, count, 0)]
    assert method.processed(576, 32) == (place * 576 + (32 - place) * count) / 32


@pytest.mark.parametrize(("layer", "mean"), [("2", 306), ("3", 315)])
def test_the_ratio_of_fastv_is_the_share_that_goes(layer, mean):
    assert method_of("fastv", ratio=0.5, layer=layer).processed(576, 32) == mean
    assert kept(method_of("fastv", ratio=0.75)) == [(2, 144, 0)]
    assert method_of("fastv", ratio=0.75).processed(576, 32) == 171


@pytest.mark.parametrize(
    ("version", "name", "booked", "read", "clusters"),
    [
        ("v1", 192, 192.0, 206.5, [9, 4, 3]),
        ("v1", 128, 128.6, 145.4, [9, 7, 3]),
        ("v1", 96, 96.9, 114.1, [11, 7, 1]),
        ("v1", 64, 64.8, 82.3, [16, 2, 1]),
        ("v2", 192, 192.4, 206.8, [0, 0, 0]),
        ("v2", 128, 128.0, 144.1, [0, 0, 0]),
        ("v2", 96, 96.8, 113.9, [0, 0, 0]),
        ("v2", 64, 64.4, 81.8, [0, 0, 0]),
    ],
)
def test_the_lists_of_sparsevlm_are_booked_for_less_than_layers_read(version, name, booked, read, clusters):
    method = method_of("sparsevlm", version=version, lists="released", keep=name)
    assert mean_tokens(method.booked_tokens(576, 32)) == pytest.approx(booked, abs=0.05)
    assert method.processed(576, 32) == pytest.approx(read, abs=0.0501)  # given to one digit
    assert [cut.merged for cut in method.cuts(576, 32)] == clusters
    assert [cut.before for cut in method.cuts(576, 32)] == [3, 7, 16]


def test_a_fitted_list_keeps_the_proportions_of_the_released_one():
    assert [keep for _, keep, _ in kept(method_of("sparsevlm", keep=192))] == [271, 181, 99]  # of 300, 200, 110
    assert method_of("sparsevlm", keep=192).processed(576, 32) == pytest.approx(192, abs=0.2)


def test_at_least_one_token_goes_at_each_cut_of_sparsevlm():
    assert kept(method_of("sparsevlm", version="v2", counts="575/600/10")) == [(3, 575, 0), (7, 574, 0), (16, 10, 0)]
    assert kept(method_of("sparsevlm", counts="3/3/3"), 2, 4) == [(1, 1, 1), (2, 1, 1), (3, 1, 1)]


def test_pyramiddrop():
    assert method_of("pyramiddrop", ratios="0.5/0.25/0.125").processed(576, 32) == 270
    assert kept(method_of("pyramiddrop", keep=192)) == [(8, 146, 0), (16, 37, 0), (24, 9, 0)]
    assert [place for place, _, _ in kept(method_of("pyramiddrop", keep=191))] == [2, 8, 16]
    for keep, q in ((192, 0.560), (128, 0.420), (64, 0.192)):
        first = kept(method_of("pyramiddrop", keep=keep, after="2/8/16"))[0]
        assert first[1] / 576 == pytest.approx(q, abs=0.002)


@pytest.mark.parametrize(
    ("name", "settings", "layers", "words"),
    [
        ("fastv", {"keep": 32}, 32, "the first 2 of 32 layers read all 576, so it is 36.9 at least"),
        ("fastv", {"keep": 64}, 4, "the first layer reads all 576, so it is 144.8 at least; ask for more$"),
        (
            "pyramiddrop",
            {"keep": 64, "after": "8/16/24"},
            32,
            "144.8 at least; ask for more, or cut after fewer layers",
        ),
        ("sparsevlm", {"keep": 32}, 32, "out of reach"),
        ("sparsevlm", {"keep": 100, "lists": "released"}, 32, "must be one of: 192, 128, 96, 64"),
        ("sparsevlm", {"counts": "3/3"}, 32, "must have 3 numbers, one for each cut .3/7/16."),
        ("sparsevlm", {"after": "2/3/4/5"}, 32, "after is '2/3/4/5'; of this method it must be 3 numbers at most"),
        ("pyramiddrop", {"ratios": "0.5", "after": "2/3"}, 32, "ratios is '0.5'; it must have 2 numbers"),
        ("fastv", {"layer": 32}, 32, "layer is 32; of a decoder of 32 layers it must be below 32"),
        ("pyramiddrop", {"after": "8/32"}, 32, "after is '8/32'; of a decoder of 32 layers it must be below 32"),
        ("fastv", {"keep": 64}, 1, "needs two or more"),
    ],
)
def test_what_cannot_be_is_one_sentence(name, settings, layers, words):
    with pytest.raises(SpecError, match=words):
        method_of(name, **settings).cuts(576, layers)


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("fastv", "layer", "0"),
        ("sparsevlm", "after", "2.5"),
        ("sparsevlm", "after", "two"),
        ("sparsevlm", "after", "nan"),
        ("sparsevlm", "after", "inf"),
        ("fastv", "ratio", "1"),
        ("fastv", "ratio", "-0.1"),
        ("fastv", "ratio", "nan"),
        ("fastv", "keep", "0"),
        ("pyramiddrop", "ratios", "0.5/0.7"),
        ("pyramiddrop", "ratios", "1.5"),
        ("pyramiddrop", "ratios", "0.5/0"),
        ("pyramiddrop", "ratios", "nan"),
        ("pyramiddrop", "after", "8/8"),
        ("pyramiddrop", "after", "/"),
        ("sparsevlm", "counts", "3/0/1"),
        ("sparsevlm", "counts", "1e400/1/1"),
        ("sparsevlm", "version", "v3"),
    ],
)
def test_a_value_that_breaks_its_rule_is_refused(name, setting, value):
    with pytest.raises(SpecError, match=f"setting {setting} is .*; it must be"):
        method_of(name, **{setting: value})
