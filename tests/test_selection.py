"""The heart of the matter: the walk, exported, selects what the paper's loop selects, on thousands of cases.

What holds for every method is in `tests/laws`.
"""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.formats import FROM_GRAPHS, in_turn, open_built
from vtp_export import rooms
from vtp_export.functional.tokens import Tokens
from vtp_export.parity.noise import arithmetic_noise, signals_of
from vtp_export.parity.witness import witness
from vtp_export.runtime.brief import Brief
from vtp_export.settings import from_settings
from vtp_export.spec import BatchRange, Candidates, TensorSpec

CANDIDATES = Candidates((6, 8))
N = CANDIDATES.n
CASES = {fmt: 1600 if fmt == "onnx" else 480 for fmt in FROM_GRAPHS}  # of each setting
MOST_DIFFERENCES = 0.02

SETTINGS = {
    "erank": ("adaptive", 64, {"keep": 12, "average": 20.0}),
    "erank-not-centred": ("adaptive", 64, {"keep": 12, "average": 20.0, "center": False}),
    "fastervlm": ("fastervlm", 64, {"keep": 9}),
    "entropy-adaptive-count": ("adaptive", 24, {"keep": 10, "complexity": "entropy", "count": "adaptive"}),
    "constant-keep-nearly-all": ("adaptive", 64, {"keep": N - 1, "tau": 0.25}),
    "keep-one": ("adaptive", 64, {"keep": 1, "average": 20.0}),
}


class PrunerAlone(nn.Module):
    """Signals in, selection out."""

    def __init__(self, pruner):
        super().__init__()
        self.pruner = pruner

    def forward(self, saliency, projected):
        selection = self.pruner(Tokens(projected, projected, saliency))
        count = selection.num_kept
        if count is None:
            count = torch.full((saliency.shape[0],), self.pruner.method.slots, dtype=torch.int64)
        return (selection.kept, count, *(getattr(selection, name) for name in self.pruner.method.measures))


def case(kind: int, d: int, generator: np.random.Generator):
    """One image's saliency and features: ordinary, or made to be awkward."""
    features = generator.standard_normal((N, d))
    saliency = generator.gamma(0.5, size=N)
    if kind == 1:  # smooth maps
        features = np.cumsum(features, 0) / 4 + 0.3 * features
    elif kind == 2:  # clusters of near-duplicates
        features = generator.standard_normal((6, d))[generator.integers(0, 6, N)] + 0.05 * features
    elif kind == 3:  # exact duplicates and tied saliency
        features = features[generator.integers(0, 10, N)]
        saliency = generator.integers(0, 4, N) / 64.0
    elif kind == 4:  # a constant image: every token and every weight the same
        features = np.repeat(features[:1], N, 0)
        saliency = np.full(N, 1 / N)
    elif kind == 5:  # a chain: each token is near the next one only, walked in order
        angle = np.arange(N) * generator.uniform(0.1, 0.6)
        # The noise is far below the steps of the chain; without it the rank is exactly 2, where a float32 Gram matrix
        # has no effective rank to speak of.
        features = np.stack([np.cos(angle), np.sin(angle)], 1) @ generator.standard_normal((2, d)) + 0.02 * features
        saliency = np.linspace(1, 0.5, N)
    elif kind == 6:  # zeros, and one token far larger than the rest
        features[generator.integers(0, N, 5)] = 0
        features[generator.integers(0, N)] *= 1e4
    elif kind == 7:  # a large common offset
        features = features + 20
    return saliency.astype(np.float32), features.astype(np.float32)


def batches(count: int, d: int):
    """Cases in batches of 1 to 16."""
    generator = np.random.default_rng(7)
    done = 0
    while done < count:
        size = min(int(generator.integers(1, 17)), count - done)
        cases = [case((done + i) % 8, d, generator) for i in range(size)]
        yield np.stack([s for s, _ in cases]), np.stack([f for _, f in cases])
        done += size


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Each setting exported once to each format."""
    sessions = {}

    def get(setting, fmt):
        if (setting, fmt) not in sessions:
            name, d, settings = SETTINGS[setting]
            room = rooms.load("pruners", name)
            config = from_settings(room.Config, settings)
            config, _ = config.resolved()
            graph = PrunerAlone(room.Pruner(config, CANDIDATES)).eval()
            outputs = ("kept", "num_kept", *graph.pruner.method.measures)
            inputs = (TensorSpec("saliency", "float32", ("b", N)), TensorSpec("projected", "float32", ("b", N, d)))
            kinds = {"kept": ("int64", ("b", graph.pruner.method.slots)), "num_kept": ("int64", ("b",))}
            specs = tuple(TensorSpec(output, *kinds.get(output, ("float32", ("b",)))) for output in outputs)
            brief = Brief(inputs=inputs, outputs=specs, batch=BatchRange(1, 1, 16), identity="selection")
            session = open_built(tmp_path_factory.mktemp("built"), fmt, graph, brief)
            sessions[setting, fmt] = session, vars(config), rooms.load("reference", name).select, d
        return sessions[setting, fmt]

    return get


@pytest.mark.parametrize(("setting", "fmt"), in_turn([pytest.param(setting, id=setting) for setting in SETTINGS]))
def test_selects_what_the_reference_selects(built, setting, fmt):
    session, config, select, d = built(setting, fmt)
    differences = total = 0
    for saliency, features in batches(CASES[fmt], d):
        found = session.run({"saliency": saliency, "projected": features})
        tokens = Tokens(torch.from_numpy(features), torch.from_numpy(features), torch.from_numpy(saliency))
        for i in range(len(saliency)):
            total += 1
            signals = signals_of(tokens, i, CANDIDATES)
            expected = select(signals, config)
            kept = found["kept"][i, : found["num_kept"][i]]
            complexities = [float(found[name][i]) for name in ("erank", "attention_entropy") if name in found]
            for value in complexities:
                assert math.isclose(value, expected.complexity, rel_tol=2e-4 if expected.complexity >= 20 else 5e-2)
            if not np.array_equal(kept, expected.kept):
                differences += 1
                one = Tokens(*(None if v is None else v[i : i + 1] for v in tokens))
                noise = arithmetic_noise(one)
                explained = witness(select, config, signals, kept, noise, [*complexities, expected.complexity])
                assert explained is not None, (
                    f"case {total}: {kept} is not {expected.kept}, and no rounding explains it"
                )
    assert differences <= MOST_DIFFERENCES * total, f"{differences} of {total} selections differ"
