"""The command that compares methods: compare."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vtp_export.cli._app import (
    Batch,
    Cache,
    Calibration,
    Dtype,
    Grid,
    ImageSize,
    Limit,
    MaxTokens,
    Model,
    Revision,
    Threads,
    TorchDevice,
    budget,
    name_option,
    several_of,
    share,
)
from vtp_export.cli._command import Result
from vtp_export.cli._suites import Junit, Markdown, filed
from vtp_export.comparing.choices import methods

if TYPE_CHECKING:
    from vtp_export.terminal import Listener


def compare(
    progress: "Listener",
    model: Model,
    keep: Annotated[
        list[str] | None,
        typer.Option(metavar="N|N%", parser=budget, help="A budget of visual tokens, or a share. Repeatable."),
    ] = None,
    benchmark: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH|NAME",
            help="A file of questions, or a benchmark that has them (vtp-export list benchmarks). Repeatable: a column "
            "each, and what is left on average. Default: shapes.",
        ),
    ] = None,
    pruner: Annotated[
        list[str] | None,
        name_option(
            "pruners",
            "--pruner",
            words="Repeatable; default: fastervlm and adaptive. fastv, pyramiddrop and sparsevlm prune inside the "
            "language model, see: vtp-export list inllm.",
            names=methods(),
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A setting of every pruner that has it. Repeatable: each value is tried."
        ),
    ] = None,
    table: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="A table of AgilePruner's paper (5, 6, 7, 11, 13 to 16): its benchmarks, methods and budgets, with "
            "what is printed there beside. --benchmark, --pruner and --keep choose of it.",
        ),
    ] = None,
    limit: Limit = None,
    swap: Annotated[
        bool, typer.Option("--swap", help="Also ask about another image: does the answer depend on what is seen?")
    ] = False,
    batch: Batch = 16,
    prompt: Annotated[
        Literal["template", "vicuna_v1"] | None,
        typer.Option(
            help="How questions are worded: by the checkpoint's template, or as LLaVA's evaluation asks LLaVA-1.5. "
            "Default: template; of a table what it was measured with."
        ),
    ] = None,
    calibration: Calibration = None,
    revision: Revision = None,
    grid: Grid = None,
    image_size: ImageSize = None,
    max_tokens: MaxTokens = None,
    at_least: Annotated[
        float | None,
        typer.Option(
            "--at-least",
            metavar="N%",
            parser=share,
            help="Exit code 1 where a method keeps less of the unpruned score.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write an HTML report with pictures, and all answers, here."),
    ] = None,
    junit: Junit = None,
    markdown: Markdown = None,
    cache: Cache = None,
    device: TorchDevice = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
) -> Result:
    """Prune with several methods, settings and budgets, and let the language model answer benchmarks.

    What is repeated is tried in every combination. With --report or --cache every answer is kept: what was interrupted
    goes on, and a run with one more method asks for its answers alone.

    Examples:
        vtp-export compare tiny-llava --keep 32 --keep 64 --set complexity=erank --set complexity=entropy

        vtp-export compare llava-hf/llava-1.5-7b-hf --table 7 --limit 100 --device cuda --dtype float16 --report table7
    """
    from vtp_export.pipeline.compare import compare as run_compare
    from vtp_export.reports.comparison import comparison_suite, comparison_summary
    from vtp_export.reports.page import page_in

    def run() -> Result:
        result = run_compare(
            model,
            keep or (),
            benchmark=benchmark or (),
            pruners=pruner or (),
            settings=several_of(settings),
            table=table,
            limit=limit,
            swap=swap,
            batch=batch,
            prompt=prompt,
            calibration=calibration,
            revision=revision,
            grid=grid,
            image_size=image_size,
            max_tokens=max_tokens,
            at_least=at_least,
            report=report,
            cache=cache,
            device=device,
            dtype=dtype,
            threads=threads,
            progress=progress,
        )
        page = page_in(report)
        data = {**vars(result), "passed": result.passed, "report": page}
        return Result(data, comparison_summary(result, page), result.passed, (comparison_suite(result),))

    return filed("compare", model, run, junit=junit, markdown=markdown)
