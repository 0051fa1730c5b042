"""Noise is measured and moved signal by signal, by what each signal is."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vtp_export.functional.similarity import cosine_distance
from vtp_export.functional.tokens import CARRIED, KINDS, Tokens
from vtp_export.parity.noise import arithmetic_noise, deviation, signals_of, tower_noise
from vtp_export.parity.witness import HEADROOM, Noise, witness
from vtp_export.reference.base import Outcome
from vtp_export.spec import Candidates

GRID = Candidates((3, 4))
SHAPES = {"features": (GRID.n, 8), "attention": (GRID.n,), "beside": (1, 8)}


@pytest.fixture
def tokens():
    """Of two images, every signal."""
    generator = np.random.default_rng(0)
    arrays = {name: generator.random((2, *SHAPES[kind])).astype(np.float32) for name, kind in KINDS.items()}
    return Tokens(**{name: torch.from_numpy(array) for name, array in arrays.items()})


def test_every_signal_has_a_kind():
    assert [*KINDS, CARRIED] == list(Tokens._fields)


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind != "beside"])
def test_what_moves_is_measured_in_its_own_signal_alone(tokens, name):
    signal = getattr(tokens, name)
    other = signal.clone()
    other[1, 3] += torch.arange(8) * 0.01 if KINDS[name] == "features" else 0.25
    sizes = deviation(tokens, tokens._replace(**{name: other})).sizes
    expected = 0.25
    if KINDS[name] == "features":
        expected = float((cosine_distance(signal) - cosine_distance(other)).abs().max())
    assert sizes.pop(name) == pytest.approx(expected, rel=1e-5)
    assert set(sizes.values()) == {0.0}  # the others have not moved
    assert "cls" not in sizes


def test_what_is_not_given_has_no_noise(tokens):
    assert set(deviation(tokens._replace(keys=None), tokens).sizes) == set(KINDS) - {"keys", "cls"}


def test_a_signal_that_overflows_is_not_lost(tokens):
    noise, kept = deviation(tokens, tokens._replace(keys=tokens.keys * torch.inf)), np.array([0])
    assert not noise.finite
    assert witness(lambda *_: Outcome(kept), {}, signals_of(tokens, 0, GRID), kept, noise, []) is None


def test_arithmetic_rounds_a_weight_of_attention_once(tokens):
    for name, size in arithmetic_noise(tokens).sizes.items():
        assert 0 < size < 1e-6
        if KINDS[name] == "attention":
            largest = float(getattr(tokens, name).abs().max())
            assert size == np.float64(np.finfo(np.float32).eps / 2) * largest


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind != "beside"])
def test_the_search_moves_each_signal_by_its_own_noise_and_no_other(tokens, name):
    signals, size, seen = signals_of(tokens, 0, GRID), 1e-3, []

    def select(moved, _):
        seen.append(moved)
        return Outcome(np.array([0]))

    noise = Noise({signal: size if signal == name else 0.0 for signal in KINDS if KINDS[signal] != "beside"})
    assert witness(select, {}, signals, np.array([1]), noise, []) is None
    for other in set(KINDS) - {name}:
        assert all(np.array_equal(getattr(moved, other), getattr(signals, other)) for moved in seen)
    moved = [getattr(one, name) - getattr(signals, name) for one in seen]
    if KINDS[name] == "attention":
        assert HEADROOM * size * 0.9 < max(np.abs(one).max() for one in moved) <= HEADROOM * size * (1 + 1e-9)
    else:
        before = cosine_distance(torch.from_numpy(getattr(signals, name)))
        after = [cosine_distance(torch.from_numpy(getattr(one, name))) for one in seen]
        assert HEADROOM * size * 0.2 < max(float((one - before).abs().max()) for one in after) < HEADROOM * size * 2


def test_float64_is_computed_on_the_device_of_the_graph(tokens, monkeypatch):
    asked = []

    def session(graph, device, dtype):
        asked.append((device, dtype))
        return SimpleNamespace(encode=lambda pixels: tokens)

    monkeypatch.setattr("vtp_export.parity.noise.EagerSession", session)
    measured = tower_noise(SimpleNamespace(graph=None, device="cuda"), np.zeros((1, 3, 8, 8), np.float32), [tokens])
    assert asked == [("cuda", torch.float64)]
    assert set(measured.sizes.values()) == {0.0}
