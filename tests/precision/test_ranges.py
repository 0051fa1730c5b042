"""What bounds the logits of attention, by whichever layers make its queries and keys."""

import pytest
import torch
from torch import nn

from vtp_export.models.base import AttentionGroup
from vtp_export.precision.ranges import measured
from vtp_export.spec import TensorSpec

WIDTH, HEADS = 12, 3


class Tower(nn.Module):
    """Attention whose queries, keys and values come from three layers, or from one."""

    def __init__(self, weight, one_layer):
        super().__init__()
        parts = [weight] if one_layer else weight.chunk(3)
        for name, part in zip(("qkv",) if one_layer else ("q", "k", "v"), parts, strict=True):
            layer = nn.Linear(WIDTH, len(part), bias=False)
            layer.weight = nn.Parameter(part.clone())
            self.add_module(name, layer)
        self.groups = (AttentionGroup(tuple(name for name, _ in self.named_children()), HEADS),)


class Graph(nn.Module):
    def __init__(self, frontend):
        super().__init__()
        self.frontend = frontend
        self.outputs = (TensorSpec("tokens", "float32", ("b", 5, 3 * WIDTH)),)

    def forward(self, pixels):
        return (torch.cat([layer(pixels) for layer in self.frontend.children()], -1),)


@pytest.mark.parametrize("one_layer", [False, True])
def test_the_bound_is_the_longest_query_times_the_longest_key_of_one_head(one_layer):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3 * WIDTH, WIDTH, generator=generator) * 10
    images = torch.randn(2, 5, WIDTH, generator=generator)
    query, key, value = (images @ weight.T).unflatten(-1, (3, HEADS, -1)).unbind(2)  # (b, m, heads, dh)
    longest = [part.norm(dim=-1).flatten(0, 1).amax(0) for part in (query, key)]
    bound = float((longest[0] * longest[1]).amax()) * (WIDTH / HEADS) ** -0.5
    assert bound > float((images @ weight.T).abs().max())  # so that it is what is told
    found = measured(Graph(Tower(weight, one_layer)), [images.numpy()])
    for name in ("qkv",) if one_layer else ("q", "k"):
        assert found[f"frontend.{name}"].returns == pytest.approx(bound, rel=1e-5)
    if not one_layer:
        assert found["frontend.v"].returns == pytest.approx(float(value.abs().max()), rel=1e-5)


@pytest.mark.parametrize("larger", ["tokens", "deepstack"])
def test_all_that_the_language_model_reads_is_looked_at(larger):
    """Or planes would overflow where tokens do not."""
    frontend = Tower(torch.randn(3 * WIDTH, WIDTH, generator=torch.Generator().manual_seed(0)), True)
    graph = Graph(frontend)
    graph.outputs = tuple(TensorSpec(name, "float32", ("b", 5, 3 * WIDTH)) for name in ("tokens", "deepstack"))
    graph.forward = lambda pixels: tuple(
        frontend.qkv(pixels) * (70_000 if spec.name == larger else 1) for spec in graph.outputs
    )
    images = torch.ones(1, 5, WIDTH)
    expected = 70_000 * float(frontend.qkv(images).detach().abs().max())
    assert measured(graph, [images.numpy()])[""].returns == pytest.approx(expected, rel=1e-5)
