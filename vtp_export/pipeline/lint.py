"""`vtp-export lint`: would a runtime take this file? Answered in a second, from data, before anything is built."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtp_export.errors import ArtefactError
from vtp_export.runtime.artefact import Artefact, steadily
from vtp_export.targets import table
from vtp_export.targets.check import Finding, check
from vtp_export.targets.graph import Model, read


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


def lint(path: str | Path, targets: Sequence[str] = ()) -> list[LintReport]:
    """Hold an ONNX file, or that of an artefact, against targets.

    Args:
        path: a `.onnx` file, or an artefact, whose digests are verified first.
        targets: names, see `targets.table.names`; none for all.

    Raises:
        VtpError: no such target, no such file, or the `onnx` package is not installed.
    """
    chosen = [table.load(name) for name in (targets or table.names())]
    model = _model(Path(path))
    return [LintReport(target.name, tuple(check(model, target))) for target in chosen]


def grouped(findings: Sequence[Finding]) -> list[Group]:
    """Findings that say the same, together; errors first."""
    kinds: dict[tuple[str, str, str, str], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault((finding.severity, finding.rule, finding.problem, finding.remedy), []).append(finding)
    rows = [
        Group(severity=severity, rule=rule, problem=problem, count=len(found), first=_place(found[0]), remedy=remedy)
        for (severity, rule, problem, remedy), found in kinds.items()
    ]
    return sorted(rows, key=lambda row: row.severity != "error")


def _place(finding: Finding) -> str:
    return finding.node if finding.where in ("graph", "file") else f"{finding.node} ({finding.where})"


def _model(path: Path) -> Model:
    if path.is_dir():
        return steadily(path, _of_artefact)
    if not path.is_file():
        raise ArtefactError(f"no file '{path}'; name an artefact folder or an .onnx file")
    return read(path)


def _of_artefact(artefact: Artefact) -> Model:
    build = artefact.builds("onnx")[0]
    artefact.verify(build)
    return read(artefact.folder / build.main)
