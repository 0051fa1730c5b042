"""The application, and the options that several commands share."""

from pathlib import Path
from typing import Annotated, Optional

import typer

from vtp_export import __version__

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Export a vision-language model's pruned vision front end (tower + visual-token pruner + projector), "
    "run it without torch, and prove that it keeps the same tokens.\n\nStart with: vtp-export demo",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Formats = Annotated[
    Optional[list[str]], typer.Option("--format", "-f", help="Repeatable. See: vtp-export list backends.")  # noqa: UP045
]
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A Hugging Face folder, a hub id, or an embedded name (tiny-llava, toy).")
]
Revision = Annotated[Optional[str], typer.Option(help="Commit, branch or tag on the hub.")]  # noqa: UP045
Limit = Annotated[Optional[int], typer.Option(help="At most so many images.")]  # noqa: UP045
Provider = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="cpu|cuda|tensorrt",
        help="What runs it, or an error: never another in its place. Default: the CPU, for a TensorRT plan its GPU.",
    ),
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="An artefact: the folder that export wrote.")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"vtp-export {__version__}")
        raise typer.Exit
