"""What was judged, for the machines that build software: JUnit's XML, and Markdown. Standard library only.

A gate is a test case: it passes, or its failure is the sentence that says why.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vtp_export import __version__
from vtp_export.errors import SpecError
from vtp_export.json_records import as_unicode
from vtp_export.parity.judged import Gate
from vtp_export.reports.judged import JudgedRows, verdict
from vtp_export.reports.table import Table
from vtp_export.runtime.writing import refuse_unwritable_file, write_atomically

MARK = "vtp-export"
STARTS = (f"## {MARK} ", f'<testsuites name="{MARK} ')
"""Of the first or second line of both kinds of files: no other file is ever replaced."""

START = 4096
"""Bytes in which they are looked for."""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One thing that was judged.

    subject: the artefact, or the model. gates: each with the name of the row that it is of.
    notes: what the user should know although nothing failed. tables: with the numbers.
    error: why it could not be judged at all; None where it was.
    """

    subject: str
    gates: tuple[tuple[str, Gate], ...] = ()
    notes: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    error: str | None = None

    @property
    def failed(self) -> int:
        """How many gates are not met."""
        return sum(not gate.passed for _, gate in self.gates)

    def of(self, part: str) -> "Suite":
        """The same, of a part of its subject, such as a grid."""
        return replace(self, subject=f"{self.subject} (grid {part})")


def suite_of(report: JudgedRows, subject: str) -> Suite:
    """What was judged in rows."""
    gates = tuple((row.name, gate) for row in report.rows for gate in row.held_to)
    return Suite(subject=subject, gates=gates, notes=report.notes)


def refuse_strange_file(path: Path) -> None:
    """See before the work that a file can be written, and takes the place of none but an earlier one of its kind.

    Raises:
        SpecError: there is another file of that name.
        ArtefactError: it cannot be written.
    """
    refuse_unwritable_file(path)
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(START).decode("utf-8", "replace")
        if start.strip() and not any(line.startswith(STARTS) for line in start.splitlines()[:2]):
            raise SpecError(f"'{path}' is there, and no report of vtp-export; name another place for it")


def gate_table(gates: Sequence[tuple[str, Gate]]) -> Table:
    """A row for each gate."""
    rows = [(row, gate.name, gate.found, gate.limit, verdict(gate.passed)) for row, gate in gates]
    return Table("gates", ("of", "gate", "found", "limit", "verdict"), rows)


def write_junit(path: Path, command: str, suites: Sequence[Suite]) -> None:
    """Write JUnit's XML.

    Raises:
        ArtefactError: it cannot be written.
    """
    root = ET.Element("testsuites", {"name": f"{MARK} {command}", **_counts(suites)})
    for suite in suites:
        _add_suite(root, command, suite)
    ET.indent(root)
    write_atomically(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n')


def _counts(suites: Sequence[Suite]) -> dict[str, str]:
    errors = sum(suite.error is not None for suite in suites)
    return {
        "tests": str(sum(len(suite.gates) for suite in suites) + errors),
        "failures": str(sum(suite.failed for suite in suites)),
        "errors": str(errors),
        "skipped": "0",
    }


def _add_suite(root: ET.Element, command: str, suite: Suite) -> None:
    one = ET.SubElement(root, "testsuite", {"name": _xml(f"{command} {suite.subject}"), **_counts([suite])})
    properties = ET.SubElement(one, "properties")
    ET.SubElement(properties, "property", name=MARK, value=__version__)
    for row, gate in suite.gates:
        case = ET.SubElement(one, "testcase", classname=_xml(f"{suite.subject}: {row}"), name=_xml(gate.name))
        if gate.passed:
            ET.SubElement(case, "system-out").text = _xml(f"{gate.found}; limit: {gate.limit}")
        else:
            message = _xml(gate.failures[0] + (f" (and {len(gate.failures) - 1} more)" if gate.failures[1:] else ""))
            failure = ET.SubElement(case, "failure", message=message, type="gate")
            failure.text = _xml("\n".join(gate.failures))
    if suite.error is not None:
        case = ET.SubElement(one, "testcase", classname=_xml(suite.subject), name=command)
        ET.SubElement(case, "error", message=_xml(suite.error), type="error").text = _xml(suite.error)
    if suite.notes:
        ET.SubElement(one, "system-out").text = _xml("\n".join(f"note: {note}" for note in suite.notes))


def _xml(text: str) -> str:
    r"""Without what XML has no way to write.

    Example:
        >>> _xml("a\x1bb\ud800")
        'a?b?'
    """
    return re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


def write_markdown(path: Path, command: str, suites: Sequence[Suite]) -> None:
    """Write a summary such as those that build servers show: the verdict, what failed, then every gate.

    Raises:
        ArtefactError: it cannot be written.
    """
    parts: list[str] = []
    for suite in suites:
        parts += _markdown(command, suite)
    write_atomically(path, as_unicode("\n\n".join(parts)) + "\n")


def _markdown(command: str, suite: Suite) -> list[str]:
    word = "could not be judged" if suite.error else "failed" if suite.failed else "passed"
    parts = [f"## {MARK} {command} {escaped(suite.subject)}: {word}"]
    if suite.error is not None:
        return [*parts, escaped(suite.error)]
    failures = [f"- ❌ {escaped(row)}: {escaped(text)}" for row, gate in suite.gates for text in gate.failures]
    notes = [f"- {escaped(note)}" for note in suite.notes]
    parts += ["\n".join(lines) for lines in (failures, notes) if lines]
    return parts + [markdown(table) for table in (gate_table(suite.gates), *suite.tables) if table.rows]


def markdown(table: Table) -> str:
    r"""A table of Markdown, without its title.

    Example:
        >>> print(markdown(Table("", ("what", "ms"), [("a|b", 1.5)])))
        | what | ms |
        |---|---|
        | a\|b | 1.5 |
    """
    lines = [table.columns, *table.cells()]
    texts = [f"| {' | '.join(escaped(cell) for cell in line)} |" for line in lines]
    return "\n".join([texts[0], "|---" * len(table.columns) + "|", *texts[1:]])


def escaped(text: str) -> str:
    r"""A text from elsewhere, as Markdown shows it and does not obey; on one line.

    Example:
        >>> escaped("a_b <b> | c")
        'a\\_b &lt;b> \\| c'
    """
    line = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]|#~])", r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;"))
