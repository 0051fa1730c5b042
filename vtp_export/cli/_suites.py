"""--junit and --markdown: what was judged, in files for build servers, whatever the command ends with."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from vtp_export.cli._command import Result
from vtp_export.errors import SpecError, first_line

PANEL = "For build servers"
Junit = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write JUnit XML here: a gate is a test case.", rich_help_panel=PANEL),
]
Markdown = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write a summary in Markdown here, as for $GITHUB_STEP_SUMMARY.",
        rich_help_panel=PANEL,
    ),
]


def filed(
    command: str, subject: str, make: Callable[[], Result], *, junit: Path | None, markdown: Path | None
) -> Result:
    """The result of a command, its suites written to the files that were asked for.

    An error is written as one, and goes on its way: who reads the files should not find those of an earlier run.

    Args:
        command: its name.
        subject: what it judges, for the case that it cannot.
        make: the command.
        junit: a file of XML, or None.
        markdown: a file of Markdown, or None.

    Raises:
        SpecError: one of them is a file of another kind.
        VtpError: one cannot be written, or the command failed.
    """
    if junit is None and markdown is None:
        return make()
    from vtp_export.reports.suites import Suite, refuse_strange_file, write_junit, write_markdown

    if junit == markdown:
        raise SpecError(f"--junit and --markdown both name '{junit}'; two files are needed")
    for path in filter(None, (junit, markdown)):
        refuse_strange_file(path)

    def write(*suites: Suite) -> None:
        if junit is not None:
            write_junit(junit, command, suites)
        if markdown is not None:
            write_markdown(markdown, command, suites)

    try:
        result = make()
    except Exception as error:
        write(Suite(subject=subject, error=first_line(error)))
        raise
    write(*result.suites)
    written = [f"written: {path}" for path in (junit, markdown) if path is not None]
    return replace(
        result, summary=(*result.summary, *written), data={**result.data, "junit": junit, "markdown": markdown}
    )
