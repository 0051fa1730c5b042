"""The exported file of every family, in every precision: runtimes take it, and it does what the eager graph does."""

import functools
import itertools
import zlib

import numpy as np
import pytest

from tests.formats import open_built
from tests.laws.families import checkpoints_of, load_family
from vtp_export import rooms
from vtp_export.graphs.assembly import assemble, needs_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.models.toy import draw_weights
from vtp_export.parity.gates import GATES
from vtp_export.pipeline.lint import lint
from vtp_export.precision.lowering import lowered
from vtp_export.precision.ranges import measured
from vtp_export.runtime.brief import Brief
from vtp_export.spec import BatchRange, PrecisionRecord

KEEP, IMAGES = 5, 6
PRUNER, SETTINGS = "hiprune", {"keep": KEEP}
"""It reads what takes most of a tower: the whole attention of two layers."""
PRECISIONS = {
    "fp32": PrecisionRecord(),
    "fp16": PrecisionRecord(name="fp16"),
    "bf16": PrecisionRecord(name="bf16"),
    "int8": PrecisionRecord(name="int8", activations="static"),
}
FORMATS = ("onnx", "openvino", "pt2")
CANNOT = {("onnx", "bf16"), ("openvino", "bf16")}
"""Formats that run no such products on a CPU."""
LINTED = ("tensorrt-10.3", "tensorrt-11.4", "tensorrt-rtx-1.7")
"""The oldest and the newest TensorRT that are promised, and the one whose own parser is asked where it is installed."""


def sampled(product):
    """In no order: a few of different families that meet every value beside the family; the others are `whole`."""
    cases, met = sorted(product, key=lambda values: zlib.crc32("".join(values).encode())), set()
    params = []
    for family, *values in cases:
        wanted = family not in met and not met.issuperset(values)
        met.update((family, *values) if wanted else ())
        params.append(
            pytest.param(family, *values, id="-".join((family, *values)), marks=() if wanted else pytest.mark.whole)
        )
    return params


FAMILIES = rooms.names("models")
TAKEN = sampled((family, "onnx", "bf16") for family in FAMILIES)
AGREE = sampled(case for case in itertools.product(FAMILIES, FORMATS, PRECISIONS) if case[1:] not in CANNOT)


@pytest.fixture(scope="module")
def graph_of(tmp_path_factory):
    """The graph of a family in a precision, made once."""

    @functools.cache
    def wide(family):
        writer = checkpoints_of(family).WRITERS[0]
        model = load_family(writer(tmp_path_factory.mktemp(family)), needs_of(PRUNER, SETTINGS))
        draw_weights(model.module, 5)
        return assemble(model, PRUNER, SETTINGS).graph

    @functools.cache
    def made(family, precision):
        graph = wide(family)
        return lowered(graph, PRECISIONS[precision], measured(graph, [pixels_of(graph)]))

    return made


def pixels_of(graph):
    return np.random.default_rng(8).standard_normal((IMAGES, 3, *graph.frontend.image_size), dtype=np.float32)


def brief_of(graph):
    return Brief(inputs=graph.inputs, outputs=graph.outputs, batch=BatchRange(1, 1, IMAGES), identity="families")


def assert_tensorrt_takes(file):
    reports = lint(file, LINTED)
    assert [finding for report in reports for finding in report.findings if finding.severity == "error"] == []


@pytest.mark.parametrize(("family", "fmt", "precision"), TAKEN)
def test_tensorrt_takes_what_no_cpu_runs(tmp_path, graph_of, family, fmt, precision):
    graph = graph_of(family, precision)
    build = rooms.load("backends", fmt).Backend().build(graph, brief_of(graph), tmp_path, lambda *_: None)
    assert_tensorrt_takes(tmp_path / build.main)


def kept_when_moved(eager, view, kept):
    """Whether the eager graph itself keeps these of pixels moved by a millionth.

    Numbers half-way between two steps of int8 are rounded either way, and a near-tie follows.
    """
    draw = np.random.default_rng(0)
    moved = [view * (1 + 1e-6 * draw.standard_normal(view.shape)).astype(np.float32) for _ in range(32)]
    return any(np.array_equal(result.kept, kept) for result in eager(np.stack(moved)))


@pytest.mark.parametrize(("family", "fmt", "precision"), AGREE)
def test_the_file_does_what_the_eager_graph_does(tmp_path, graph_of, family, fmt, precision):
    """And TensorRT takes the ONNX file, which is not built again for that."""
    graph = graph_of(family, precision)
    pixels, gates = pixels_of(graph), GATES[precision]
    eager = EagerSession(graph)
    expected = eager(pixels)
    with open_built(tmp_path, fmt, graph, brief_of(graph)) as session:
        found = session.run({"pixel_values": pixels})
    for one, view, kept, tokens in zip(expected, pixels, found["kept"], found["tokens"], strict=True):
        if np.array_equal(one.kept, kept):
            bound = gates.relative_error * np.abs(one.tokens).max()
            np.testing.assert_allclose(tokens, one.tokens, atol=bound, rtol=0)
        else:
            assert precision == "int8" and kept_when_moved(eager, view, kept), (one.kept, kept)
    if fmt == "onnx":
        assert_tensorrt_takes(tmp_path / "model.onnx")


def test_the_sample_meets_every_format_and_precision():
    for cases in (TAKEN, AGREE):
        taken = [case.values for case in cases if not case.marks]
        assert len(taken) < len(cases) / 8
        for place in range(1, len(cases[0].values)):
            assert {values[place] for values in taken} == {case.values[place] for case in cases}
