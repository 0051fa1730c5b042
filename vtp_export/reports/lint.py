"""What targets say of a graph."""

from collections.abc import Sequence
from dataclasses import dataclass

from vtp_export.reports.table import Summary, Table
from vtp_export.targets.check import Finding


@dataclass(frozen=True)
class LintReport:
    """What one target says of a file."""

    target: str
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> int:
        """How many findings will stop it."""
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def passed(self) -> bool:
        """Whether nothing is known that will stop it."""
        return not self.errors


@dataclass(frozen=True, kw_only=True)
class Group:
    """Findings of one kind: what they say, how many there are, and the first node of them."""

    severity: str
    rule: str
    problem: str
    count: int
    first: str
    remedy: str


def lint_summary(title: str, reports: Sequence[LintReport], details: bool) -> Summary:
    """The verdict of every target.

    Args:
        title: of the first table.
        reports: of the targets.
        details: a table of each target's findings too.
    """
    verdicts = [(r.target, "yes" if r.passed else "NO", r.errors, len(r.findings) - r.errors) for r in reports]
    table = Table(title, ("target", "takes it", "errors", "notes"), verdicts)
    if not details:
        return table, "name a --target to see its findings"
    return table, *(_findings(report) for report in reports if report.findings)


def _findings(report: LintReport) -> Table:
    columns = ("severity", "rule", "what", "nodes", "first node", "remedy")
    rows = [(g.severity, g.rule, g.problem, g.count, g.first, g.remedy) for g in grouped(report.findings)]
    return Table(report.target, columns, rows)


def grouped(findings: Sequence[Finding]) -> list[Group]:
    """Findings that say the same, together; errors first."""
    kinds: dict[tuple[str, str, str, str], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault((finding.severity, finding.rule, finding.problem, finding.remedy), []).append(finding)
    rows = [
        Group(severity=severity, rule=rule, problem=problem, count=len(alike), first=_place(alike[0]), remedy=remedy)
        for (severity, rule, problem, remedy), alike in kinds.items()
    ]
    return sorted(rows, key=lambda row: row.severity != "error")


def _place(finding: Finding) -> str:
    return finding.node if finding.where in ("graph", "file") else f"{finding.node} ({finding.where})"
