"""Commands that judge: validate, compare."""

import dataclasses
from pathlib import Path
from typing import Annotated, Optional

import typer

from vtp_export.cli._app import Folder, Formats, Json, Limit, Model, Provider, Revision, app


@app.command()
def validate(
    folder: Folder,
    formats: Formats = None,
    benchmark: Annotated[
        str, typer.Option(help="A name (vtp-export list benchmarks) or a folder of images.")
    ] = "photos",
    limit: Limit = None,
    reference: Annotated[Optional[str], typer.Option(help="The model, if it has moved since the export.")] = None,  # noqa: UP045
    answers: Annotated[
        bool, typer.Option("--answers", help="Let the language model answer the benchmark's questions from both.")
    ] = False,
    report: Annotated[Optional[Path], typer.Option(help="Write an HTML report with overlays here.")] = None,  # noqa: UP045
    provider: Provider = None,
    json: Json = False,
) -> None:
    """Check that the artefact keeps the tokens that the method says, and returns their values.

    Two comparisons: the PyTorch graph against the method as its paper writes it (float64), and every format against the
    PyTorch graph. With --answers, a third: whether the language model says the same. Exit code 1 if one fails.
    """
    from vtp_export import terminal
    from vtp_export.pipeline.validate import ValidateSpec
    from vtp_export.pipeline.validate import validate as run_validate
    from vtp_export.reports.page import PAGE

    spec = ValidateSpec(folder, tuple(formats or ()), benchmark, limit, reference, answers, provider, report)
    with terminal.Listener() as progress:
        result = run_validate(spec, progress)
    if json:
        terminal.show_json(result.as_dict())
    else:
        terminal.show_validation(result)
        if report is not None:
            terminal.say(f"report: {report / PAGE}")
    raise typer.Exit(0 if result.passed else 1)


@app.command()
def compare(
    model: Model,
    keep: Annotated[list[int], typer.Option(help="A budget of visual tokens. Repeatable.")],
    benchmark: Annotated[str, typer.Option(help="One with questions, see: vtp-export list benchmarks.")] = "shapes",
    pruner: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="NAME[:KEY=VALUE,...]", help="Repeatable; default: fastervlm and adaptive."),
    ] = None,
    limit: Limit = None,
    calibration: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="A record of calibrate; default: the one beside the model's weights."),
    ] = None,
    revision: Revision = None,
    report: Annotated[Optional[Path], typer.Option(help="Write an HTML report with figures here.")] = None,  # noqa: UP045
    json: Json = False,
) -> None:
    """Prune with several methods and budgets, and let the language model answer a benchmark.

    Example:
        vtp-export compare tiny-llava --keep 32 --keep 64 --pruner fastervlm --pruner adaptive:complexity=entropy
    """
    from vtp_export import terminal
    from vtp_export.pipeline.compare import CompareSpec
    from vtp_export.pipeline.compare import compare as run_compare
    from vtp_export.reports.comparison import comparison_rows, write_comparison

    chosen = {"methods": tuple(pruner)} if pruner else {}
    spec = CompareSpec(model, benchmark, tuple(keep), limit=limit, revision=revision, calibration=calibration, **chosen)
    with terminal.Listener() as progress:
        result = run_compare(spec, progress)
    page = None if report is None else write_comparison(result, report)
    if json:
        terminal.show_json(dataclasses.asdict(result))
        return
    columns, rows = comparison_rows(result)
    terminal.show_table(f"{model} on {benchmark}, {result.images} images", columns, rows)
    terminal.say(f"erank and attention entropy of the images correlate with {result.correlation:.2f}")
    if page is not None:
        terminal.say(f"report: {page}")
