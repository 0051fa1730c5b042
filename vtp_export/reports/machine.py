"""What a machine can run."""

from dataclasses import dataclass

from vtp_export.reports.check import reminder
from vtp_export.reports.table import Summary, Table
from vtp_export.runtime.checks import Checked


@dataclass(frozen=True)
class Finding:
    """One row: what was looked for, what was found (None: nothing), and what follows or would help."""

    what: str
    found: str | None
    verdict: str


@dataclass(frozen=True)
class Diagnosis:
    """Everything found.

    formats: of the artefact, why each cannot be opened here.
    checked: of those that can, what the last `check` came to, on this machine.
    able: something can be run.
    """

    findings: tuple[Finding, ...]
    formats: dict[str, str | None] | None
    checked: dict[str, Checked]
    able: bool


def diagnosis_summary(diagnosis: Diagnosis, artefact: str) -> Summary:
    """What was found, and which formats of the artefact can be opened."""
    rows = [(finding.what, finding.found, finding.verdict) for finding in diagnosis.findings]
    machine = Table("this machine", ("what", "found", "verdict"), rows)
    if diagnosis.formats is None:
        return (machine,)
    checked = diagnosis.checked
    formats = [(name, reason or "yes", checked.get(name)) for name, reason in diagnosis.formats.items()]
    return machine, Table(artefact, ("format", "opens here", "checked here"), formats), *reminder(checked)
