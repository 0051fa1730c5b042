"""The laws of `pruners/base.py`, for every file in `pruners/`: a file is under them the moment it exists."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from torch import nn

from tests.formats import FROM_GRAPHS, open_built
from vtp_export import rooms
from vtp_export.backends._traced import exported_program
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.parity.noise import arithmetic_noise, signals_of
from vtp_export.parity.witness import witness
from vtp_export.pipeline.lint import lint
from vtp_export.runtime.brief import Brief
from vtp_export.settings import from_settings
from vtp_export.spec import BatchRange, Candidates, TensorSpec

WIDTH, PROJECTED = 40, 32  # the narrower last: projected features are of full rank, as erank likes them
CANDIDATES = Candidates((4, 16))  # no square: rows and columns are told apart
N = CANDIDATES.n
KINDS = 7
IMAGES = 2 * KINDS
MIX = {"low": 5.0, "high": 30.0}  # ends between which the images below lie

# Settings beside the defaults. A file without an entry is tested at its defaults.
VARIANTS = {
    "adaptive": [{"reference": 20.0}, {"complexity": "entropy", "reference": 3.0, "count": "adaptive"}, {"tau": 0.25}],
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
    rows = [field for field in Tokens._fields if field not in arrays]
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

    gives = frozenset(Tokens._fields)

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
            assert np.array_equal(selection.kept[i, :count].numpy(), outcome.kept), f"keep {keep}, image {i}"
            assert (selection.mix is None) == (outcome.mix is None)
            if outcome.mix is not None:
                np.testing.assert_allclose(selection.mix[i, :count].numpy(), outcome.mix, atol=1e-9)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_kept_is_distinct_in_range_and_in_order(name, settings):
    tokens = batch(KINDS, torch.float32)
    for keep in (2, 9, 40, N):
        pruner, _ = built(name, keep, settings)
        selection = pruner(tokens)  # which checks shapes, dtypes and ranges itself
        assert selection.mix is None or selection.mix.isfinite().all()
        for i in range(KINDS):
            kept = selection.kept[i, : count_of(pruner, selection, i)].tolist()
            assert len(set(kept)) == len(kept)
            assert all((0 if selection.mix is None else -1) <= position < N for position in kept)
            if pruner.method.ascending:
                assert kept == sorted(kept)
        if selection.mix is None and keep == N:
            assert all(sorted(row) == list(range(N)) for row in selection.kept.tolist())


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_batch_is_its_images_and_a_run_repeats(name, settings):
    pruner, _ = built(name, 9, settings)
    tokens = batch(KINDS, torch.float64)
    together, again = pruner(tokens), pruner(tokens)
    for one, two in zip(together, again, strict=True):
        assert (one is None and two is None) or torch.equal(one, two)
    for i in range(KINDS):
        alone = pruner(one_of(tokens, i))
        count = count_of(pruner, together, i)
        assert torch.equal(alone.kept[0, :count], together.kept[i, :count])
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
        return signal[:, order] if signal.shape[1] == N else signal

    before, after = pruner(tokens), pruner(Tokens(*map(shuffled, tokens)))
    for i in range(6):
        moved = {int(order[p]) if p >= 0 else -1 for p in after.kept[i, : count_of(pruner, after, i)].tolist()}
        assert moved == set(before.kept[i, : count_of(pruner, before, i)].tolist())


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


@pytest.mark.parametrize(("name", "variant"), RUNS)
def test_float32_is_the_reference_up_to_what_rounding_explains(name, variant):
    graph, config, tokens, outputs = float32_run(name, variant)
    select, overlaps = rooms.load("reference", name).select, []
    chaotic = graph.front.pruner.method.chaotic
    for i in range(IMAGES):
        kept = outputs[1][i, : int(outputs[2][i])].tolist()
        expected = select(signals_of(tokens, i, CANDIDATES), config).kept.tolist()
        overlaps.append(len(set(kept) & set(expected)) / len(expected))
        assert chaotic or unexplained(name, variant, i, outputs) is None
    assert np.mean(overlaps) >= (0.75 if chaotic else 0.97)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("built")


TO_EXPORT = [run for run in RUNS if run.values[1] in EXPORTED.get(run.values[0], [0])]
LINTED = ("tensorrt-10.3", "tensorrt-11.4")


def brief_of(name, variant):
    """What is exported, and its inputs."""
    graph, _, tokens, results = float32_run(name, variant)
    signals = {signal: getattr(tokens, signal) for signal in graph.names}
    inputs = tuple(TensorSpec(key, "float32", ("b", *value.shape[1:])) for key, value in signals.items())
    names = ("tokens", "kept", "num_kept", *graph.front.pruner.method.measures)
    outputs = tuple(
        TensorSpec(output, str(value.dtype).removeprefix("torch."), ("b", *value.shape[1:]))
        for output, value in zip(names, results, strict=True)
    )
    return Brief(inputs=inputs, outputs=outputs, batch=BatchRange(1, 2, IMAGES), identity="laws"), signals


def lint_errors(path):
    return [finding for report in lint(path, LINTED) for finding in report.findings if finding.severity == "error"]


def kept_alike(name, variant, found):
    """Which images kept what eager kept; that they are most, and the others explained."""
    graph, _, _, outputs = float32_run(name, variant)
    chaotic = graph.front.pruner.method.chaotic
    same = [np.array_equal(found["kept"][i], outputs[1][i].numpy()) for i in range(IMAGES)]
    # The same arithmetic by other kernels: a rare near-tie may fall otherwise, and a chaotic method may go astray.
    assert np.mean(same) >= (0.3 if chaotic else 0.9)
    for i in np.flatnonzero(~np.array(same)):
        assert chaotic or unexplained(name, variant, i, tuple(found.values())) is None
    return same


@pytest.mark.parametrize(("name", "variant"), TO_EXPORT)
@pytest.mark.parametrize("fmt", FROM_GRAPHS)
def test_the_exported_file_does_what_eager_does(folder, monkeypatch, fmt, name, variant):
    graph, _, _, outputs = float32_run(name, variant)
    brief, signals = brief_of(name, variant)
    names = tuple(spec.name for spec in brief.outputs)
    if hasattr(rooms.load("backends", fmt), "exported_program"):  # one capture serves all formats that start from it
        program = captured(name, variant, brief)
        monkeypatch.setattr(f"vtp_export.backends.{fmt}.exported_program", lambda *_: program)
    place = folder / f"{name}-{variant}-{fmt}"
    place.mkdir()
    with open_built(place, fmt, graph, brief) as session:
        found = [session.run({key: value.numpy() for key, value in signals.items()})]
        found.append(session.run({key: value[3:4].numpy() for key, value in signals.items()}))
    if fmt == "onnx":
        assert lint_errors(place / "model.onnx") == []
    same = kept_alike(name, variant, found[0])
    for i in np.flatnonzero(same):
        for key, expected in zip(names, outputs, strict=True):
            scale = float(expected[i].abs().max()) + 1e-6
            # Duplicates, a constant image, and all but one token beside one of 1e4 have a part of the spectrum that
            # float32 fills with noise of each kernel's own: there `effective_rank` promises 1e-2, and no more.
            bound = 1e-2 if key == "erank" and i % KINDS in (3, 4, 5) else 2e-4
            np.testing.assert_allclose(found[0][key][i], expected[i].numpy(), atol=bound * scale, err_msg=f"{key} {i}")
    assert found[1]["kept"].shape == (1, *outputs[1].shape[1:])
    assert np.array_equal(found[1]["kept"][0], found[0]["kept"][3]) or not same[3]


@pytest.mark.parametrize(("name", "variant"), TO_EXPORT)
def test_the_loop_free_file_does_the_same(folder, name, variant):
    (brief, signals), place = brief_of(name, variant), folder / f"{name}-{variant}-loop-free"
    if "while_loop" not in str(captured(name, variant, brief).graph):
        pytest.skip("it has no loop")
    place.mkdir()
    graph = PrunerAlone(float32_run(name, variant)[0].front.pruner.unrolled()).eval()
    session = open_built(place, "onnx", graph, brief)
    path = place / "model.onnx"
    assert lint_errors(path) == []
    assert not [finding for finding in lint(path, LINTED)[0].findings if finding.rule == "loop-operator"]
    with session:
        kept_alike(name, variant, session.run({key: value.numpy() for key, value in signals.items()}))


@functools.cache
def captured(name, variant, brief):
    return exported_program(float32_run(name, variant)[0], brief)
