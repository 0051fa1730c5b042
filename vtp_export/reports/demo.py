"""What the demo made."""

from dataclasses import dataclass
from pathlib import Path

from vtp_export.parity.verdict import ValidationReport
from vtp_export.reports.table import Summary
from vtp_export.reports.validation import validation_summary


@dataclass(frozen=True, kw_only=True)
class DemoReport:
    """What the demo made. `picture`: what was kept on the simplest and on the most complex scene."""

    artefact: Path
    validation: ValidationReport
    page: Path
    picture: Path
    next_command: str


def demo_summary(report: DemoReport) -> Summary:
    """The validation, and where to look next."""
    return (
        *validation_summary(report.validation),
        "",
        f"report:  {report.page}",
        f"picture: {report.picture}",
        "",
        f"next:    {report.next_command}",
    )
