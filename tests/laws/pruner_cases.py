"""What the laws of pruners are tried on: settings, images of every kind, and graphs of a pruner alone."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from torch import nn

from vtp_export import rooms
from vtp_export.functional.tokens import KINDS as TOKEN_KINDS
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.parity.noise import arithmetic_noise, signals_of
from vtp_export.parity.witness import witness
from vtp_export.settings import from_settings
from vtp_export.spec import Candidates

WIDTH, PROJECTED = 40, 32  # the narrower last: projected features are of full rank, as erank likes them
CANDIDATES = Candidates((4, 16))  # no square: rows and columns are told apart
N = CANDIDATES.n
KINDS = 7
IMAGES = 2 * KINDS
MIX = {"low": 5.0, "high": 30.0}  # ends between which the images below lie

# Settings beside the defaults. A file without an entry is tested at its defaults.
VARIANTS = {
    "adaptive": [{"average": 20.0}, {"complexity": "entropy", "average": 3.0, "count": "adaptive"}, {"tau": 0.25}],
    "bat": [
        {},
        {"ratio": "adaptive", **MIX},
        {"ratio": "1", "spread": 3},
        {"ratio": "adaptive", "complexity": "entropy", "low": 2.0, "high": 4.0},
    ],
    "dpp": [{}, {"relevance": "saliency"}],
    "fastervlm_divprune": [{}, {"ratio": "adaptive", **MIX}, {"ratio": "0"}],
    "fps": [{}, {"metric": "euclidean"}],
    "holov": [{}, {"chunks": 7}],
    "hiprune": [{}, {"alpha": 0.9}],
    "prumerge": [{}, {"count": "adaptive"}],
    "prumerge_plus": [{}, {"count": "adaptive"}],
    "visionzip": [{}, {"contextual": 0}],
    "vispruner": [
        {},
        {"ratio": "adaptive", **MIX},
        {"ratio": "inverse", "complexity": "entropy", "low": 2.0, "high": 4.0},
    ],
}
# Which of these are exported, where more than one is there: one for each path through the graph. Any file without an
# entry is exported at its first.
EXPORTED = {
    "adaptive": [0, 1],
    "bat": [3],
    "dpp": [1],
    "fastervlm_divprune": [1],
    "fps": [0, 1],
    "holov": [1],
    "hiprune": [1],
    "prumerge": [0, 1],
    "prumerge_plus": [0, 1],
    "vispruner": [2],
}
CASES = [
    pytest.param(name, settings, id="-".join([name, *(f"{key}={value}" for key, value in settings.items())]))
    for name in rooms.names("pruners")
    for settings in VARIANTS.get(name, [{}])
]


def built(name, keep, settings):
    """A pruner with its resolved settings."""
    room = rooms.load("pruners", name)
    config, _ = from_settings(room.Config, {"keep": keep, **settings}).resolved()
    return room.Pruner(config, CANDIDATES), dataclasses.asdict(config)


def features_of(kind, generator):
    """One image's features: ordinary, or made to be awkward."""
    features = generator.standard_normal((N, WIDTH))
    if kind == 1:  # smooth maps
        return np.cumsum(features, 0) / 4 + 0.3 * features
    if kind == 2:  # clusters of near-duplicates
        return generator.standard_normal((6, WIDTH))[generator.integers(0, 6, N)] + 0.05 * features
    if kind == 3:  # exact duplicates
        return features[generator.integers(0, 10, N)]
    if kind == 4:  # a constant image
        return np.repeat(features[:1], N, 0)
    if kind == 5:  # zeros, and one token far larger than the rest
        features[generator.integers(0, N, 5)] = 0
        features[generator.integers(0, N)] *= 1e4
    return features + 20 if kind == 6 else features  # 6: a large common offset


def image(kind, generator):
    """One image's signals; duplicates have tied weights, a constant image has equal ones."""
    features = features_of(kind, generator)

    def weights():
        if kind == 3:
            return generator.integers(0, 4, N) / 64.0
        return np.full(N, 1 / N) if kind == 4 else generator.gamma(0.5, size=N) / N

    def seen_through(width):
        return features @ (generator.standard_normal((WIDTH, width)) / 5)

    arrays = {
        "hidden": features,
        "projected": seen_through(PROJECTED),
        "cls": generator.standard_normal((1, WIDTH)),
        "keys": seen_through(16),
        "following_keys": seen_through(WIDTH),
    }
    rows = [signal for signal in TOKEN_KINDS if signal not in arrays]
    return arrays | {row: weights() for row in rows}


def batch(count, dtype, seed=0, kinds=range(KINDS)):
    """Tokens of so many images, all kinds in turn. Values are those of float32 in every dtype."""
    generator = np.random.default_rng(seed)
    images = [image(kinds[i % len(kinds)], generator) for i in range(count)]
    arrays = {name: np.stack([one[name] for one in images]).astype(np.float32) for name in images[0]}
    return Tokens(**{name: torch.from_numpy(array).to(dtype) for name, array in arrays.items()})


def one_of(tokens, i):
    return Tokens(*(None if signal is None else signal[i : i + 1] for signal in tokens))


def count_of(pruner, selection, i):
    return pruner.method.slots if selection.num_kept is None else int(selection.num_kept[i])


class Given(nn.Module):
    """A front end whose tokens are its input, projected by the identity."""

    gives, positions, planes = frozenset(TOKEN_KINDS), None, 0

    def project(self, features):
        return features


class PrunerAlone(nn.Module):
    """Signals in; the outputs of the exported graph out."""

    def __init__(self, pruner):
        super().__init__()
        self.front = PrunedFrontend(Given(), pruner)
        self.names = ["hidden", *sorted(pruner.method.needs)]

    def forward(self, hidden, second=None, third=None, fourth=None):  # torch.export refuses *signals
        tokens = Tokens(**dict(zip(self.names, (hidden, second, third, fourth), strict=False)))
        return self.front.finish(tokens, self.front.pruner(tokens))


@functools.cache
def float32_run(name, variant):
    """Eager outputs in float32 on `IMAGES` images, with what made them."""
    settings = VARIANTS.get(name, [{}])[variant]
    pruner, config = built(name, 9, settings)
    graph, tokens = PrunerAlone(pruner).eval(), batch(IMAGES, torch.float32, seed=5)
    with torch.inference_mode():
        outputs = graph(*(getattr(tokens, signal) for signal in graph.names))
    return graph, config, tokens, outputs


RUNS = [
    pytest.param(name, variant, id=f"{name}-{variant}")
    for name in rooms.names("pruners")
    for variant in range(len(VARIANTS.get(name, [{}])))
]
TO_EXPORT = [run for run in RUNS if run.values[1] in EXPORTED.get(run.values[0], [0])]


def unexplained(name, variant, i, found):
    """Why an image's outputs are neither the reference's choice nor explained by rounding, or None."""
    graph, config, tokens, _ = float32_run(name, variant)
    select, signals = rooms.load("reference", name).select, signals_of(tokens, i, CANDIDATES)
    kept, expected = np.asarray(found[1][i, : int(found[2][i])]), select(signals, config)
    if np.array_equal(kept, expected.kept):
        return None
    noise = arithmetic_noise(Tokens(**{signal: getattr(tokens, signal)[i : i + 1] for signal in graph.names}))
    measured = [float(values[i]) for values in found[3:]]
    complexities = [*measured, *([] if expected.complexity is None else [expected.complexity])]
    if witness(select, config, signals, kept, noise, complexities) is not None:
        return None
    return f"image {i}: {kept} is not {expected.kept}, and no rounding explains it"
