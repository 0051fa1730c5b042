"""Commands that use what was made: run, bench, inspect, list, demo."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from vtp_export.cli._app import Folder, Formats, Json, Provider, app
from vtp_export.errors import SpecError

if TYPE_CHECKING:
    from vtp_export.spec import PrecisionRecord


@app.command()
def run(
    folder: Folder,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    fmt: Annotated[Optional[str], typer.Option("--format", "-f", help="One of the artefact's formats.")] = None,  # noqa: UP045
    out: Annotated[Optional[Path], typer.Option(help="Write all outputs to this .npz file.")] = None,  # noqa: UP045
    overlay: Annotated[
        Optional[Path], typer.Option(metavar="DIR", help="Write each photo here, kept patches lit, the rest dimmed.")  # noqa: UP045
    ] = None,
    provider: Provider = None,
    json: Json = False,
) -> None:
    """Run images through an artefact. Needs no torch for ONNX."""
    from vtp_export import terminal
    from vtp_export.pipeline.run import RunSpec
    from vtp_export.pipeline.run import run as run_images

    with terminal.Listener() as progress:
        results = run_images(RunSpec(folder, tuple(images), fmt, out, overlay, provider), progress)
    if json:
        terminal.show_json([dataclasses.asdict(result) for result in results])
    else:
        columns = ("image", "tokens kept", "erank", "attention entropy", "overlay")
        terminal.show_table(str(folder), columns, [tuple(vars(result).values()) for result in results])


@app.command()
def bench(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Artefacts.")],
    formats: Formats = None,
    batch: Annotated[Optional[list[int]], typer.Option(help="Batch size. Repeatable.")] = None,  # noqa: UP045
    rounds: Annotated[int, typer.Option(help="Timed runs of each.")] = 10,
    threads: Annotated[Optional[int], typer.Option(help="CPU threads of one run.")] = None,  # noqa: UP045
    against: Annotated[str | None, typer.Option(metavar="MODEL", help="Time this model's eager front end too.")] = None,
    provider: Provider = None,
    json: Json = False,
) -> None:
    """Time artefacts side by side, one call of each in turn. Copies to a device and back are part of a call."""
    from vtp_export import terminal
    from vtp_export.pipeline.bench import BenchSpec
    from vtp_export.pipeline.bench import bench as run_bench

    spec = BenchSpec(tuple(folders), tuple(formats or ()), tuple(batch or [1]), rounds, against, threads, provider)
    with terminal.Listener() as progress:
        rows = run_bench(spec, progress)
    if json:
        terminal.show_json([dataclasses.asdict(row) for row in rows])
    else:
        columns = ("what", "batch", "median ms", "p10 ms", "p90 ms", "ratio to the first")
        terminal.show_table("latency of one call", columns, [tuple(vars(row).values()) for row in rows])


@app.command()
def inspect(folder: Folder, json: Json = False) -> None:
    """Show what an artefact holds, after checking every digest."""
    from vtp_export import terminal
    from vtp_export.pipeline.inspect import inspect as run_inspect

    result = run_inspect(folder)
    if json:
        terminal.show_json(dataclasses.asdict(result))
        return
    m = result.manifest
    rows, columns = m.layout.candidates.grid
    terminal.show_pairs(
        str(folder),
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
    files = [(n, f.format, f.bytes / 1e6, f.sha256[:16]) for n, f in sorted(m.files.items())]
    terminal.show_table("files (all digests match)", ("file", "format", "MB", "SHA-256"), files)
    terminal.show_table("formats", ("format", "runs here"), [(k, v or "yes") for k, v in result.obstacles.items()])
    for fmt, values in m.validation.items():
        terminal.show_pairs(f"last validation of {fmt}", values)


def _precision(record: "PrecisionRecord") -> str:
    told = [record.name, *([record.activations] if record.activations else [])]
    told += [f"{len(record.float32_layers)} layers in float32"] if record.float32_layers else []
    return ", ".join(told + ([f"ranges from {record.count} images of {record.images}"] if record.images else []))


@app.command("list")
def list_names(
    what: Annotated[str, typer.Argument(metavar="pruners|models|backends|benchmarks|targets")], json: Json = False
) -> None:
    """List what is on offer: each name is a file in that folder of the package."""
    from vtp_export import terminal
    from vtp_export.pipeline.list import ROOMS, catalogue

    if what not in ROOMS:
        raise SpecError(f"nothing is listed under '{what}'; choose one of: {', '.join(ROOMS)}")
    rows = catalogue(what)
    if json:
        terminal.show_json([{"name": name, "summary": summary} for name, summary in rows])
    else:
        terminal.show_table(what, ("name", "what it is"), rows)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where everything goes; replaced if it is an earlier demo.")] = Path(
        "demo-out"
    ),
    json: Json = False,
) -> None:
    """The main job on the embedded model, end to end: export, validate, draw."""
    from vtp_export import terminal
    from vtp_export.pipeline.demo import run_demo

    with terminal.Listener() as progress:
        report = run_demo(out, progress)
    if json:
        terminal.show_json(report.validation.as_dict())
    else:
        terminal.show_validation(report.validation)
        terminal.say(f"\nreport:  {report.page}\npicture: {report.picture}\n\nnext:    {report.next_command}")
    raise typer.Exit(0 if report.validation.passed else 1)
