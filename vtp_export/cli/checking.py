"""Commands that look before anything is built or run: lint."""

import dataclasses
from pathlib import Path
from typing import Annotated, Optional

import typer

from vtp_export.cli._app import Json, app


@app.command()
def lint(
    path: Annotated[Path, typer.Argument(metavar="DIR|FILE.onnx", help="An artefact, or any ONNX file.")],
    target: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--target", "-t", help="Repeatable; default: all. See: vtp-export list targets."),
    ] = None,
    json: Json = False,
) -> None:
    """Say in a second whether a runtime will take the graph: TensorRT 8.5 to 11, ONNX Runtime 1.17 to 1.32.

    Every node, also inside loops, is held against tables of operators, types and restrictions. An error will stop the
    build; a note will not. Exit code 1 if there is an error for a target that was asked for. The tables are made from
    documentation (and measured for ONNX Runtime): docs/lint.md says what they cannot know.

    Example:
        vtp-export lint llava64 --target tensorrt-10.3
    """
    from vtp_export import terminal
    from vtp_export.pipeline.lint import grouped
    from vtp_export.pipeline.lint import lint as run_lint

    reports = run_lint(path, target or ())
    if json:
        rows = [{**dataclasses.asdict(report), "passed": report.passed} for report in reports]
        terminal.show_json(rows)
    else:
        verdicts = [(r.target, "yes" if r.passed else "NO", r.errors, len(r.findings) - r.errors) for r in reports]
        terminal.show_table(str(path), ("target", "takes it", "errors", "notes"), verdicts)
        columns = ("", "rule", "what", "nodes", "first node", "remedy")
        for report in reports if target else ():
            if report.findings:
                shown = [tuple(vars(group).values()) for group in grouped(report.findings)]
                terminal.show_table(report.target, columns, shown)
        if not target:
            terminal.say("name a --target to see its findings")
    raise typer.Exit(0 if all(report.passed for report in reports) or not target else 1)
