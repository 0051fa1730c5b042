"""A graph without a file is a session like that of any format."""

import copy

import numpy as np
import pytest
import torch

from vtp_export.graphs.assembly import assemble, load_model
from vtp_export.graphs.eager import EagerSession
from vtp_export.runtime.front_end import load


@pytest.fixture(scope="module")
def graph(small_llava):
    return assemble(load_model(str(small_llava)), "adaptive", {"keep": 8, "count": "adaptive"}).graph


@pytest.fixture
def pixels():
    return np.random.default_rng(0).standard_normal((3, 3, 42, 42), dtype=np.float32)


def test_it_returns_what_the_graph_does(graph, pixels):
    with EagerSession(graph) as session:
        arrays = session.run({"pixel_values": pixels})
    with torch.inference_mode():
        values = graph(torch.from_numpy(pixels))
    assert list(arrays) == ["tokens", "kept", "num_kept", "erank"]
    assert all(np.array_equal(array, value.numpy()) for array, value in zip(arrays.values(), values, strict=True))


def test_closed_means_closed(graph, pixels):
    session = EagerSession(graph)
    with session:
        session(pixels)
    with pytest.raises(ValueError, match="closed"):
        session(pixels)


def test_any_two_sessions_are_called_alike(artefact, pixels):
    with load(artefact, "onnx") as opened:
        pruner = opened.manifest.pruner
        eager = EagerSession(assemble(load_model(opened.manifest.model.id), pruner.name, pruner.settings).graph)
        for run in (opened.run, eager):
            assert [view.kept.tolist() for view in run(pixels)] == [view.kept.tolist() for view in eager(pixels)]


def test_what_is_seen_of_an_image_is_its_row(graph, pixels):
    session = EagerSession(graph)
    output, tokens = session(pixels), session.encode(pixels)
    for i, seen in enumerate(session.see(pixels)):
        assert np.array_equal(seen.result.kept, output[i].kept)
        assert seen.result.erank == output[i].erank
        assert torch.equal(seen.tokens.hidden, tokens.hidden[i : i + 1])
        assert torch.equal(seen.tokens.saliency, tokens.saliency[i : i + 1])


def test_another_dtype_is_of_a_copy(graph, pixels):
    wide = EagerSession(graph, dtype=torch.float64)
    assert wide.encode(pixels).hidden.dtype == torch.float64
    assert next(graph.parameters()).dtype == torch.float32
    assert wide(pixels).tokens.dtype == wide.see(pixels)[0].result.tokens.dtype == np.float32
    assert np.allclose(wide(pixels).tokens, EagerSession(graph)(pixels).tokens, atol=1e-4)


def test_another_dtype_is_not_a_second_set_of_weights(graph, pixels):
    """The same numbers as of weights that are all converted, while only those of one part ever are."""
    wide, most = EagerSession(graph, dtype=torch.float64), 0
    weights = dict(graph.frontend.named_parameters())

    def count(module, *_):
        nonlocal most
        converted = [w for w in wide.graph.frontend.parameters() if w.dtype == torch.float64]
        most = max(most, sum(weight.numel() for weight in converted))

    for module in wide.graph.frontend.modules():
        module.register_forward_hook(count, prepend=True)
    tokens = wide.encode(pixels)
    whole = copy.deepcopy(graph)
    whole.frontend.double()
    with torch.inference_mode():
        expected = whole.encode(torch.from_numpy(pixels).double())
    assert torch.equal(tokens.hidden, expected.hidden) and torch.equal(tokens.projected, expected.projected)
    assert 0 < most < 0.7 * sum(weight.numel() for weight in weights.values())
    assert all(value is weights[name] for name, value in wide.graph.frontend.named_parameters())


def test_weights_from_elsewhere_make_tokens(graph, pixels):
    session = EagerSession(graph)
    seen = session.see(pixels)[0]
    mix = np.eye(seen.tokens.hidden.shape[1])[seen.result.kept]
    assert np.allclose(session.mixed(seen.tokens, seen.result.kept, mix), seen.result.tokens, atol=1e-5)
