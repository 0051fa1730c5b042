"""What is on offer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vtp_export.reports.table import Summary, Table
from vtp_export.settings import Setting


@dataclass(frozen=True)
class Entry:
    """One name: what its file says of itself, and what can be set of it, by the option that sets it."""

    name: str
    about: str
    settings: Mapping[str, tuple[Setting, ...]]


def catalogue_summary(rooms: Mapping[str, Sequence[tuple[str, str]]]) -> Summary:
    """A table of names and their first lines for each room."""
    return tuple(Table(room, ("name", "what it is"), rows) for room, rows in rooms.items())


def entry_summary(entry: Entry) -> Summary:
    """What it is, and a table of settings for each option."""
    columns = ("setting", "default", "must be", "default from", "meaning")
    summary: list[Table | str] = [f"{entry.name}: {entry.about}"]
    for option, settings in entry.settings.items():
        rows = [(s.name, s.default, s.must_be, s.source, s.meaning) for s in settings]
        summary += ["", Table(option, columns, rows)]
    return summary
