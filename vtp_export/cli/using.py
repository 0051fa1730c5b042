"""Commands that use what was made: demo, run, bench."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtp_export.cli._app import Device, Folder, Formats, Options, name_option, settings_of
from vtp_export.cli._command import Result

if TYPE_CHECKING:
    from vtp_export.terminal import Listener


def demo(
    progress: "Listener",
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where everything goes; replaced if it is an earlier demo.")
    ] = Path("demo-out"),
) -> Result:
    """The main job on the embedded model, end to end: export, validate, draw."""
    from vtp_export import terminal
    from vtp_export.pipeline.demo import run_demo

    report = run_demo(out, progress)

    def show() -> None:
        terminal.show_validation(report.validation)
        terminal.say(f"\nreport:  {report.page}\npicture: {report.picture}\n\nnext:    {report.next_command}")

    data = {**report.validation.as_dict(), "report": report.page, "picture": report.picture}
    return Result(data, show, report.validation.passed)


def run(
    progress: "Listener",
    folder: Folder,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    fmt: Annotated[str | None, name_option("backends", "--format", "-f", words="Default: the best that runs.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all outputs to this .npz file.")] = None,
    overlay: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each photo here, kept patches lit, the rest dimmed.")
    ] = None,
    device: Device = None,
    options: Options = None,
) -> Result:
    """Run images through an artefact. Needs no torch for ONNX."""
    from vtp_export import terminal
    from vtp_export.pipeline.run import RunSpec
    from vtp_export.pipeline.run import run as run_images

    chosen = settings_of(options, "--option")
    results = run_images(RunSpec(folder, tuple(images), fmt, out, overlay, device, options=chosen), progress)
    columns = ("image", "tokens kept", "erank", "attention entropy", "overlay")
    rows = [tuple(vars(result).values()) for result in results]
    return Result({"images": results}, lambda: terminal.show_table(str(folder), columns, rows))


def bench(
    progress: "Listener",
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Artefacts.")],
    formats: Formats = None,
    batch: Annotated[list[int] | None, typer.Option(help="Batch size. Repeatable; default: 1.")] = None,
    rounds: Annotated[int, typer.Option(help="Timed runs of each.")] = 10,
    threads: Annotated[int | None, typer.Option(help="CPU threads of one run.")] = None,
    against: Annotated[str | None, typer.Option(metavar="MODEL", help="Time this model's eager front end too.")] = None,
    device: Device = None,
) -> Result:
    """Time artefacts side by side, one call of each in turn. Copies to a device and back are part of a call."""
    from vtp_export import terminal
    from vtp_export.pipeline.bench import BenchSpec
    from vtp_export.pipeline.bench import bench as run_bench

    spec = BenchSpec(tuple(folders), tuple(formats or ()), tuple(batch or [1]), rounds, against, threads, device)
    timings = run_bench(spec, progress)
    columns = ("what", "batch", "median ms", "p10 ms", "p90 ms", "ratio to the first")
    rows = [tuple(vars(timing).values()) for timing in timings]
    return Result({"timings": timings}, lambda: terminal.show_table("latency of one call", columns, rows))
