"""What every command has: --json, -q and -v, one way to print, and one way to end well."""

import contextlib
import functools
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtp_export.cli._app import Folder, Revision
from vtp_export.endings import FAILED, SCHEMA, UNREAD
from vtp_export.errors import VtpError, VtpWarning

if TYPE_CHECKING:
    from vtp_export.reports.suites import Suite
    from vtp_export.reports.table import Summary
    from vtp_export.terminal import Listener

PANEL = "Output"
REVISION = "revision"
"""An option of every command that takes an artefact, which may be on the hub."""

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.", rich_help_panel=PANEL)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.", rich_help_panel=PANEL)]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Every step, what libraries warn of, and the traceback of an error.",
        rich_help_panel=PANEL,
    ),
]


@dataclass(frozen=True)
class Result:
    """What a command returns.

    data: what `--json` prints besides the schema number and the command's name.
    summary: the same for people.
    passed: whether the check that was asked for succeeded; False makes the exit code 1.
    suites: what was judged, gate by gate, for build servers.
    """

    data: Mapping[str, object]
    summary: "Summary"
    passed: bool = True
    suites: "tuple[Suite, ...]" = ()


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """See that what is printed goes out.

    Raises:
        typer.Exit: whoever read it went away.
        VtpError: it cannot be written.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains of it at its end
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(UNREAD) from None
        raise VtpError(f"cannot write to standard output: {error.strerror or error}") from error


@contextlib.contextmanager
def _notes(progress: "Listener") -> Iterator[None]:
    """What the package warns of is a note, told once each; the filters of other warnings stay."""
    told: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", VtpWarning)
        show = warnings.showwarning

        def tell(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, VtpWarning):
                show(message, category, *place, **more)
            elif str(message) not in told:
                told.add(str(message))
                progress.note(str(message))

        warnings.showwarning = tell
        yield


def command(function: Callable[..., Result]) -> Callable[..., None]:
    """Make of a function what typer takes for a command.

    Args:
        function: its first parameter is the `terminal.Listener` that hears of progress; the others are arguments and
            options. Where it takes a `Folder` it is given one, fetched from the hub if need be.
    """
    _, *own = inspect.signature(function).parameters.values()
    folder = next((parameter.name for parameter in own if parameter.annotation is Folder), None)
    if folder is not None:
        own.append(inspect.Parameter(REVISION, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Revision))
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in (("json", Json), ("quiet", Quiet), ("verbose", Verbose))
    ]

    @functools.wraps(function)
    def run(*, json: bool, quiet: bool, verbose: bool, **options: Any) -> None:
        from vtp_export import terminal

        if verbose:
            warnings.simplefilter("default")
        with terminal.Listener(quiet=quiet, verbose=verbose) as progress, _notes(progress):
            if folder is not None:
                from vtp_export.runtime.hub import located

                options[folder] = located(options[folder], options.pop(REVISION))
            result = function(progress, **options)
        with printing():
            if json:
                terminal.show_json({"schema": SCHEMA, "command": run.__name__.removesuffix("_"), **result.data})
            else:
                terminal.show(result.summary)
        raise typer.Exit(0 if result.passed else FAILED)

    parameters = [*own, *common]
    run.__doc__ = _flowing(inspect.getdoc(function) or "")
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _flowing(text: str) -> str:
    """Text whose paragraphs are a line each, which a terminal breaks where it ends; examples stay as they are."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(part if "\n    " in f"\n{part}" else part.replace("\n", " ") for part in paragraphs)
