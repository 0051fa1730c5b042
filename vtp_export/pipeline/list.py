"""`vtp-export list`: the names in a room with the first line of each file, read without importing anything."""

import ast

from vtp_export import rooms
from vtp_export.targets import table

ROOMS = ("pruners", "models", "backends", "benchmarks", "targets")


def catalogue(room: str) -> list[tuple[str, str]]:
    """Names and one-line summaries.

    Example:
        >>> dict(catalogue("pruners"))["none"]
        'Keep every token: the front end as it is, for comparison.'
    """
    if room == "targets":
        return [(name, table.load(name).summary) for name in table.names()]
    rows = []
    for name in rooms.names(room):
        text = ast.get_docstring(ast.parse((rooms.PACKAGE / room / f"{name}.py").read_text(encoding="utf-8"))) or ""
        rows.append((name, text.partition("\n")[0]))
    return rows
