"""Answers compared: what agrees passes, what differs is told with its margin, chance is told from change."""

import dataclasses

import pytest

from vtp_export.benchmarks.shapes import Benchmark
from vtp_export.errors import SpecError
from vtp_export.graphs.assembly import assemble, load_model, source_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.packing import packer_for
from vtp_export.integrations.transformers import Answerer
from vtp_export.parity.answer_store import AnswerStore
from vtp_export.parity.answers import Manner, answers_of, compare_answers
from vtp_export.parity.chance import mcnemar
from vtp_export.parity.gates import GATES
from vtp_export.runtime.front_end import load


@pytest.fixture(scope="module")
def made():
    """The language model, scenes with their questions, and a way to ask a run."""
    loaded, scenes = load_model("tiny-llava"), list(Benchmark().examples(6))
    answerer = Answerer(source_of("tiny-llava"))
    assembly = assemble(loaded, "adaptive", {"keep": 48})
    graph, packer = EagerSession(assembly.graph), packer_for(loaded, assembly.layout, None)
    return graph, scenes, lambda run, asked=scenes: answers_of(answerer, asked, run, packer)


def compared(expected, found):
    return compare_answers("answers of onnx", Benchmark(), expected, found, GATES["fp32"].answers)


def test_an_artefact_answers_as_the_graph(made, embedded_artefact):
    graph, scenes, ask = made
    with load(embedded_artefact) as session:
        found = compared(ask(graph), ask(session.run))
    assert found.questions == sum(len(scene.questions) for scene in scenes)
    assert found.identical == found.questions
    assert (found.agreement, found.p_value, found.expected) == (1.0, 1.0, found.found)
    assert found.passed
    assert found.expected > 0.8  # a model that answers, so that agreement says something


def test_other_tokens_fail_and_every_difference_is_told(made):
    graph, _, ask = made
    found = compared(ask(graph), ask(lambda pixels: dataclasses.replace(out := graph(pixels), tokens=out.tokens * 0)))
    assert not found.passed
    assert len(found.failures) == 2
    assert "answers are the same, below 99.5%" in found.failures[0]
    assert "not chance" in found.failures[1]
    assert len(found.disagreements) == found.questions - found.identical
    for one in found.disagreements:
        assert one.expected != one.found
        assert one.margin > 0


def test_a_benchmark_without_questions_is_refused(made):
    graph, scenes, ask = made
    silent = [dataclasses.replace(scene, questions=()) for scene in scenes]
    with pytest.raises(SpecError, match="asks no questions"):
        ask(graph, silent)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [(0, 0, 1.0), (6, 0, 0.03125), (0, 6, 0.03125), (1, 1, 1.0), (5, 1, 0.21875), (10, 2, 0.03857421875)],
)
def test_mcnemar_is_the_binomial_test(only_first, only_second, p):
    """Values of scipy.stats.binomtest(k, n, 0.5).pvalue."""
    first = [True] * only_first + [False] * only_second + [True, False]
    second = [False] * only_first + [True] * only_second + [True, False]
    assert mcnemar(first, second) == pytest.approx(p)


def test_answers_that_are_kept_are_not_asked_for_again(made, tmp_path):
    """Of any batch; those of another head, or to longer answers, are others."""
    graph, scenes, _ = made
    loaded, answerer = load_model("tiny-llava"), Answerer(source_of("tiny-llava"))
    packer, runs = packer_for(loaded, assemble(loaded, "adaptive", {"keep": 48}).layout, None), []

    def run(pixels):
        runs.append(len(pixels))
        return graph(pixels)

    def asked(batch, head="graph", longest=64):
        manner = Manner(longest=longest, batch=batch, store=AnswerStore(tmp_path, {"run": head}))
        return answers_of(answerer, scenes[:3], run, packer, manner=manner)

    first = asked(64)
    assert len(runs) == 3
    assert asked(1) == first and len(runs) == 3
    alone = asked(1, head="alone")
    assert [reply.decoded.ids for reply in alone] == [reply.decoded.ids for reply in first] and len(runs) == 6
    assert max(len(reply.decoded.ids) for reply in asked(64, longest=1)) == 1 and len(runs) == 9
