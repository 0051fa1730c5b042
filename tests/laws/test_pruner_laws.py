"""The laws of `pruners/base.py`, for every file in `pruners/`: a file is under them the moment it exists.

Those of the exported file are in `test_pruner_exports.py`.
"""

import dataclasses

import numpy as np
import pytest
import torch

from tests.laws.pruner_cases import (
    CANDIDATES,
    CASES,
    IMAGES,
    KINDS,
    RUNS,
    N,
    batch,
    built,
    count_of,
    float32_run,
    one_of,
    unexplained,
)
from vtp_export import rooms
from vtp_export.functional.tokens import KINDS as SIGNALS
from vtp_export.functional.tokens import Tokens
from vtp_export.parity.noise import signals_of
from vtp_export.reference.base import by_channel


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_float64_is_the_reference_exactly(name, settings):
    """Which tokens, in which order, and how they are mixed."""
    select = rooms.load("reference", name).select
    tokens = batch(KINDS, torch.float64)
    for keep in (2, 21, N - 1):
        pruner, config = built(name, keep, settings)
        selection = pruner(tokens)
        for i in range(KINDS):
            measured = next((m[i] for m in (selection.erank, selection.attention_entropy) if m is not None), None)
            # The quadrature of the effective rank is not the subject here.
            signals = signals_of(tokens, i, CANDIDATES)
            signals = signals if measured is None else dataclasses.replace(signals, complexity=float(measured))
            outcome, count = select(signals, config), count_of(pruner, selection, i)
            assert np.array_equal(selection.kept[i, :count].numpy(), outcome.kept), (
                f"pruners/{name}.py and reference/{name}.py keep different tokens of image {i} at keep={keep}: the one "
                "that is not as the paper writes it is wrong; among equals the lowest position goes first in both"
            )
            assert sorted(choice.token for choice in outcome.choices) == sorted(outcome.kept.tolist()), (
                f"reference/{name}.py does not say of every token why it was kept, once each: see Outcome.choices"
            )
            assert (selection.mix is None) == (outcome.mix is None), (
                f"one of pruners/{name}.py and reference/{name}.py returns a mixture and the other does not"
            )
            if outcome.mix is not None:
                np.testing.assert_allclose(selection.mix[i, :count].numpy(), outcome.mix, atol=1e-9)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_the_reference_sees_inner_products_alone_or_says_so(name, settings):
    """Channels are rotated: what a golden record holds of features is their Gram matrix."""
    select, alike = rooms.load("reference", name).select, []
    tokens = batch(6, torch.float64, seed=3, kinds=[0, 1])  # no near-ties
    _, config = built(name, 9, settings)
    for i in range(6):
        signals = signals_of(tokens, i, CANDIDATES)
        rotated = {
            signal: getattr(signals, signal) @ np.linalg.qr(generator(signals, signal))[0]
            for signal, kind in SIGNALS.items()
            if kind == "features"
        }
        outcome, moved = select(signals, config), select(dataclasses.replace(signals, **rotated), config)
        alike.append(np.array_equal(outcome.kept, moved.kept))
    assert all(alike) != by_channel(name)


def generator(signals, name):
    width = getattr(signals, name).shape[1]
    return np.random.default_rng(width).standard_normal((width, width))


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_kept_is_distinct_in_range_and_in_order(name, settings):
    tokens = batch(KINDS, torch.float32)
    for keep in (2, 9, 40, N):
        pruner, _ = built(name, keep, settings)
        selection = pruner(tokens)  # which checks shapes, dtypes and ranges itself
        assert selection.mix is None or selection.mix.isfinite().all()
        for i in range(KINDS):
            kept = selection.kept[i, : count_of(pruner, selection, i)].tolist()
            assert len(set(kept)) == len(kept), "a position is kept twice: strike out what is taken"
            assert all((0 if selection.mix is None else -1) <= position < N for position in kept)
            assert not pruner.method.ascending or kept == sorted(kept), (
                "kept does not ascend: sort it, or say ascending=False in the Method"
            )
        if selection.mix is None and keep == N:
            assert all(sorted(row) == list(range(N)) for row in selection.kept.tolist()), (
                "a budget of all tokens must keep all of them"
            )


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_batch_is_its_images_and_a_run_repeats(name, settings):
    pruner, _ = built(name, 9, settings)
    tokens = batch(KINDS, torch.float64)
    together, again = pruner(tokens), pruner(tokens)
    for one, two in zip(together, again, strict=True):
        assert (one is None and two is None) or torch.equal(one, two), (
            "two runs differ: draw random numbers when the pruner is made, from a seed among its settings"
        )
    for i in range(KINDS):
        alone = pruner(one_of(tokens, i))
        count = count_of(pruner, together, i)
        assert torch.equal(alone.kept[0, :count], together.kept[i, :count]), (
            f"image {i} keeps other tokens in a batch than alone: a sum, a maximum or a sort runs over the batch axis"
        )
        if alone.mix is not None:
            torch.testing.assert_close(alone.mix[0], together.mix[i])


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_shuffled_patches_are_chosen_alike_unless_by_place(name, settings):
    pruner, _ = built(name, 9, settings)
    if pruner.method.by_place:
        pytest.skip("it looks at places")
    tokens = batch(6, torch.float64, seed=3, kinds=[0, 1])  # no near-ties, which the lowest position may win
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))

    def shuffled(signal):
        return signal[:, order] if signal is not None and signal.shape[1] == N else signal

    before, after = pruner(tokens), pruner(Tokens(*map(shuffled, tokens)))
    for i in range(6):
        moved = {int(order[p]) if p >= 0 else -1 for p in after.kept[i, : count_of(pruner, after, i)].tolist()}
        assert moved == set(before.kept[i, : count_of(pruner, before, i)].tolist()), (
            "shuffled candidates are not chosen alike: if the method counts where in the picture a candidate is, say "
            "by_place=True in its Method; if not, an index is used as if it were a place"
        )


@pytest.mark.parametrize(("name", "variant"), RUNS)
def test_float32_is_the_reference_up_to_what_rounding_explains(name, variant):
    graph, config, tokens, outputs = float32_run(name, variant)
    select, overlaps = rooms.load("reference", name).select, []
    chaotic = graph.front.pruner.method.chaotic
    for i in range(IMAGES):
        kept = outputs[1][i, : int(outputs[2][i])].tolist()
        expected = select(signals_of(tokens, i, CANDIDATES), config).kept.tolist()
        overlaps.append(len(set(kept) & set(expected)) / len(expected))
        assert chaotic or unexplained(name, variant, i, outputs) is None, (
            "no rounding of the signals explains the difference: compute in float32 at least (at_least_float32), and "
            "compare distances after functional.similarity.snapped; if rounding really turns a large part of the "
            "selection over, say chaotic=True in the Method"
        )
    assert np.mean(overlaps) >= (0.75 if chaotic else 0.97), (
        f"only {np.mean(overlaps):.0%} of the tokens are those of the reference in float32: see chaotic of Method"
    )
