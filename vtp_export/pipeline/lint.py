"""`vtp-export lint`: would a runtime take this file? Answered in a second, from data, before anything is built."""

from collections.abc import Sequence
from pathlib import Path

from vtp_export.arguments import kind_of, one_or_several, path_of
from vtp_export.errors import ArtefactError
from vtp_export.reports.lint import LintReport
from vtp_export.runtime.artefact import Artefact, steadily
from vtp_export.targets import table
from vtp_export.targets.check import check
from vtp_export.targets.graph import Model, read


def lint(path: str | Path, targets: Sequence[str] = ()) -> list[LintReport]:
    """Hold an ONNX file, or that of an artefact, against targets.

    Args:
        path: a `.onnx` file, or an artefact, whose digests are verified first.
        targets: names, see `targets.table.names`; none for all.

    Raises:
        VtpError: no such target, no such file, or the `onnx` package is not installed.
    """
    chosen = [table.load(name) for name in (one_or_several(targets) or table.names())]
    model = _model(path_of("what is to be checked", path))
    return [LintReport(target.name, tuple(check(model, target))) for target in chosen]


def _model(path: Path) -> Model:
    kind = kind_of("what is to be checked,", path)
    if kind == "folder":
        return steadily(path, _of_artefact)
    if kind is None:
        raise ArtefactError(f"no file '{path}'; name an artefact folder or an .onnx file")
    return read(path)


def _of_artefact(artefact: Artefact) -> Model:
    build = artefact.builds("onnx")[0]
    artefact.verify(build)
    return read(artefact.folder / build.main)
