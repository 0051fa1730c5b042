"""The methods that choose greedily, by chunks, by pivots or by lot: against their references; their loops."""

import dataclasses
import functools

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from tests.formats import open_built
from vtp_export import rooms
from vtp_export.backends._traced import exported_program
from vtp_export.errors import SpecError
from vtp_export.functional.tokens import Tokens
from vtp_export.parity.noise import arithmetic_noise, signals_of
from vtp_export.parity.witness import Noise, witness
from vtp_export.runtime.brief import Brief
from vtp_export.settings import from_settings
from vtp_export.spec import BatchRange, Candidates, TensorSpec

N, D = 40, 24
KINDS = (
    "plain",
    "smooth",
    "clusters",
    "duplicates",
    "constant",
    "zeros",
    "offset",
    "ties",
    "flat attention",
    "low rank",
)
EXACT = 80  # cases of each setting in float64
NARROW = 40  # in float32
MOST_DIFFERENCES = 0.03

SETTINGS = {
    "random": ("random", {"keep": 9, "seed": 5}),
    "divprune": ("divprune", {"keep": 9}),
    "divprune-one": ("divprune", {"keep": 1}),
    "divprune-nearly-all": ("divprune", {"keep": N - 1}),
    "fps": ("fps", {"keep": 9}),
    "fps-euclidean": ("fps", {"keep": 9, "start": "first", "metric": "euclidean"}),
    "dpp": ("dpp", {"keep": 9}),
    "dpp-more-than-channels": ("dpp", {"keep": D + 6}),
    "dpp-weighted": ("dpp", {"keep": 9, "relevance": "saliency"}),
    "otprune": ("otprune", {"keep": 9}),
    "otprune-nearly-all": ("otprune", {"keep": N - 1}),
    "scope": ("scope", {"keep": 9}),
    "scope-root": ("scope", {"keep": 9, "alpha": 0.5}),
    "scope-nearly-all": ("scope", {"keep": N - 1}),
    "dart": ("dart", {"keep": 9}),
    "dart-fewer-than-pivots": ("dart", {"keep": 3}),
    "dart-seven-pivots": ("dart", {"keep": 30, "pivots": 7}),
    "holov": ("holov", {"keep": 9, "chunks": 5}),
    "holov-uneven": ("holov", {"keep": 33, "chunks": 7}),
    "holov-more-chunks-than-tokens": ("holov", {"keep": 9, "chunks": 64}),
}
LOOPS = ("divprune", "fps", "dpp", "otprune", "scope")


def case(kind: str, generator: np.random.Generator, n: int = N, d: int = D):
    """One image's saliency and features."""
    features = generator.standard_normal((n, d))
    saliency = generator.gamma(0.5, size=n)
    if kind == "smooth":
        features = np.cumsum(features, 0) / 4 + 0.3 * features
    elif kind == "clusters":
        features = generator.standard_normal((6, d))[generator.integers(0, 6, n)] + 0.05 * features
    elif kind == "duplicates":
        features = features[generator.integers(0, 10, n)]
        saliency = generator.integers(0, 4, n) / 64.0
    elif kind == "constant":
        features = np.repeat(features[:1], n, 0)
        saliency = np.full(n, 1 / n)
    elif kind == "zeros":
        features[generator.integers(0, n, 5)] = 0
        features[generator.integers(0, n)] *= 1e4
        saliency[generator.integers(0, n, n // 2)] = 0
    elif kind == "offset":
        features = features + 20
    elif kind == "ties":  # many pairs at exactly the same angle, without being equal
        features = generator.integers(0, 2, (n, d)) * 2.0 - 1
        saliency = generator.integers(1, 3, n) / 64.0
    elif kind == "flat attention":
        saliency = np.zeros(n)
    elif kind == "low rank":
        features = generator.standard_normal((n, 3)) @ generator.standard_normal((3, d))
    return saliency.astype(np.float32), features.astype(np.float32)


def batches(count: int):
    """Cases of every kind in batches of 1 to 8, with their kinds."""
    generator = np.random.default_rng(3)
    done = 0
    while done < count:
        size = min(int(generator.integers(1, 9)), count - done)
        kinds = [KINDS[(done + i) % len(KINDS)] for i in range(size)]
        cases = [case(kind, generator) for kind in kinds]
        yield kinds, np.stack([s for s, _ in cases]), np.stack([f for _, f in cases])
        done += size


def built(setting: str, n: int = N, **more):
    """The pruner, its settings and its reference."""
    name, settings = SETTINGS[setting]
    room = rooms.load("pruners", name)
    config = from_settings(room.Config, {**settings, **more})
    return room.Pruner(config, Candidates((1, n))).eval(), vars(config), rooms.load("reference", name).select


def tokens_of(saliency, features, dtype=torch.float32) -> Tokens:
    values = torch.from_numpy(features).to(dtype)
    return Tokens(values, values, torch.from_numpy(saliency).to(dtype))


def one(tokens: Tokens, image: int) -> Tokens:
    return Tokens(*(None if signal is None else signal[image : image + 1] for signal in tokens))


@functools.cache
def expected(setting: str, count: int):
    """What the reference keeps, case by case: (number, kind, signals, kept)."""
    _, settings, select = built(setting)
    results = []
    for kinds, saliency, features in batches(count):
        tokens = tokens_of(saliency, features)
        for i, kind in enumerate(kinds):
            signals = signals_of(tokens, i, Candidates((1, N)))
            results.append((kind, one(tokens, i), signals, select(signals, settings).kept))
    return results


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_float64_is_exact(setting):
    pruner = built(setting)[0]
    wanted = iter(expected(setting, EXACT))
    for _, saliency, features in batches(EXACT):
        for kept in pruner(tokens_of(saliency, features, torch.float64)).kept:
            kind, _, _, reference = next(wanted)
            assert kept.tolist() == reference.tolist(), kind


def judge(setting: str, count: int, keep_of) -> None:
    """Every selection is the reference's, or rounding explains the difference; few differ."""
    _, settings, select = built(setting)
    wanted = iter(expected(setting, count))
    differences = 0
    for _, saliency, features in batches(count):
        for kept in keep_of(saliency, features):
            kind, tokens, signals, reference = next(wanted)
            if kept.tolist() != reference.tolist():
                differences += 1
                noise = arithmetic_noise(tokens)
                # Sums of a few hundred weights round too, by a few units of their last place.
                sizes = {name: max(noise.sizes[name], 2.0**-22) for name in ("hidden", "projected")}
                noise = Noise({"saliency": 4 * float(np.spacing(saliency.max())), **sizes})
                assert witness(select, settings, signals, np.asarray(kept), noise, []) is not None, (
                    f"{kind}: {kept.tolist()} is not {reference.tolist()}, and no rounding explains it"
                )
    assert differences <= max(1, MOST_DIFFERENCES * count), f"{differences} of {count} differ"


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_float32_differs_by_rounding_alone(setting):
    pruner = built(setting)[0]
    judge(setting, NARROW, lambda saliency, features: pruner(tokens_of(saliency, features)).kept.numpy())


class PrunerAlone(nn.Module):
    """Signals in, positions out."""

    def __init__(self, pruner):
        super().__init__()
        self.pruner = pruner

    def forward(self, saliency, features):
        return (self.pruner(Tokens(features, features, saliency)).kept,)


def brief_of(pruner) -> Brief:
    inputs = (TensorSpec("saliency", "float32", ("b", N)), TensorSpec("features", "float32", ("b", N, D)))
    outputs = (TensorSpec("kept", "int64", ("b", pruner.method.slots)),)
    return Brief(inputs=inputs, outputs=outputs, batch=BatchRange(1, 1, 8), identity="greedy")


def captured_operators(setting: str, keep: int, loops: bool = True) -> list[str]:
    """All operators of the captured graph, those inside loops too."""
    pruner = built(setting, keep=keep)[0]
    brief = dataclasses.replace(brief_of(pruner), loops=loops)
    modules = exported_program(PrunerAlone(pruner), brief).graph_module.modules()
    return sorted(
        str(node.target)
        for module in modules
        for node in getattr(module, "graph", torch.fx.Graph()).nodes
        if node.op == "call_function"
    )


@pytest.mark.whole
@pytest.mark.parametrize("setting", LOOPS)
def test_one_loop_whatever_k_is_and_none_where_it_is_unrolled(setting, tmp_path):
    small = captured_operators(setting, 5)
    assert small == captured_operators(setting, 30)
    assert sum("while_loop" in operator for operator in small) == 1
    assert not any("while_loop" in operator for operator in captured_operators(setting, 5, loops=False))
    pruner = built(setting, keep=5)[0]
    session = open_built(tmp_path, "onnx", PrunerAlone(pruner), dataclasses.replace(brief_of(pruner), loops=False))
    flat = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert flat.count("Loop") == 0
    # Products are made before the rounds, not in them.
    assert flat.count("MatMul") == sum("matmul" in operator for operator in small)
    saliency, features = case("plain", np.random.default_rng(1))
    with session:
        kept = session.run({"saliency": saliency[None], "features": features[None]})["kept"]
    assert kept.tolist() == pruner(tokens_of(saliency[None], features[None])).kept.tolist()


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_keeping_all_is_the_identity(setting):
    pruner = built(setting, keep=N + 3)[0]
    generator = np.random.default_rng(6)
    for kind in KINDS:
        saliency, features = case(kind, generator)
        assert pruner(tokens_of(saliency[None], features[None])).kept.tolist() == [list(range(N))], kind


@pytest.mark.parametrize("setting", sorted({name for name, _ in SETTINGS.values()}))
def test_one_image_of_full_size(setting):
    n, d = 576, 128
    pruner, settings, select = built(setting, n, keep=16)
    saliency, features = case("smooth", np.random.default_rng(8), n, d)
    tokens = tokens_of(saliency[None], features[None], torch.float64)
    assert pruner(tokens).kept[0].tolist() == select(signals_of(tokens, 0, Candidates((1, n))), settings).kept.tolist()


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_half_precision_is_widened(setting):
    pruner = built(setting)[0]
    saliency, features = case("clusters", np.random.default_rng(9))
    half = tokens_of(saliency[None], features[None], torch.float16)
    wide = Tokens(*(None if signal is None else signal.float() for signal in half))
    assert torch.equal(pruner(half).kept, pruner(wide).kept)


def test_draws_differ_by_seed_and_a_smaller_one_is_part_of_a_larger():
    tokens = Tokens(torch.zeros(2, 576, 4))
    draws = [set(built("random", 576, keep=64, seed=seed)[0](tokens).kept[0].tolist()) for seed in range(20)]
    assert len({frozenset(draw) for draw in draws}) == 20
    assert 4 < np.mean([len(a & b) for a in draws for b in draws if a is not b]) < 10  # 64 * 64 / 576 = 7.1 by chance
    smaller = set(built("random", 576, keep=20, seed=3)[0](tokens).kept[0].tolist())
    assert smaller < draws[3]


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("fps", {"start": "last"}, "setting start is 'last'; it must be one of: saliency, first"),
        ("fps", {"metric": "manhattan"}, "setting metric is 'manhattan'"),
        ("dpp", {"relevance": "text"}, "setting relevance is 'text'; it must be one of: none, saliency"),
        ("otprune", {"gamma": "0"}, "setting gamma is 0.0"),
        ("scope", {"alpha": "-1"}, "setting alpha is -1.0"),
        ("scope", {"alpha": "nan"}, "setting alpha is nan"),
        ("dart", {"pivots": "0"}, "setting pivots is 0"),
        ("holov", {"chunks": "0"}, "setting chunks is 0"),
        ("holov", {"beta": "-1"}, "setting beta is -1.0"),
        ("random", {"seed": "-1"}, "setting seed is -1"),
    ],
)
def test_bad_settings_are_refused_by_name(name, settings, words):
    with pytest.raises(SpecError, match=words):
        from_settings(rooms.load("pruners", name).Config, settings)
