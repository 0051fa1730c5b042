"""`vtp-export genai`: an artefact becomes the vision model of a folder of OpenVINO GenAI, and answers are compared."""

import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path

from vtp_export.arguments import path_of
from vtp_export.benchmarks._lookup import benchmark_of, examples_of
from vtp_export.benchmarks.base import Example
from vtp_export.errors import ArtefactError
from vtp_export.graphs.assembly import assemble, load_model, source_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.packing import packer_for
from vtp_export.integrations.openvino_folder import VISION, open_folder, refuse_family, refuse_unfit, write_vision
from vtp_export.integrations.openvino_genai import MARK, Pipeline
from vtp_export.integrations.transformers import Answerer
from vtp_export.parity.answers import AnswerComparison, Manner, answers_of, compare_answers
from vtp_export.parity.asking import refuse_silent
from vtp_export.parity.gates import GATES
from vtp_export.parity.hosts import answers_from_sight
from vtp_export.progress import Progress, silent
from vtp_export.reports.genai import GenaiReport
from vtp_export.runtime.artefact import Artefact, open_artefact
from vtp_export.runtime.front_end import load
from vtp_export.runtime.output import Run
from vtp_export.runtime.packing import Packer
from vtp_export.runtime.preprocess import model_views
from vtp_export.runtime.replacing import replacing
from vtp_export.spec import Manifest

FORMAT = "onnx"
"""What the vision model is made from."""

SAME = {"f32": GATES["fp32"].answers, "f16": GATES["fp16"].answers}
"""Share of answers that must be the same, by what most weights of the language model are; narrower ones may change any,
and are judged by the task metric alone."""


def genai(
    folder: str | Path,
    given: str | Path,
    out: str | Path,
    *,
    model: str | Path | None = None,
    benchmark: str | Path = "shapes",
    limit: int | None = 8,
    unpruned: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> GenaiReport:
    """Write the folder, ask it, and ask the checkpoint in Transformers.

    Args:
        folder: the artefact, with ONNX in it.
        given: what `optimum-cli export openvino` wrote of the same checkpoint; left as it is.
        out: the folder to write.
        model: the checkpoint, where it is no longer where the manifest says.
        benchmark: whose questions are asked: a name, or a question file.
        limit: number of its pictures.
        unpruned: also ask the folder as it was given, and the unpruned model in Transformers.
        force: replace a folder that this wrote before.
        progress: hears of every step.

    Raises:
        VtpError: the artefact does not fit the folder, or one of them cannot be used.
    """
    given, out = path_of("the folder", given), path_of("the folder to write", out)
    artefact = open_artefact(folder)
    manifest = artefact.manifest
    refuse_family(manifest)
    source = _onnx_of(artefact)
    before = open_folder(given)
    refuse_unfit(before, manifest)
    examples = examples_of(benchmark, limit)
    refuse_silent(examples)
    with replacing(out, force, _why_not_replaceable) as partial:
        progress("copying the folder")
        shutil.copytree(given, partial, dirs_exist_ok=True, ignore=shutil.ignore_patterns(Path(VISION).stem + ".*"))
        write_vision(source, manifest.identity(), partial)
        after = open_folder(partial)
    asking = _Asking(manifest, model, benchmark, examples, SAME.get(after.weights[0], 0.0), progress)
    with load(folder, FORMAT) as front_end:
        pipeline = Pipeline(open_folder(out), asking.frames.around)
        answers = [asking.compare("pruned", pipeline, front_end.run_padded, front_end.packer)]
        notes = asking.notes(pipeline)
    if unpruned:
        progress("asking the folder as it was given")
        answers.append(asking.compare("as given", Pipeline(before, asking.frames.around), *asking.unpruned()))
    return GenaiReport(
        folder=str(out),
        weights=after.weights[0],
        tokens=manifest.layout.slots,
        candidates=manifest.layout.candidates.n,
        first_token_ms=statistics.median(pipeline.waits),
        answers=tuple(answers),
        notes=notes,
    )


class _Asking:
    """The checkpoint's language model in Transformers, and the questions.

    Args:
        manifest: of the artefact.
        model: the checkpoint, where it has moved.
        benchmark: scores the answers.
        examples: pictures with questions.
        share: of answers that must be the same.
        progress: hears of every picture.
    """

    def __init__(
        self,
        manifest: Manifest,
        model: str | Path | None,
        benchmark: str | Path,
        examples: Sequence[Example],
        share: float,
        progress: Progress,
    ) -> None:
        progress("loading the language model")
        self._model = str(model or manifest.model.id), None if model else manifest.model.revision
        self._answerer = Answerer(source_of(self._model[0]), self._model[1])
        self.frames = self._answerer.frames
        self._benchmark, self._examples, self._share = benchmark_of(benchmark), examples, share
        self._prep, self._progress = manifest.preprocessing, progress

    def compare(self, name: str, pipeline: Pipeline, run: Run, packer: Packer) -> AnswerComparison:
        """The answers of a folder against those of Transformers, which reads what `run` gives."""
        longest = self._benchmark.longest
        expected = answers_of(self._answerer, self._examples, run, packer, self._progress, Manner(longest=longest))
        found = answers_from_sight(pipeline, self._examples, self._prep, self._progress, longest)
        return compare_answers(name, self._benchmark, expected, found, self._share)

    def notes(self, pipeline: Pipeline) -> tuple[str, ...]:
        """What the user should know of the pipeline's own prompts, of which the last question is an example."""
        example = [example for example in self._examples if example.questions][-1]
        (view,) = model_views(example.open(), self._prep, [example.name])
        own = pipeline.own_prompt(view, question := example.questions[-1].prompt)
        if own == pipeline.prompt:
            return ()
        before, behind = self.frames.around(question)
        return (
            f"left to itself OpenVINO GenAI makes a prompt of {own} tokens, and the model's has {pipeline.prompt}; set "
            f"apply_chat_template=False in its GenerationConfig, and give it {before + MARK + behind!r}",
        )

    def unpruned(self) -> tuple[Run, Packer]:
        """The model's own front end, which keeps all tokens."""
        loaded = load_model(self._model[0], (), self._model[1])
        assembly = assemble(loaded, "none", {})
        return EagerSession(assembly.graph), packer_for(loaded, assembly.layout, None)


def _onnx_of(artefact: Artefact) -> Path:
    """The verified file."""
    if FORMAT not in artefact.manifest.formats():
        has = ", ".join(artefact.manifest.formats())
        raise ArtefactError(
            f"the vision model is made from {FORMAT}, and '{artefact.folder}' has: {has}; export it too"
        )
    (build,) = artefact.builds(FORMAT)
    artefact.verify(build)
    return artefact.folder / build.main


def _why_not_replaceable(out: Path) -> str | None:
    if not out.is_dir():
        return "it is not a folder"
    if not any(out.iterdir()):
        return None
    if not (out / VISION).is_file():
        return f"it is not a folder of OpenVINO GenAI (it has no {VISION})"
    return None if open_folder(out).identity is not None else "its vision model was not written by vtp-export"
