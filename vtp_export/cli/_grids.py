"""A command on an artefact of several grids: on each of them, with one verdict."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from vtp_export.cli._command import Result

if TYPE_CHECKING:
    from vtp_export.reports.table import Table
    from vtp_export.terminal import Listener


def of_each_grid(folder: Path, one: Callable[[Path], Result], progress: "Listener") -> Result:
    """The result of a folder, or those of its grids in one: it passes if all do.

    Args:
        folder: what the command was given.
        one: the command, on an artefact of one grid.
        progress: hears which grid it is.

    Raises:
        VtpError: as the command, or the folder does not hold the grids that it should.
    """
    from vtp_export.runtime.grids import grids_of

    if (artefacts := grids_of(folder)) is None:
        return one(folder)
    results = {}
    for name in artefacts:
        progress(f"grid {name}")
        results[name] = one(folder / name)
    parts: list[Table | str] = []
    for name, result in results.items():
        parts += [f"grid {name}", *result.summary]
    failed = [name for name, result in results.items() if not result.passed]
    data: dict[str, object] = {"grids": {name: result.data for name, result in results.items()}}
    if any("passed" in result.data for result in results.values()):
        data["passed"] = not failed
        told = f"failed: {', '.join(failed)}" if failed else "all passed"
        parts.append(f"{len(results)} grids of {folder}, {told}")
    suites = tuple(suite.of(name) for name, result in results.items() for suite in result.suites)
    return Result(data, parts, not failed, suites)
