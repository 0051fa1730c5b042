"""Commands that only look: inspect, lint, doctor, list."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vtp_export.cli._app import Folder
from vtp_export.cli._command import Result

if TYPE_CHECKING:
    from vtp_export.pipeline.inspect import Inspection
    from vtp_export.pipeline.lint import LintReport
    from vtp_export.pipeline.list import Entry
    from vtp_export.spec import PrecisionRecord
    from vtp_export.terminal import Listener


def inspect(progress: "Listener", folder: Folder) -> Result:
    """Show what an artefact holds, after checking every digest."""
    from vtp_export.pipeline.inspect import inspect as run_inspect

    result = run_inspect(folder)
    return Result(vars(result), lambda: _show_inspection(result))


def _show_inspection(result: "Inspection") -> None:
    from vtp_export import terminal

    m = result.manifest
    rows, columns = m.layout.candidates.grid
    terminal.show_pairs(
        str(result.folder),
        {
            "model": f"{m.model.id} ({m.model.family}), weights {m.model.weights_sha256[:16]}...",
            "pruner": f"{m.pruner.name} " + " ".join(f"{k}={v}" for k, v in m.pruner.settings.items()),
            "calibrated": "; ".join(f"{k}: {v}" for k, v in m.pruner.origins.items()) or None,
            "tokens": f"{m.layout.budget} of {m.layout.candidates.n}, grid {rows} x {columns}",
            "inputs": ", ".join(f"{s.name} {s.dtype} {list(s.shape)}" for s in m.inputs),
            "outputs": ", ".join(f"{s.name} {s.dtype} {list(s.shape)}" for s in m.outputs),
            "precision": _precision(m.precision),
            "batch": f"{m.batch.min} to {m.batch.max}",
            "built by": ", ".join(f"{k} {v}" for k, v in m.versions.items()),
        },
    )
    files = [(n, b.format, f.bytes / 1e6, f.sha256[:16]) for b in m.builds for n, f in b.files.items()]
    terminal.show_table("files (all digests match)", ("file", "format", "MB", "SHA-256"), files)
    terminal.show_table("formats", ("format", "runs here"), [(k, v or "yes") for k, v in result.obstacles.items()])
    for fmt, values in m.validation.items():
        terminal.show_pairs(f"last validation of {fmt}", values)


def _precision(record: "PrecisionRecord") -> str:
    told = [record.name, *([record.activations] if record.activations else [])]
    told += [f"{len(record.float32_layers)} layers in float32"] if record.float32_layers else []
    return ", ".join(told + ([f"ranges from {record.count} images of {record.images}"] if record.images else []))


def lint(
    progress: "Listener",
    path: Annotated[Path, typer.Argument(metavar="DIR|FILE.onnx", help="An artefact, or any ONNX file.")],
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="Repeatable; default: all. See: vtp-export list targets."),
    ] = None,
) -> Result:
    """Say in a second whether a runtime will take the graph: TensorRT 8.5 to 11, ONNX Runtime 1.17 to 1.32.

    Every node, also inside loops, is held against tables of operators, types and restrictions. An error will stop the
    build; a note will not. Exit code 1 if there is an error for a target that was asked for. The tables are made from
    documentation (and measured for ONNX Runtime): docs/lint.md says what they cannot know.

    Example:
        vtp-export lint llava64 --target tensorrt-10.3
    """
    from vtp_export.pipeline.lint import lint as run_lint

    reports = run_lint(path, target or ())
    data = [{**dataclasses.asdict(report), "passed": report.passed} for report in reports]
    passed = all(report.passed for report in reports) or not target
    return Result({"targets": data, "passed": passed}, lambda: _show_lint(path, reports, bool(target)), passed)


def _show_lint(path: Path, reports: "list[LintReport]", named: bool) -> None:
    from vtp_export import terminal
    from vtp_export.pipeline.lint import grouped

    verdicts = [(r.target, "yes" if r.passed else "NO", r.errors, len(r.findings) - r.errors) for r in reports]
    terminal.show_table(str(path), ("target", "takes it", "errors", "notes"), verdicts)
    columns = ("", "rule", "what", "nodes", "first node", "remedy")
    for report in reports if named else ():
        if report.findings:
            rows = [tuple(vars(group).values()) for group in grouped(report.findings)]
            terminal.show_table(report.target, columns, rows)
    if not named:
        terminal.say("name a --target to see its findings")


def doctor(
    progress: "Listener",
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="An artefact: say which of its formats can be opened here."),
    ] = None,
) -> Result:
    """Say what this machine can run and what not, and what would help: GPU, driver, TensorRT, ONNX Runtime, torch.

    Providers are not believed by their names: each is given a product to compute. Exit code 1 if nothing could be run
    here; with DIR, if none of its formats could be opened.

    Example:
        vtp-export doctor llava64
    """
    from vtp_export import terminal
    from vtp_export.pipeline.doctor import doctor as diagnose

    result = diagnose(folder)

    def show() -> None:
        columns = ("what", "found", "verdict")
        terminal.show_table("this machine", columns, [tuple(vars(finding).values()) for finding in result.findings])
        if result.formats is not None:
            rows = [(name, reason or "yes") for name, reason in result.formats.items()]
            terminal.show_table(str(folder), ("format", "opens here"), rows)

    return Result(vars(result), show, result.able)


def list_(
    progress: "Listener",
    room: Annotated[
        Literal["pruners", "models", "backends", "benchmarks", "targets"] | None,
        typer.Argument(metavar="[ROOM]", help="pruners, models, backends, benchmarks or targets; default: all."),
    ] = None,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One of them: what it is, and every setting that it has.")
    ] = None,
) -> Result:
    """List what is on offer: each name is a file in that folder of the package.

    Examples:
        vtp-export list pruners

        vtp-export list pruners adaptive
    """
    from vtp_export import terminal
    from vtp_export.pipeline.list import ROOMS, catalogue, entry

    if room is not None and name is not None:
        one = entry(room, name)
        return Result(vars(one), lambda: _show_entry(one))
    rows = {each: catalogue(each) for each in ([room] if room else ROOMS)}

    def show() -> None:
        for each, lines in rows.items():
            terminal.show_table(each, ("name", "what it is"), lines)

    return Result({each: [{"name": n, "summary": s} for n, s in lines] for each, lines in rows.items()}, show)


def _show_entry(one: "Entry") -> None:
    from vtp_export import terminal

    terminal.say(f"{one.name}: {one.about}")
    for option, settings in one.settings.items():
        lines = [(s.name, s.default, s.must_be, s.source, s.meaning) for s in settings]
        terminal.say("")
        terminal.show_table(option, ("setting", "default", "must be", "default from", "meaning"), lines)
