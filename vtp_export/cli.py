"""The command line: parse, call one pipeline function, print, set the exit code.

Exit codes: 0 fine, 1 the check failed, 2 the user's mistake. Nothing heavy is imported before a command runs.
"""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from vtp_export import __version__
from vtp_export.errors import SpecError, VtpError

if TYPE_CHECKING:
    from vtp_export.pipeline.verdict import ValidationReport

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Export a vision-language model's pruned vision front end (tower + visual-token pruner + projector), "
    "run it without torch, and prove that it keeps the same tokens.\n\nStart with: vtp-export demo",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Formats = Annotated[
    Optional[list[str]], typer.Option("--format", "-f", help="Repeatable. See: vtp-export list backends.")  # noqa: UP045
]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="An artefact: the folder that export wrote.")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(f"vtp-export {__version__}")
        raise typer.Exit


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
        _show_validation(report.validation)
        terminal.say(f"\nreport:  {report.page}\noverlay: {report.overlay}\n\nnext:    {report.next_command}")
    raise typer.Exit(0 if report.validation.passed else 1)


@app.command()
def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A Hugging Face folder, a hub id, or an embedded name (toy).")
    ],
    out: Annotated[Path, typer.Option(help="The artefact folder to write.")],
    pruner: Annotated[str, typer.Option(help="See: vtp-export list pruners.")] = "adaptive",
    keep: Annotated[Optional[int], typer.Option(help="How many visual tokens to keep.")] = None,  # noqa: UP045
    settings: Annotated[
        Optional[list[str]], typer.Option("--set", metavar="KEY=VALUE", help="A setting of the pruner. Repeatable.")  # noqa: UP045
    ] = None,
    formats: Formats = None,
    batch: Annotated[
        str, typer.Option(metavar="MIN:OPT:MAX", help="Batch sizes to build for; N for exactly N.")
    ] = "1:1:16",
    revision: Annotated[Optional[str], typer.Option(help="Commit, branch or tag on the hub.")] = None,  # noqa: UP045
    force: Annotated[bool, typer.Option(help="Replace the artefact at --out, atomically.")] = False,
    json: Json = False,
) -> None:
    """Write an artefact.

    Examples:
        vtp-export export llava-hf/llava-1.5-7b-hf --keep 64 --out llava64

        vtp-export export ./my-llava --keep 128 --set complexity=entropy -f onnx -f torchscript --out llava128
    """
    from vtp_export import terminal
    from vtp_export.pipeline.export import ExportSpec
    from vtp_export.pipeline.export import export as run_export

    chosen: dict[str, object] = dict(_pair(text) for text in settings or [])
    if keep is not None:
        chosen["keep"] = keep
    spec = ExportSpec(model, out, pruner, chosen, tuple(formats or ["onnx"]), _batch(batch), revision, force)
    with terminal.Listener() as progress:
        report = run_export(spec, progress)
    for note in report.notes:
        terminal.complain(f"note: {note}")
    if json:
        terminal.show_json(dataclasses.asdict(report))
        return
    rows = [(n, f"{report.build_seconds[n]:.1f}", f"{size / 1e6:.1f}") for n, size in report.bytes_on_disk.items()]
    terminal.show_table(f"{report.folder}", ("format", "seconds", "MB"), rows)
    layout = report.manifest.layout
    terminal.say(f"keeps {layout.keep} of {layout.n_tokens} visual tokens with {report.manifest.pruner.name}")
    terminal.say(f"next: vtp-export validate {report.folder}")


@app.command()
def validate(
    folder: Folder,
    formats: Formats = None,
    benchmark: Annotated[
        str, typer.Option(help="A name (vtp-export list benchmarks) or a folder of images.")
    ] = "photos",
    limit: Annotated[Optional[int], typer.Option(help="At most so many images.")] = None,  # noqa: UP045
    reference: Annotated[Optional[str], typer.Option(help="The model, if it has moved since the export.")] = None,  # noqa: UP045
    report: Annotated[Optional[Path], typer.Option(help="Write an HTML report with overlays here.")] = None,  # noqa: UP045
    json: Json = False,
) -> None:
    """Check that the artefact keeps the tokens that the method says, and returns their values.

    Two comparisons: the PyTorch graph against the method as its paper writes it (float64), and every format against the
    PyTorch graph. Exit code 1 if one fails.
    """
    from vtp_export import terminal
    from vtp_export.pipeline.report import write_report
    from vtp_export.pipeline.validate import ValidateSpec
    from vtp_export.pipeline.validate import validate as run_validate

    spec = ValidateSpec(folder, tuple(formats or ()), benchmark, limit, reference)
    with terminal.Listener() as progress:
        result = run_validate(spec, progress)
        page = None if report is None else write_report(result, spec, report, progress)
    if json:
        terminal.show_json(result.as_dict())
    else:
        _show_validation(result)
        if page is not None:
            terminal.say(f"report: {page}")
    raise typer.Exit(0 if result.passed else 1)


@app.command()
def run(
    folder: Folder,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    fmt: Annotated[Optional[str], typer.Option("--format", "-f", help="One of the artefact's formats.")] = None,  # noqa: UP045
    out: Annotated[Optional[Path], typer.Option(help="Write all outputs to this .npz file.")] = None,  # noqa: UP045
    overlay: Annotated[
        Optional[Path], typer.Option(metavar="DIR", help="Write each photo here, kept patches lit, the rest dimmed.")  # noqa: UP045
    ] = None,
    json: Json = False,
) -> None:
    """Run images through an artefact. Needs no torch for ONNX."""
    from vtp_export import terminal
    from vtp_export.pipeline.run import RunSpec
    from vtp_export.pipeline.run import run as run_images

    with terminal.Listener() as progress:
        results = run_images(RunSpec(folder, tuple(images), fmt, out, overlay), progress)
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
    json: Json = False,
) -> None:
    """Time artefacts side by side, one call of each in turn."""
    from vtp_export import terminal
    from vtp_export.pipeline.bench import BenchSpec
    from vtp_export.pipeline.bench import bench as run_bench

    spec = BenchSpec(tuple(folders), tuple(formats or ()), tuple(batch or [1]), rounds, against, threads)
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
    terminal.show_pairs(
        str(folder),
        {
            "model": f"{m.model.id} ({m.model.family}), weights {m.model.weights_sha256[:16]}...",
            "pruner": f"{m.pruner.name} " + " ".join(f"{k}={v}" for k, v in m.pruner.settings.items()),
            "calibrated": "; ".join(f"{k}: {v}" for k, v in m.pruner.origins.items()) or None,
            "tokens": f"{m.layout.keep} of {m.layout.n_tokens}, grid {m.layout.grid[0]} x {m.layout.grid[1]}",
            "inputs": ", ".join(f"{s.name} {s.dtype} {list(s.shape)}" for s in m.inputs),
            "outputs": ", ".join(f"{s.name} {s.dtype} {list(s.shape)}" for s in m.outputs),
            "batch": f"{m.batch.min} to {m.batch.max}",
            "built by": ", ".join(f"{k} {v}" for k, v in m.versions.items()),
        },
    )
    files = [(n, f.format, f.bytes / 1e6, f.sha256[:16]) for n, f in sorted(m.files.items())]
    terminal.show_table("files (all digests match)", ("file", "format", "MB", "SHA-256"), files)
    terminal.show_table("formats", ("format", "runs here"), [(k, v or "yes") for k, v in result.obstacles.items()])
    for fmt, values in m.validation.items():
        terminal.show_pairs(f"last validation of {fmt}", values)


@app.command("list")
def list_names(
    what: Annotated[str, typer.Argument(metavar="pruners|models|backends|benchmarks")], json: Json = False
) -> None:
    """List what is on offer: each name is a file in that folder of the package."""
    from vtp_export import terminal
    from vtp_export.pipeline.catalogue import ROOMS, catalogue

    if what not in ROOMS:
        raise SpecError(f"nothing is listed under '{what}'; choose one of: {', '.join(ROOMS)}")
    rows = catalogue(what)
    if json:
        terminal.show_json([{"name": name, "summary": summary} for name, summary in rows])
    else:
        terminal.show_table(what, ("name", "what it is"), rows)


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise SpecError(f"--set takes KEY=VALUE, and '{text}' is not that")
    return key.strip(), value


def _batch(text: str) -> tuple[int, int, int]:
    parts = text.split(":")
    if len(parts) not in (1, 3) or not all(part.isdigit() for part in parts):
        raise SpecError(f"--batch is '{text}'; it must be MIN:OPT:MAX or one number")
    low, usual, high = (int(part) for part in (parts * 3 if len(parts) == 1 else parts))
    return low, usual, high


def _show_validation(result: "ValidationReport") -> None:
    from vtp_export import terminal
    from vtp_export.pipeline.verdict import validation_rows

    columns, rows, failures = validation_rows(result)
    terminal.show_table("validation", columns, rows)
    for failure in failures:
        terminal.say(f"failed: {failure}")


def main() -> None:
    """The console script."""
    try:
        app()
    except VtpError as error:
        _leave(str(error))
    except ModuleNotFoundError as error:
        extra = {"torch", "transformers", "onnx", "onnxscript", "safetensors"}
        if error.name not in extra:
            raise
        _leave(f"this command needs {error.name}: pip install 'vtp-export[export]'")
    except KeyboardInterrupt:
        print("interrupted; nothing was left half written", file=sys.stderr)
        sys.exit(130)


def _leave(sentence: str) -> None:
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)
