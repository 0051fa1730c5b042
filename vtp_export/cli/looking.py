"""Commands that only look: explain, inspect, lint, doctor, list."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vtp_export.cli._app import Device, Folder, Threads
from vtp_export.cli._command import Result
from vtp_export.cli._grids import of_each_grid

if TYPE_CHECKING:
    from vtp_export.terminal import Listener


def inspect(progress: "Listener", folder: Folder) -> Result:
    """Show what an artefact holds, after checking every digest.

    Example:
        vtp-export inspect llava64
    """
    from vtp_export.pipeline.inspect import inspect as run_inspect
    from vtp_export.reports.artefact import inspection_summary

    def one(place: Path) -> Result:
        result = run_inspect(place)
        return Result(vars(result), inspection_summary(result))

    return of_each_grid(folder, one, progress)


def lint(
    progress: "Listener",
    path: Annotated[Path, typer.Argument(metavar="DIR|FILE.onnx", help="An artefact, or any ONNX file.")],
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", metavar="NAME", help="Repeatable; default: all. See: vtp-export list targets."),
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
    from vtp_export.reports.lint import lint_summary
    from vtp_export.runtime.hub import located

    path = path if path.suffix == ".onnx" else located(path)

    def one(place: Path) -> Result:
        reports = run_lint(place, target or ())
        data = [{**dataclasses.asdict(report), "passed": report.passed} for report in reports]
        passed = all(report.passed for report in reports) or not target
        summary = lint_summary(str(place), reports, details=bool(target))
        return Result({"targets": data, "passed": passed}, summary, passed)

    return of_each_grid(path, one, progress)


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
    from vtp_export.pipeline.doctor import doctor as diagnose
    from vtp_export.reports.machine import diagnosis_summary

    result = diagnose(folder)
    return Result(vars(result), diagnosis_summary(result, str(folder)), result.able)


def explain(
    progress: "Listener",
    folder: Folder,
    photo: Annotated[
        str, typer.Argument(metavar="PHOTO", help="An image file, or the name of a picture of the golden record.")
    ],
    tile: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of a photo in several views: 0 is the whole, 1 and up its tiles.")
    ] = 0,
    token: Annotated[int | None, typer.Option(metavar="N", help="Tell of this token only, kept or not.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it: a picture (.png), or a page with the table (.html).")
    ] = None,
    device: Device = None,
    threads: Threads = None,
) -> Result:
    """Say why each token of a photo was kept: in which turn, by which score and rank, and whom it struck out.

    Of any photo where the artefact was exported with --signals, else of the pictures of its golden record. Needs no
    torch.

    Example:
        vtp-export explain llava64 astronaut --token 17
    """
    from vtp_export.pipeline.explain import explain as run_explain
    from vtp_export.reports.explain import explain_summary

    report = run_explain(
        folder, photo, tile=tile, token=token, out=out, device=device, threads=threads, progress=progress
    )
    return Result({**report.as_dict(), "out": out}, explain_summary(report, out))


def list_(
    progress: "Listener",
    room: Annotated[
        Literal["pruners", "inllm", "models", "backends", "benchmarks", "targets"] | None,
        typer.Argument(
            metavar="[ROOM]", help="Default: all. inllm: what prunes inside the language model, for compare alone."
        ),
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
    from vtp_export.pipeline.list import ROOMS, catalogue, entry
    from vtp_export.reports.catalogue import catalogue_summary, entry_summary

    if room is not None and name is not None:
        one = entry(room, name)
        return Result(vars(one), entry_summary(one))
    rows = {each: catalogue(each) for each in ([room] if room else ROOMS)}
    data = {each: [{"name": n, "summary": s} for n, s in lines] for each, lines in rows.items()}
    return Result(data, catalogue_summary(rows))
