"""`vtp-export lint`: would a runtime take this file? Answered from data, before anything is built."""

from collections.abc import Sequence
from pathlib import Path

from vtp_export import rooms
from vtp_export.arguments import kind_of, one_or_several, path_of
from vtp_export.errors import ArtefactError, UnavailableError
from vtp_export.reports.lint import LintReport
from vtp_export.runtime.artefact import Artefact, steadily
from vtp_export.runtime.hub import located
from vtp_export.targets import table
from vtp_export.targets.check import Finding, check
from vtp_export.targets.graph import Model, read
from vtp_export.targets.table import Target


def lint(path: str | Path, targets: Sequence[str] = ()) -> list[LintReport]:
    """Hold an ONNX file, or that of an artefact, against targets.

    Args:
        path: a `.onnx` file, or an artefact, whose digests are verified first.
        targets: names, see `targets.table.names`; none for all.

    Raises:
        VtpError: no such target, no such file, or the `onnx` package is not installed.
    """
    chosen = [table.load(name) for name in (one_or_several(targets) or table.names())]
    path = path_of("what is to be checked", path)
    path = path if path.suffix == ".onnx" else located(path)
    kind = kind_of("what is to be checked,", path)
    if kind == "folder":
        return steadily(path, lambda artefact: _reports(_file_of(artefact), chosen))
    if kind is None:
        raise ArtefactError(f"no file '{path}'; name an artefact folder or an .onnx file")
    return _reports(path, chosen)


def _file_of(artefact: Artefact) -> Path:
    build = artefact.builds("onnx")[0]
    artefact.verify(build)
    return artefact.folder / build.main


def _reports(file: Path, targets: Sequence[Target]) -> list[LintReport]:
    model = read(file)
    return [LintReport(target.name, (*check(model, target), *_of_parser(file, model, target))) for target in targets]


def _of_parser(file: Path, model: Model, target: Target) -> list[Finding]:
    """What the target's own parser says, where it has one that can be asked."""
    if target.parser is None:
        return []
    backend = rooms.load("backends", target.parser)
    absent = [name for name in sorted(model.beside) if not (file.parent / name).is_file()]
    if absent:
        return [_finding("note", "its parser was not asked: it reads the weights", f"put {absent[0]} beside the file")]
    try:
        refusals = backend.refusals(file)
    except UnavailableError as error:
        return [_finding("note", f"its parser was not asked: {error}", "the table has been")]
    remedy = "what the table says of it, if it does; else write it with other operators"
    return [_finding("error", words, remedy, node, op) for node, op, words in refusals]


def _finding(severity: str, problem: str, remedy: str, node: str = "", op: str = "") -> Finding:
    where = "graph" if node else "file"
    return Finding(rule="parser", severity=severity, node=node, op=op, where=where, problem=problem, remedy=remedy)
