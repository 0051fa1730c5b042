"""`vtp-export validate`: does the artefact do what the graph does, and the graph what the paper says?

Judged in this order: which tokens were kept, every difference to be explained by the measured rounding noise; values
on the tokens that both kept; erank and attention entropy. Two questions, kept apart: the eager graph against
`reference/`, and each format of the artefact against the eager graph.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vtp_export.benchmarks._lookup import benchmark_of, examples_of
from vtp_export.benchmarks.base import Example
from vtp_export.errors import ArtefactError
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.assembly import assemble, load_model, source_of
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.parity.answers import AnswerComparison, compare_answers
from vtp_export.parity.gates import GATES
from vtp_export.parity.judge import Found, Judge, alike, judge_of
from vtp_export.parity.noise import arithmetic_noise, tower_noise
from vtp_export.parity.tally import Tally
from vtp_export.parity.verdict import Comparison, ValidationReport
from vtp_export.precision.twins import twin_of
from vtp_export.progress import Progress, silent
from vtp_export.reference.base import Outcome
from vtp_export.reports.validation import write_validation
from vtp_export.runtime.artefact import open_artefact, record_validation
from vtp_export.runtime.front_end import Output, PrunedArtefact, load
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.spec import Manifest, Scalar

NOISE_IMAGES = 4
"""Images run again in float64 to measure the noise."""

BATCH = 4
"""Images a run, where the artefact allows it: batches are what people serve."""


NAMES = ("graph against reference", " against graph")
CHAOTIC_NAMES = (
    "graph in float64 against reference",
    " against graph (chaotic method: in float32 only the overlap is judged)",
)
"""What is compared. The user should read that a chaotic method is not judged token by token."""


@dataclass(frozen=True)
class ValidateSpec:
    """What to check.

    formats: of the artefact, or empty for all.
    benchmark: a name, or a folder of images.
    limit: number of images, or None for all.
    reference: the model, where it is no longer where the manifest says.
    answers: also let the language model answer the benchmark's questions.
    device: what runs the artefact; the graph that it is held against always runs on the CPU.
    report: folder of a page with the numbers and with overlays, or None.
    """

    folder: Path
    formats: tuple[str, ...] = ()
    benchmark: str = "photos"
    limit: int | None = None
    reference: str | None = None
    answers: bool = False
    device: str | None = None
    report: Path | None = None


def validate(spec: ValidateSpec, progress: Progress = silent) -> ValidationReport:
    """Run the comparisons, and write what they measured into the artefact's manifest.

    Raises:
        VtpError: the artefact, the model or the benchmark cannot be used.
    """
    artefact = open_artefact(spec.folder)
    manifest = artefact.manifest
    formats = spec.formats or tuple(manifest.formats())
    examples = examples_of(spec.benchmark, spec.limit)
    progress("loading the reference model")
    graph = _graph(manifest, spec.reference)
    judge = judge_of(graph, manifest.pruner)
    progress("measuring the rounding noise")
    first = torch.from_numpy(pixel_values([e.image for e in examples[:NOISE_IMAGES]], manifest.preprocessing))
    narrow = manifest.precision.name != "fp32"
    twin = twin_of(graph, manifest.precision, manifest.preprocessing) if narrow else None
    noise = tower_noise(graph, first, twin)
    names = CHAOTIC_NAMES if judge.chaotic else NAMES
    with torch.inference_mode():
        against_reference = Tally(names[0], arithmetic_noise(graph.encode(first)))
    label = names[1] + (f" in fp32, as {manifest.precision.name}" if narrow else "")
    label = label if spec.device in (None, "cpu") else f" on {spec.device}{label}"
    gates = GATES[manifest.precision.name]
    if judge.chaotic:  # float32 itself keeps half of what float64 does, so no share of it can be asked for
        gates = dataclasses.replace(gates, jaccard=0.0)
    tallies = {name: Tally(name + label, noise, gates) for name in formats}
    sessions = {name: load(spec.folder, name, device=spec.device) for name in formats}
    try:
        done = 0
        for batch in _batches(examples, manifest):
            progress("comparing", done, len(examples))
            _compare_batch(batch, (judge, twin), against_reference, tallies, sessions)
            done += len(batch)
        answers = _answers(spec, manifest, graph, examples, sessions, progress) if spec.answers else ()
    finally:
        for session in sessions.values():
            session.close()
    comparisons = (against_reference.done(), *(tally.done() for tally in tallies.values()))
    for i, (name, comparison) in enumerate(zip(formats, comparisons[1:], strict=True)):
        told = _recorded(comparison, spec, comparisons[0])
        told["device"] = sessions[name].device
        record_validation(spec.folder, name, told | (_answers_recorded(answers[i]) if answers else {}))
    result = ValidationReport(str(spec.folder), spec.benchmark, comparisons, answers)
    if spec.report is not None:
        with load(spec.folder, formats[0], device=spec.device) as shown:
            write_validation(result, shown, examples, spec.report, progress)
    return result


def _answers(
    spec: ValidateSpec,
    manifest: Manifest,
    graph: PrunedFrontend,
    examples: Sequence[Example],
    sessions: dict[str, PrunedArtefact],
    progress: Progress,
) -> tuple[AnswerComparison, ...]:
    from vtp_export.integrations.transformers import Answerer

    model = spec.reference or manifest.model.id
    progress("loading the language model")
    answerer = Answerer(source_of(model), None if spec.reference else manifest.model.revision)
    return compare_answers(answerer, benchmark_of(spec.benchmark), examples, graph, sessions, progress)


def _graph(manifest: Manifest, reference: str | None) -> PrunedFrontend:
    """The eager graph of the very weights that were exported."""
    record = manifest.model
    model = load_model(reference or record.id, None if reference else record.revision)
    if model.record.weights_sha256 != record.weights_sha256:
        raise ArtefactError(
            f"the artefact was made from other weights (SHA-256 {record.weights_sha256[:12]}...) than "
            f"'{model.record.id}' has now ({model.record.weights_sha256[:12]}...); name the right one with --reference"
        )
    return assemble(model, manifest.pruner.name, manifest.pruner.settings).graph


def _batches(examples: Sequence[Example], manifest: Manifest) -> Iterator[Sequence[Example]]:
    """Runs of images, no larger than the artefact takes."""
    size = max(manifest.batch.min, min(BATCH, manifest.batch.max))
    for start in range(0, len(examples), size):
        yield examples[start : start + size]


def _compare_batch(
    batch: Sequence[Example],
    judges: tuple[Judge, PrunedFrontend | None],
    against_reference: Tally,
    tallies: dict[str, Tally],
    sessions: dict[str, PrunedArtefact],
) -> None:
    """`judges`: the judge with the float32 graph, and the graph in the artefact's precision if that is another."""
    judge, twin = judges
    graph = judge.graph
    pixels = _pixels(batch, next(iter(sessions.values())).manifest)
    images = torch.from_numpy(pixels)
    with torch.inference_mode():
        tokens = graph.encode(images)
        arrays = [value.numpy() for value in graph.finish(tokens, graph.pruner(tokens))]
    names = ("tokens", "kept", "num_kept", *graph.pruner.measures)
    eager = Output(**dict(zip(names, arrays, strict=True)))
    narrow = None if twin is None else functools.cache(lambda: _encoded(twin, images))
    results = {name: session.run(pixels) for name, session in sessions.items()}
    for i, example in enumerate(batch):
        outcome = judge.outcome(tokens, i)
        _add_to_reference(against_reference, judge, tokens, (example.name, i, eager), outcome)
        for name, result in results.items():
            tally = tallies[name]
            tolerance = tally.gates.relative_error
            measured = _complexity(result, i), _complexity(eager, i)
            found = Found(_kept(result, i), result.tokens[i, : int(result.num_kept[i])], measured, tolerance)
            if judge.chaotic:
                explain = judge.strays(tokens, i, found.kept, tally.noise)
            else:
                explain = judge.explain(tokens, i, found, tally.noise, narrow)
            mine, theirs = _matched(eager, result, i)
            same = alike(mine, theirs, tolerance) if outcome.mix is not None else np.ones(len(mine), dtype=bool)
            tally.add_kept(example.name, _kept(eager, i), found.kept, explain, bool(same.all()))
            tally.pairs.append((mine[same], theirs[same]))
            _add_numbers(tally, result, i, *_numbers(eager, i))


def _pixels(batch: Sequence[Example], manifest: Manifest) -> np.ndarray:
    """A last batch too small for the artefact is filled with its own last image, which is not judged again."""
    pixels = pixel_values([example.image for example in batch], manifest.preprocessing)
    return np.concatenate([pixels, *[pixels[-1:]] * max(0, manifest.batch.min - len(pixels))])


def _encoded(graph: PrunedFrontend, images: torch.Tensor) -> Tokens:
    with torch.inference_mode():
        return graph.encode(images)


def _numbers(output: Output, i: int) -> tuple[float | None, float | None]:
    """Of one image: erank and attention entropy, where they were measured."""
    erank, entropy = (
        None if values is None else float(values[i]) for values in (output.erank, output.attention_entropy)
    )
    return erank, entropy


def _add_to_reference(
    tally: Tally, judge: Judge, tokens: Tokens, shown: tuple[str, int, Output], outcome: Outcome
) -> None:
    """Hold one image of the eager graph, (name, place in the batch, output), against the reference."""
    name, i, eager = shown
    kept, rows = judge.kept(tokens, i, _kept(eager, i)), eager.tokens[i, : int(eager.num_kept[i])]
    found = Found(kept, rows, (outcome.complexity, _complexity(eager, i)), tally.gates.relative_error)
    explain = judge.explain(tokens, i, found, tally.noise)
    expected = judge.rows(tokens, i, outcome)
    same = np.ones(len(rows), dtype=bool) if expected is None else alike(expected, rows, found.tolerance)
    tally.add_kept(name, outcome.kept, kept, explain, bool(same.all()))
    if expected is not None and len(expected) == len(rows):
        tally.pairs.append((expected[same], rows[same]))
    _add_numbers(tally, eager, i, outcome.complexity, outcome.complexity)


def _kept(output: Output, i: int) -> np.ndarray:
    return output.kept[i, : int(output.num_kept[i])]


def _complexity(output: Output, i: int) -> float | None:
    for measured in (output.erank, output.attention_entropy):
        if measured is not None:
            return float(measured[i])
    return None


def _matched(expected: Output, found: Output, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Token rows of the positions that both kept."""
    _, mine, theirs = np.intersect1d(_kept(expected, i), _kept(found, i), return_indices=True)
    return expected.tokens[i, mine], found.tokens[i, theirs]


def _add_numbers(tally: Tally, found: Output, i: int, erank: float | None, entropy: float | None) -> None:
    if found.erank is not None and erank is not None and erank >= 20:
        tally.erank.append(abs(float(found.erank[i]) - erank) / erank)
    if found.attention_entropy is not None and entropy is not None:
        tally.entropy.append(abs(float(found.attention_entropy[i]) - entropy))


def _recorded(comparison: Comparison, spec: ValidateSpec, against_reference: Comparison) -> dict[str, Scalar]:
    """The few numbers of a comparison that go into the manifest."""
    values = comparison.values
    numbers = {
        "jaccard_mean": comparison.jaccard_mean,
        "cosine_min": None if values is None else values.cosine_min,
        "relative_error": None if values is None else values.relative_error,
        "erank_error": comparison.erank_error,
        "attention_entropy_error": comparison.attention_entropy_error,
    }
    return {
        "benchmark": spec.benchmark,
        "images": comparison.images,
        "passed": comparison.passed and against_reference.passed,
        "same_tokens_kept": comparison.identical,
        "differences_explained": sum(d.witness is not None for d in comparison.differences),
        "differences_unexplained": sum(d.witness is None for d in comparison.differences),
        # JSON has no NaN and no infinity.
        **{name: v if v is None or math.isfinite(v) else str(v) for name, v in numbers.items()},
    }


def _answers_recorded(answers: AnswerComparison) -> dict[str, Scalar]:
    return {
        "questions": answers.questions,
        "answers_identical": answers.identical,
        "answers_metric": answers.metric,
        "answers_graph": answers.expected,
        "answers_found": answers.found,
        "answers_p_value": answers.p_value,
        "answers_passed": answers.passed,
    }
