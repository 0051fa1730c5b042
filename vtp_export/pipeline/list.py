"""`vtp-export list`: the names in a room with the first line of each file, read without importing anything; or one."""

from vtp_export import rooms
from vtp_export.reports.catalogue import Entry
from vtp_export.settings import described
from vtp_export.targets import table

ROOMS = ("pruners", "inllm", "models", "backends", "benchmarks", "targets")


def catalogue(room: str) -> list[tuple[str, str]]:
    """Names and one-line summaries.

    Example:
        >>> dict(catalogue("pruners"))["none"]
        'Keep every token: the front end as it is, for comparison.'
    """
    if room == "targets":
        return [(name, table.load(name).summary) for name in table.names()]
    return [(name, rooms.docstring(room, name).partition("\n")[0]) for name in rooms.names(room)]


def entry(room: str, name: str) -> Entry:
    """Everything that is on record of a name.

    Raises:
        UnknownNameError: it is not in that room.
    """
    if room == "targets":
        return Entry(name, table.load(name).summary, {})
    if name not in rooms.names(room):
        raise rooms.unknown(room, name)
    settings = {}
    if room in ("pruners", "inllm"):
        settings = {"--set": described(rooms.load(room, name).Config)}
    elif room == "backends":
        backend = rooms.load(room, name).Backend
        settings = {
            "--option of run": described(backend.Options),
            "--option of export and build": described(backend.BuildOptions),
        }
    return Entry(name, rooms.docstring(room, name), {option: rows for option, rows in settings.items() if rows})
