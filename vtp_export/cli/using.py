"""Commands that use what was made: demo, run, bench."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtp_export.cli._app import (
    Device,
    Dtype,
    Folder,
    Formats,
    NearestGrid,
    Options,
    Threads,
    TorchDevice,
    name_option,
    settings_of,
)
from vtp_export.cli._command import Result
from vtp_export.errors import SpecError

if TYPE_CHECKING:
    from vtp_export.terminal import Listener


def demo(
    progress: "Listener",
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where everything goes; replaced if it is an earlier demo.")
    ] = Path("demo-out"),
    web: Annotated[
        bool,
        typer.Option("--web", help="Instead: a page on this machine, where kept tokens light up as the budget slides."),
    ] = False,
    model: Annotated[
        str, typer.Option(metavar="MODEL", help="Of --web: a folder, a hub id or an embedded name.")
    ] = "tiny-llava",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Of --web; 0 for one that is free.")] = 0,
    device: TorchDevice = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
) -> Result:
    """The main job on the embedded model, end to end: export, validate, draw.

    With --web a page to look at: drop a photo, move the budget, and see for two pruners side by side what they keep,
    what the language model then says, and how long it took. Only this machine can open it.

    Examples:
        vtp-export demo --out demo-out

        vtp-export demo --web
    """
    if web:
        from vtp_export.comparing.web import serve

        address = serve(model, port=port, device=device, dtype=dtype, threads=threads, progress=progress)
        return Result({"address": address}, (f"{address} has ended",))
    from vtp_export.pipeline.demo import demo as run_demo
    from vtp_export.reports.demo import demo_summary

    report = run_demo(out, device=device, dtype=dtype, threads=threads, progress=progress)
    data = {**report.validation.as_dict(), "report": report.page, "picture": report.picture}
    return Result(data, demo_summary(report), report.validation.passed)


def run(
    progress: "Listener",
    folder: Folder,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files, and folders of them.")],
    fmt: Annotated[str | None, name_option("backends", "--format", "-f", words="Default: the best that runs.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write all outputs to this .npz file.")] = None,
    overlay: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each photo here, kept patches lit, the rest dimmed.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out, and list, images that cannot be used.")
    ] = False,
    nearest_grid: NearestGrid = False,
    device: Device = None,
    threads: Threads = None,
    options: Options = None,
) -> Result:
    """Run images through an artefact. Needs no torch for ONNX and OpenVINO, nor for TensorRT plans.

    Examples:
        vtp-export run llava64 photo.jpg photos/ --out tokens.npz --overlay pictures

        vtp-export run llava64 photo.jpg --json
    """
    from vtp_export.pipeline.run import run as run_images
    from vtp_export.reports.results import run_summary

    report = run_images(
        folder,
        images,
        format=fmt,
        out=out,
        overlays=overlay,
        skip_bad=skip_bad,
        nearest_grid=nearest_grid,
        device=device,
        threads=threads,
        options=settings_of(options, "--option"),
        progress=progress,
    )
    return Result(vars(report), run_summary(report))


def bench(
    progress: "Listener",
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Artefacts.")],
    formats: Formats = None,
    batch: Annotated[list[int] | None, typer.Option(metavar="N", help="Batch size. Repeatable; default: 1.")] = None,
    rounds: Annotated[int, typer.Option(metavar="N", help="Timed runs of each.")] = 10,
    check: Annotated[
        bool, typer.Option("--check", help="Check every format first, and tell of those too that cannot run here.")
    ] = False,
    decoder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="With --check: also compare this language model's answers; see decoder."),
    ] = None,
    against: Annotated[str | None, typer.Option(metavar="MODEL", help="Time this model's eager front end too.")] = None,
    first_token: Annotated[
        str | None,
        typer.Option(
            "--first-token",
            metavar="DECODER",
            help="Time from a picture to the first token of the answer, with this language model behind each: 0.5b, "
            "1b, 3b or 7b, a published shape with random weights, or a model.",
        ),
    ] = None,
    device: Device = None,
    dtype: Dtype = "float32",
    threads: Threads = None,
    options: Options = None,
) -> Result:
    """Time artefacts side by side, one call of each in turn. Copies to a device and back are part of a call.

    With --check one table of every format: which tokens it keeps and how far values are off, as check judges it; time
    as a ratio to ONNX Runtime; size of the files, and of what has to be installed. Exit code 1 if a check fails.

    With --first-token what people wait for: a picture, the front end, and the language model's prefill, where pruned
    tokens pay.

    Examples:
        vtp-export bench llava64 --check

        vtp-export bench tiny64 --check --decoder tiny-decoder

        vtp-export bench llava64 --first-token 1b --against llava-hf/llava-1.5-7b-hf
    """
    how: dict[str, Any] = {
        "formats": formats or (),
        "rounds": rounds,
        "against": against,
        "device": device,
        "dtype": dtype,
        "threads": threads,
        "options": settings_of(options, "--option"),
        "progress": progress,
    }
    if first_token is not None:
        if check or batch or decoder:
            raise SpecError(
                "--first-token times one picture at a time; leave --check, --decoder and --batch to a run of its own"
            )
        from vtp_export.comparing.first_token import first_token as run_first_token
        from vtp_export.reports.first_token import first_token_summary

        timed = run_first_token(folders, first_token, **how)
        return Result(timed.as_dict(), first_token_summary(timed))
    from vtp_export.pipeline.bench import bench as run_bench
    from vtp_export.reports.bench import bench_summary

    report = run_bench(folders, batches=batch or (1,), check=check, decoder=decoder, **how)
    return Result(report.as_dict(), bench_summary(report), report.passed)
