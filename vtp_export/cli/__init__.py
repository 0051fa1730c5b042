"""The command line: parse, call one function, print what it returned, set the exit code.

Nothing heavy is imported before a command runs.
"""

import sys

from vtp_export.cli import calibrating, comparing, judging, looking, making, serving, using
from vtp_export.cli._app import app
from vtp_export.cli._command import command, printing
from vtp_export.cli._failures import refuse_empty, report
from vtp_export.endings import INTERRUPTED, UNREAD

__all__ = ["COMMANDS", "app", "main"]

COMMANDS = {
    "Start here": (using.demo,),
    "Make and prove": (making.export, judging.validate, judging.check),
    "Use": (using.run, looking.explain, using.bench),
    "Choose a method": (comparing.compare, calibrating.calibrate),
    "Boards and servers": (making.build, looking.inspect, looking.lint, looking.doctor, serving.triton, serving.push),
    "Language models": (serving.genai, serving.decoder),
    "What is on offer": (looking.list_,),
}
"""Every command, by the panel of `--help` it stands in, in the order in which people read them."""

for panel, functions in COMMANDS.items():
    for function in functions:
        app.command(function.__name__.removesuffix("_"), rich_help_panel=panel)(command(function))


app.command("plan", rich_help_panel="Boards and servers", help="The same as build.")(command(making.build))


def main() -> None:
    """Everything but what must come before all else, see `__main__`. Exit codes: see `endings`."""
    try:
        refuse_empty(sys.argv[1:])
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED:  # what the parser makes of it
            raise KeyboardInterrupt
        with printing():
            pass  # what the parser printed: help, the version
    except SystemExit:  # of the library that prints help, where whoever read it went away
        code = UNREAD
    except (Exception, KeyboardInterrupt) as error:
        code = report(error, sys.argv[1:])
    sys.exit(code)
