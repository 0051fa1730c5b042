"""`vtp-export validate`: does the artefact do what the graph does, and the graph what the paper says?

Judged in this order: the pixels, against those of the model's own files and of Transformers; what manifest and golden
record say of the model; which tokens were kept, every difference to be explained by the measured rounding noise; values
on the tokens that both kept; erank and attention entropy. Two questions, kept apart: the eager graph against
`reference/`, and each format against the eager graph (what it measures against `reference/`, too) and against itself in
other batches. From the pixels on all is computed from the model's own preprocessing; but for settings nothing is taken
from the manifest. Where a picture is several views, each view is an image here.
"""

import contextlib
import dataclasses
import functools
import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from vtp_export.arguments import one_or_several
from vtp_export.benchmarks._lookup import examples_of
from vtp_export.benchmarks.base import Example
from vtp_export.comparing.formats import Asking, kept_in, replies_of
from vtp_export.errors import ArtefactError, UnavailableError
from vtp_export.functional.devices import prepare
from vtp_export.graphs.assembly import Assembly, assemble, load_model, name_of, needs_of, source_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.packing import packed, settings_of
from vtp_export.graphs.parts import Parts
from vtp_export.integrations.hosts import ANSWERS, TRANSFORMERS, refuse_unasked, speakers_of
from vtp_export.integrations.processors import compared_pixels
from vtp_export.integrations.transformers import Answerer
from vtp_export.json_records import as_unicode
from vtp_export.making.artefact import built
from vtp_export.models._sizes import size_of
from vtp_export.models.base import LoadedModel
from vtp_export.parity.asking import BATCH
from vtp_export.parity.batches import other_sizes, repeated, usual_size
from vtp_export.parity.claims import false_claims, false_files, own_manifest
from vtp_export.parity.golden import read_record
from vtp_export.parity.parts import Bisection
from vtp_export.parity.trial import Trial, outcome
from vtp_export.parity.verdict import ValidationReport
from vtp_export.precision.lowering import weighted_layers
from vtp_export.precision.planning import false_plan
from vtp_export.precision.twins import twin_of
from vtp_export.progress import Progress, silent
from vtp_export.reports.page import report_folder
from vtp_export.reports.validation import report_validation
from vtp_export.runtime.artefact import Artefact, open_artefact
from vtp_export.runtime.brief import brief_of
from vtp_export.runtime.changing import record_validation
from vtp_export.runtime.formats import obstacle, options_of, prepared
from vtp_export.runtime.front_end import PrunedArtefact, load
from vtp_export.runtime.hub import located, told_name
from vtp_export.runtime.images import batched
from vtp_export.runtime.preprocess import named_views, values_of
from vtp_export.spec import Manifest, Packing, PrunerRecord, Scalar

NOISE_IMAGES = 4  # run again in float64


def validate(
    folder: str | Path,
    *,
    formats: Sequence[str] = (),
    benchmark: str | Path = "photos",
    limit: int | None = None,
    answers: bool = False,
    through: str = TRANSFORMERS,
    decoder: str | Path | None = None,
    quantised: bool = False,
    bisect: bool = False,
    report: str | Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    model: str | Path | None = None,
    eager_device: str = "cpu",
    dtype: str = "float32",
    batch: int = BATCH,
    cache: str | Path | None = None,
    progress: Progress = silent,
) -> ValidationReport:
    """Run the comparisons, and write what they measured into the artefact's manifest, if that can be written.

    Args:
        folder: the artefact.
        formats: of the artefact; none for all.
        benchmark: a name, or a folder of images.
        limit: number of images, or None for all.
        answers: also let the language model answer the benchmark's questions.
        through: the runtime that answers from the artefact's tokens, of `hosts.RUNTIMES`.
        decoder: what that reads the language model from, see `hosts.FILES`.
        quantised: that language model is; what it changes is told apart from what the artefact does, see `Speakers`.
        bisect: also build the graph anew for every format, and say in which part its runtime leaves the graph.
        report: folder of a page with the gates, the worst cases and pictures of what was kept, or None.
        device: where the artefact runs, see `load`.
        threads: CPU threads of one run, or None for as many as the process may use.
        options: of the formats, see `load`; each is given to the formats that have it.
        model: what was exported, where it is no longer where the manifest says.
        eager_device: where torch runs the graph, in float32, and the language model: "cpu" or "cuda".
        dtype: what the language model computes with.
        batch: so many questions are answered together at most.
        cache: folder where answers are kept, and never asked for twice; None keeps none.
        progress: hears of every step.

    Raises:
        VtpError: the artefact, the model or the benchmark cannot be used.
    """
    prepare(eager_device, threads)
    page, folder, kept = report_folder(report), located(folder), kept_in(cache, batch)
    artefact = open_artefact(folder)
    plan, record = artefact.plan(), read_record(artefact) if artefact.manifest.golden else None
    chosen = options_of(one_or_several(formats) or artefact.manifest.formats(), options)
    examples = examples_of(benchmark, limit)
    _refuse_unrunnable(artefact, chosen, device)
    refuse_unasked(examples, through, decoder, answers, quantised)
    progress("loading the model")
    loaded, assembly, packing = _exported(artefact.manifest, model)
    source = source_of(loaded.core.id), loaded.core.revision
    plain = functools.partial(Answerer, *source, device=eager_device, dtype=dtype)
    speakers = speakers_of(through, decoder, artefact.manifest, plain, threads) if answers else None
    progress("comparing the pixels")
    pixels, notes = compared_pixels(artefact.manifest, loaded, source, examples)
    own = own_manifest(artefact.manifest, loaded, assembly, weighted_layers(assembly.graph), packing)
    eager = EagerSession(assembly.graph, eager_device)
    progress("measuring the rounding noise")
    trial = _trial(own, assembly.pruner, eager, examples)
    progress("opening the artefact")
    with _opened(artefact, chosen, device, threads) as sessions:
        _judge_examples(trial, own, examples, sessions, device, progress)
        asking = Asking(
            benchmark=benchmark, asked=examples, graph=eager, model=loaded, own=own, batch=batch, apart=quantised
        )
        replies = replies_of(speakers if trial.sound else None, asking, sessions, kept, page, progress)
        if speakers is not None and not trial.sound:
            notes.append("the language model was not asked: a result breaks the contract")
        lies = false_files(own, trial.graph, sessions, record, trial.noise)
        result = ValidationReport(
            artefact=told_name(folder),
            benchmark=as_unicode(str(benchmark)),
            pixels=pixels,
            false_claims=(*false_claims(artefact.manifest, own), *lies, *false_plan(plan, eager.graph, own.precision)),
            comparisons=tuple(trial.done()),
            batches=tuple(trial.batches()),
            answers=replies,
            notes=(*notes, *trial.notes()),
        )
        if bisect:
            result = _bisections(result, trial, own, chosen, (device, threads), progress)
        result = _recorded(artefact, result, {fmt: session.device for fmt, session in sessions.items()})
        if page is not None:
            result = report_validation(result, next(iter(sessions.values())), own, examples, page, progress)
    return result


def _bisections(
    result: ValidationReport,
    trial: Trial,
    own: Manifest,
    chosen: Mapping[str, Any],
    place: tuple[str | None, int | None],
    progress: Progress,
) -> ValidationReport:
    """The same, with where each format leaves the graph, opened on a device with so many threads."""
    ways = {fmt: {"device": place[0], "threads": place[1], "options": options} for fmt, options in chosen.items()}
    found = tuple(_bisected(trial, own, fmt, way, progress) for fmt, way in ways.items())
    return dataclasses.replace(result, bisections=found)


def _bisected(trial: Trial, own: Manifest, fmt: str, opening: Mapping[str, Any], progress: Progress) -> Bisection:
    """Where a format leaves the graph: built anew, with all its parts as outputs."""
    progress(f"taking {fmt} apart")
    backend, device, options = prepared(fmt, opening["device"], opening["options"])
    parts = Parts(trial.graph)
    brief = dataclasses.replace(brief_of(own), outputs=parts.specs(), loops=backend.loops, signals=())
    with tempfile.TemporaryDirectory() as place:
        build = built(backend, parts, brief, Path(place), progress)
        with backend.open(Path(place), build, brief, device, opening["threads"], options) as session:
            return trial.bisected(fmt, session)


def _refuse_unrunnable(artefact: Artefact, formats: Iterable[str], device: str | None) -> None:
    """Before minutes of work for nothing."""
    for fmt in formats:
        artefact.builds(fmt)
        if reason := obstacle(artefact, fmt, device):
            raise UnavailableError(reason)


def _exported(manifest: Manifest, moved: str | Path | None) -> tuple[LoadedModel, Assembly, Packing | None]:
    """The very weights that were exported, the graph of the pruner that the manifest names, and the packing."""
    record = manifest.model
    name, revision = (record.id, record.revision) if moved is None else (name_of(moved), None)
    needs = needs_of(manifest.pruner.name, manifest.pruner.settings)
    model = load_model(name, needs, revision, size_of(manifest))
    now = model.record(needs)
    if now.weights_sha256 != record.weights_sha256:
        raise ArtefactError(
            f"the artefact was made from other weights (SHA-256 {record.weights_sha256[:12]}...) than "
            f"'{now.id}' has now ({now.weights_sha256[:12]}...); name the right one with --model"
        )
    model, packing = packed(model, settings_of(manifest.packing))
    return model, assemble(model, manifest.pruner.name, manifest.pruner.settings), packing


def _trial(own: Manifest, pruner: PrunerRecord, eager: EagerSession, examples: Sequence[Example]) -> Trial:
    views = named_views(((example.name, example.open()) for example in examples), own.preprocessing)
    few = values_of(np.stack([view for _, view in itertools.islice(views, NOISE_IMAGES)]), own.preprocessing)
    if len(few) == 1:  # in a batch of one picture alone nobody sees whose numbers were taken
        few = np.concatenate([few, few[..., ::-1]])
    twin = None if own.precision.name == "fp32" else twin_of(eager.graph, own.precision, own.preprocessing)
    return Trial(
        eager=eager,
        pruner=pruner,
        layout=own.layout,
        precision=own.precision,
        twin=None if twin is None else EagerSession(twin, eager.device),
        pixels=few,
    )


@contextlib.contextmanager
def _opened(
    artefact: Artefact, chosen: Mapping[str, dict[str, Any]], device: str | None, threads: int | None
) -> Iterator[dict[str, PrunedArtefact]]:
    """Every format that was chosen, with its options."""
    with contextlib.ExitStack() as stack:
        sessions = {
            fmt: stack.enter_context(load(artefact.folder, fmt, device=device, threads=threads, options=options))
            for fmt, options in chosen.items()
        }
        artefact.refuse_replaced(*artefact.manifest.builds)  # each format was opened by itself
        yield sessions


def _judge_examples(
    trial: Trial,
    own: Manifest,
    examples: Sequence[Example],
    sessions: Mapping[str, PrunedArtefact],
    device: str | None,
    progress: Progress,
) -> None:
    """Every image in batches of one size, and a few of them in batches of other sizes."""
    where = "" if device in (None, "cpu") else f" on {device}"
    usual, done = usual_size(own.batch), 0

    def pictures() -> Iterator[tuple[str, Image]]:
        for number, example in enumerate(examples):
            progress("comparing", number, len(examples))
            yield example.name, example.open()

    for batch in batched(named_views(pictures(), own.preprocessing), usual):
        pixels = values_of(np.stack([view for _, view in batch]), own.preprocessing)
        outputs = {fmt + where: outcome(session.run_padded, pixels) for fmt, session in sessions.items()}
        trial.add([name for name, _ in batch], pixels, outputs)
        done += len(batch)
    for size in other_sizes(own.batch, usual if done >= usual else 0):
        progress(f"comparing batches of {size}")
        for rows in repeated(size, len(trial.pixels), alone=size == own.batch.min):
            pixels = trial.pixels[rows]
            outputs = {fmt + where: outcome(session.run, pixels) for fmt, session in sessions.items()}
            trial.repeat(rows, pixels, outputs)


def _recorded(artefact: Artefact, report: ValidationReport, devices: Mapping[str, str]) -> ValidationReport:
    """The same, its few numbers of every format written into the manifest, or with a note why that cannot be done."""
    against_reference, *comparisons = report.comparisons
    shared = against_reference.passed and not report.false_claims and all(pixels.passed for pixels in report.pixels)
    for i, ((fmt, device), comparison) in enumerate(zip(devices.items(), comparisons, strict=True)):
        own = (comparison, *report.batches[i : i + 1])
        values: dict[str, Scalar] = {
            "benchmark": report.benchmark,
            "passed": shared and all(one.passed for one in own),
            "device": device,
            **comparison.numbers,
            **next((one.numbers for one in report.answers if one.name == f"{ANSWERS}{fmt}"), {}),
        }
        try:
            record_validation(artefact, fmt, values)
        except ArtefactError as error:  # on a read-only medium, or of an artefact that is there no more
            note = f"the result was not recorded in the manifest: {error}"
            return dataclasses.replace(report, notes=(*report.notes, note))
    return report
