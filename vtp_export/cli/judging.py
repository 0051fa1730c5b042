"""Commands that judge an artefact: validate, check."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vtp_export.cli._app import (
    Batch,
    Device,
    Folder,
    Formats,
    Limit,
    Options,
    Report,
    Threads,
    settings_of,
)
from vtp_export.cli._command import Result
from vtp_export.cli._grids import of_each_grid
from vtp_export.cli._suites import Junit, Markdown, filed

if TYPE_CHECKING:
    from vtp_export.terminal import Listener


def validate(
    progress: "Listener",
    folder: Folder,
    formats: Formats = None,
    benchmark: Annotated[
        str, typer.Option(metavar="PATH|NAME", help="A folder of images, or a benchmark (vtp-export list benchmarks).")
    ] = "photos",
    limit: Limit = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model, if it has moved since the export.")
    ] = None,
    answers: Annotated[
        bool, typer.Option("--answers", help="Let the language model answer the benchmark's questions from both.")
    ] = False,
    through: Annotated[
        Literal["transformers", "openvino-genai", "onnxruntime", "llama-cpp"],
        typer.Option(help="With --answers: the runtime that answers from the artefact's tokens."),
    ] = "transformers",
    decoder: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Its language model: what decoder, or genai, wrote; or a GGUF.")
    ] = None,
    quantised: Annotated[
        bool,
        typer.Option(
            "--quantised",
            help="That language model is quantised: tell what it changes by itself, and judge the artefact alone.",
        ),
    ] = False,
    bisect: Annotated[
        bool, typer.Option("--bisect", help="Say in which part of the graph a runtime leaves it; builds it anew.")
    ] = False,
    report: Report = None,
    junit: Junit = None,
    markdown: Markdown = None,
    device: Device = None,
    threads: Threads = None,
    options: Options = None,
    eager_device: Annotated[
        Literal["cpu", "cuda"], typer.Option(help="Where PyTorch runs the graph, in float32, and the language model.")
    ] = "cpu",
    dtype: Annotated[
        Literal["float32", "float16", "bfloat16"], typer.Option(help="What the language model computes with.")
    ] = "float32",
    batch: Batch = 16,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the answers here and ask for none twice.")
    ] = None,
) -> Result:
    """Check that the artefact keeps the tokens that the method says, and returns their values.

    First the pixels, against the model's own files and Transformers' image processor, and what the manifest says of the
    model. Then the PyTorch graph against the method as its paper writes it (float64), every format against the PyTorch
    graph, and against itself in batches of other sizes. With --answers: whether the language model says the same. Exit
    code 1 if anything fails.

    Examples:
        vtp-export validate llava64 --report report

        vtp-export validate tiny64 --benchmark shapes --answers
    """
    from vtp_export.pipeline.validate import validate as run_validate
    from vtp_export.reports.page import page_in
    from vtp_export.reports.suites import suite_of
    from vtp_export.reports.validation import validation_summary

    def one(place: Path) -> Result:
        own = report if report is None or place == folder else report / place.name
        result = run_validate(
            place,
            formats=formats or (),
            benchmark=benchmark,
            limit=limit,
            answers=answers,
            through=through,
            decoder=decoder,
            quantised=quantised,
            bisect=bisect,
            report=own,
            device=device,
            threads=threads,
            options=settings_of(options, "--option"),
            model=model,
            eager_device=eager_device,
            dtype=dtype,
            batch=batch,
            cache=cache,
            progress=progress,
        )
        page = page_in(own)
        suites = (suite_of(result, str(folder)),)
        return Result({**result.as_dict(), "report": page}, validation_summary(result, page), result.passed, suites)

    return filed("validate", str(folder), lambda: of_each_grid(folder, one, progress), junit=junit, markdown=markdown)


def check(
    progress: "Listener",
    folder: Folder,
    formats: Formats = None,
    model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Judge this file, made by another tool of one of the artefact's."),
    ] = None,
    report: Report = None,
    junit: Junit = None,
    markdown: Markdown = None,
    device: Device = None,
    threads: Threads = None,
    options: Options = None,
) -> Result:
    """Check on this machine that the artefact does what it did at the export. Needs no torch and no model.

    The pictures of its golden record: the pixels that this machine makes of them, then the tokens that are kept, their
    values and the effective rank, of every format that runs here, judged as validate does, in batches of several sizes.
    With --model: of a file that was simplified, quantised or converted since. Exit code 1 if anything fails.

    Examples:
        vtp-export check llava64 --format tensorrt

        vtp-export check llava64 --model simplified.onnx
    """
    from vtp_export.pipeline.check import check as run_check
    from vtp_export.reports.check import check_summary
    from vtp_export.reports.page import page_in
    from vtp_export.reports.suites import suite_of

    def one(place: Path) -> Result:
        own = report if report is None or place == folder else report / place.name
        result = run_check(
            place,
            formats=formats or (),
            model=model,
            device=device,
            threads=threads,
            options=settings_of(options, "--option"),
            report=own,
            progress=progress,
        )
        page = page_in(own)
        suites = (suite_of(result, str(folder if model is None else model)),)
        return Result({**result.as_dict(), "report": page}, check_summary(result, page), result.passed, suites)

    def every() -> Result:
        return one(folder) if model is not None else of_each_grid(folder, one, progress)

    return filed("check", str(folder), every, junit=junit, markdown=markdown)
