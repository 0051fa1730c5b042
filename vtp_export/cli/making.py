"""Commands that make something: export, build."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vtp_export.cli._app import (
    Calibrations,
    Folder,
    Force,
    Grids,
    ImageSizes,
    Model,
    MostTokens,
    Options,
    Revision,
    Settings,
    Threads,
    TorchDevice,
    budget,
    name_option,
    settings_of,
)
from vtp_export.cli._command import Result
from vtp_export.cli._grids import of_each_grid
from vtp_export.errors import SpecError
from vtp_export.spec import Activations, PrecisionName

if TYPE_CHECKING:
    from vtp_export.terminal import Listener


def export(
    progress: "Listener",
    model: Model,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The artefact folder to write.")],
    pruner: Annotated[str, name_option("pruners", "--pruner", words="The method.")] = "adaptive",
    keep: Annotated[
        str | None, typer.Option(metavar="N|N%", parser=budget, help="How many visual tokens to keep, or which share.")
    ] = None,
    settings: Settings = None,
    formats: Annotated[
        list[str] | None, name_option("backends", "--format", "-f", words="Repeatable; default: onnx.")
    ] = None,
    batch: Annotated[
        str, typer.Option(metavar="MIN:OPT:MAX", help="Batch sizes to build for; N for exactly N.")
    ] = "1:1:16",
    calibration: Calibrations = None,
    loop_free: Annotated[
        bool,
        typer.Option(
            "--loop-free",
            help="Unroll greedy rounds: no Loop operator, a larger file, and plans that take longer to build.",
        ),
    ] = False,
    precision: Annotated[
        PrecisionName, typer.Option(help="What the graph computes with; selection stays in float32.")
    ] = "fp32",
    range_images: Annotated[
        str,
        typer.Option(
            metavar="PATH|NAME",
            help="fp16 and int8: images that show how large numbers get. A folder, or a benchmark's calibration split.",
        ),
    ] = "photos",
    range_count: Annotated[
        int, typer.Option(metavar="N", min=1, help="fp16 and int8: how many of these images, spread over all of them.")
    ] = 16,
    activations: Annotated[
        Activations | None,
        typer.Option(
            help="int8: scales of blocks, found at run time (ONNX Runtime from 1.22, CPU), or of tensors, found on the "
            "range images (Q/DQ; TensorRT, OpenVINO)."
        ),
    ] = None,
    block: Annotated[
        Literal["32", "128"] | None,
        typer.Option(help="int8 in blocks: channels that share a scale: 32 is nearer to float32, 128 faster."),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="int8: what stays in float32: a precision plan, such as the precision-plan.json of an earlier export, "
            "or narrow (nothing), wide-mlps (all MLPs), wide-half (the first half of the blocks). Default: a plan is "
            "found on the range images.",
        ),
    ] = None,
    signals: Annotated[
        bool, typer.Option("--signals", help="Let the file say what the pruner sees, for explain. ONNX, OpenVINO.")
    ] = False,
    golden: Annotated[
        int, typer.Option(metavar="N", min=0, help="Pictures of the golden record, by which check proves it anywhere.")
    ] = 8,
    golden_images: Annotated[
        str | None,
        typer.Option(metavar="PATH|NAME", help="Whose first pictures they are, made small. Default: free photographs."),
    ] = None,
    options: Options = None,
    packing: Annotated[
        list[str] | None,
        typer.Option(
            "--packing",
            metavar="KEY=VALUE",
            help="Of a model that sees a picture in tiles: newlines=rows|none, unpad=true|false, tiles=N. Repeatable.",
        ),
    ] = None,
    grid: Grids = None,
    image_size: ImageSizes = None,
    max_tokens: MostTokens = None,
    device: TorchDevice = "cpu",
    threads: Threads = None,
    revision: Revision = None,
    force: Force = False,
) -> Result:
    """Write an artefact.

    Examples:
        vtp-export export llava-hf/llava-1.5-7b-hf --keep 64 --out llava64

        vtp-export export ./my-llava --keep 128 --set complexity=entropy -f onnx -f torchscript --out llava128

        vtp-export export ./my-llava --precision int8 --range-images ./photos --out llava-int8

        vtp-export export Qwen/Qwen2.5-VL-7B-Instruct --image-size 980x980 --pruner fastervlm --keep 256 --out qwen256

        vtp-export export Qwen/Qwen2.5-VL-7B-Instruct --max-tokens 1280 --pruner fastervlm --keep 256 --out qwen-shapes
    """
    from vtp_export.pipeline.export import export as run_export
    from vtp_export.precision.policy import Precision
    from vtp_export.reports.artefact import export_summary

    report = run_export(
        model,
        out,
        pruner=pruner,
        keep=keep,
        settings=settings_of(settings),
        formats=formats or ("onnx",),
        batch=_batch(batch),
        precision=Precision(
            name=precision,
            activations=activations,
            block=None if block is None else int(block),
            images=range_images,
            limit=range_count,
            plan=plan,
        ),
        calibration=calibration,
        loop_free=loop_free,
        signals=signals,
        golden=golden,
        golden_images=golden_images,
        options=settings_of(options, "--option"),
        packing=settings_of(packing, "--packing"),
        grid=grid,
        image_size=image_size,
        max_tokens=max_tokens,
        device=device,
        threads=threads,
        revision=revision,
        force=force,
        progress=progress,
    )
    for note in report.notes:
        progress.note(note)
    return Result(vars(report), export_summary(report))


def _batch(text: str) -> tuple[int, int, int]:
    parts = text.split(":")
    if len(parts) not in (1, 3) or not all(part.isdigit() for part in parts):
        raise SpecError(f"--batch is '{text}'; it must be MIN:OPT:MAX or one number")
    low, usual, high = (int(part) for part in (parts * 3 if len(parts) == 1 else parts))
    return low, usual, high


def build(
    progress: "Listener",
    folder: Folder,
    fmt: Annotated[
        str, name_option("backends", "--format", "-f", words="One that is made from another format's file.")
    ] = "tensorrt",
    options: Options = None,
    force: Force = False,
) -> Result:
    """Build a format on this machine from a file of the artefact, and add it to the artefact. Needs no torch.

    A TensorRT plan runs only on the TensorRT version, the compute capability and the platform that built it, so build
    it on the board. One of TensorRT for RTX is built anywhere, without a GPU, for the kinds of GPU that --option
    target names. Run lint before. `vtp-export plan` is the same command.

    Examples:
        vtp-export build llava64

        vtp-export build llava64 --format tensorrt --option workspace_gb=2

        vtp-export build llava64 --format tensorrt_rtx --option target=sm86,sm89,sm120
    """
    from vtp_export.pipeline.build import build as run_build
    from vtp_export.reports.artefact import build_summary

    def one(place: Path) -> Result:
        report = run_build(place, format=fmt, options=settings_of(options, "--option"), force=force, progress=progress)
        return Result(vars(report), build_summary(report))

    return of_each_grid(folder, one, progress)
