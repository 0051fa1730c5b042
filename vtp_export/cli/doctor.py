"""The command that looks at the machine: doctor."""

import dataclasses
from pathlib import Path
from typing import Annotated, Optional

import typer

from vtp_export.cli._app import Json, app


@app.command()
def doctor(
    folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(metavar="[DIR]", help="An artefact: say which of its formats can be opened here."),
    ] = None,
    json: Json = False,
) -> None:
    """Say what this machine can run and what not, and what would help: GPU, driver, TensorRT, ONNX Runtime, torch.

    Providers are not believed by their names: each is given a product to compute. Exit code 1 if nothing could be run
    here; with DIR, if none of its formats could be opened.

    Example:
        vtp-export doctor llava64
    """
    from vtp_export import terminal
    from vtp_export.pipeline.doctor import doctor as diagnose

    result = diagnose(folder)
    if json:
        terminal.show_json(dataclasses.asdict(result))
    else:
        columns = ("what", "found", "verdict")
        terminal.show_table("this machine", columns, [tuple(vars(finding).values()) for finding in result.findings])
        if result.formats is not None:
            rows = [(name, reason or "yes") for name, reason in result.formats.items()]
            terminal.show_table(str(folder), ("format", "opens here"), rows)
    raise typer.Exit(0 if result.able else 1)
