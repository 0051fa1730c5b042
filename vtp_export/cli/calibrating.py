"""The command that measures how complex images are: calibrate."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtp_export.cli._app import Dtype, Grid, ImageSize, MaxTokens, Report, Revision, Threads, TorchDevice, name_option
from vtp_export.cli._command import Result
from vtp_export.errors import SpecError

if TYPE_CHECKING:
    from vtp_export.terminal import Listener

SHARING = "Sharing the work out"


def calibrate(
    progress: "Listener",
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="The record to write (JSON); with --shard the folder of the shards.")
    ],
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL|DIR]",
            help="A Hugging Face folder, a hub id, or an embedded name (tiny-llava, toy); or an artefact, which is run "
            "without PyTorch.",
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|NAME",
            help="A folder of pictures, of tar files (WebDataset) or of Parquet files; one such file; a JSON list that "
            "names pictures, as LLaVA's; hub:OWNER/NAME[:SPLIT]; or a benchmark.",
        ),
    ] = None,
    image_folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What the paths in a JSON list are relative to. Default: its own folder."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="At most so many images, spread over all that there are.")
    ] = None,
    start: Annotated[int, typer.Option(metavar="N", help="Pass over the first N images.")] = 0,
    max_broken: Annotated[
        float,
        typer.Option(
            metavar="SHARE", help="Images that cannot be read are passed over, counted and listed: up to here."
        ),
    ] = 0.01,
    batch: Annotated[int, typer.Option(metavar="N", help="Images that the model sees at a time.")] = 4,
    workers: Annotated[
        int, typer.Option(metavar="N", help="Processes that decode pictures. Default: a thread of this one.")
    ] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run was interrupted.")] = False,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Measure part I of N only, on any machine.", rich_help_panel=SHARING),
    ] = None,
    merge: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Make one record of the shards in a folder; needs neither the model nor the images.",
            rich_help_panel=SHARING,
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Share the work out on a Ray cluster: its HOST:PORT, auto, or local, which starts one here.",
            rich_help_panel=SHARING,
        ),
    ] = None,
    corruptions: Annotated[
        str | None,
        typer.Option(
            metavar="S,S",
            help="Also measure each image under the fifteen common corruptions at these severities, 1 to 5, as 1,3.",
        ),
    ] = None,
    frost: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Pictures of frost, for the corruption that needs them.")
    ] = None,
    report: Report = None,
    fmt: Annotated[
        str | None,
        name_option("backends", "--format", "-f", words="Of an artefact; default: the first that runs here."),
    ] = None,
    revision: Revision = None,
    grid: Grid = None,
    image_size: ImageSize = None,
    max_tokens: MaxTokens = None,
    device: TorchDevice = "cpu",
    dtype: Dtype = "float32",
    threads: Threads = None,
) -> Result:
    """Measure how complex images are to a model: the numbers that adaptive pruners are set by.

    Of a benchmark the calibration split is read, which is never tested on. The numbers of every image are kept beside
    the record, in NAME.columns.npz. A large data set is shared out with --shard and put together with --merge: the
    record is the same to the last bit.

    Examples:
        vtp-export calibrate llava-hf/llava-1.5-7b-hf --images ./photos --out llava.json

        vtp-export export llava-hf/llava-1.5-7b-hf --calibration llava.json --out llava64

        vtp-export calibrate llava-hf/llava-1.5-7b-hf --images llava_v1_5_mix665k.json --image-folder data --shard 2/8
        --device cuda --batch 32 --workers 8 --out parts

        vtp-export calibrate --merge parts --out llava.json
    """
    from vtp_export.pipeline.calibrate import calibrate as run_calibrate
    from vtp_export.pipeline.calibrate import merge as run_merge
    from vtp_export.reports.calibration import calibration_summary
    from vtp_export.reports.page import page_in

    if merge is not None:
        if any((model, images, shard, resume, ray, corruptions)):
            raise SpecError(
                "--merge joins shards that are there: leave MODEL, --images, --shard, --resume, --ray and "
                "--corruptions out"
            )
        record = run_merge(merge, out, max_broken=max_broken, report=report)
        return Result({"record": record}, calibration_summary(record, out, page_in(report)))
    if model is None or images is None:
        lacks = "MODEL" if model is None else "--images"
        raise SpecError(f"{lacks} is missing: name a model and the images to measure, or shards to --merge")
    record = run_calibrate(
        model,
        images,
        out,
        limit=limit,
        start=start,
        image_folder=image_folder,
        shard=shard,
        resume=resume,
        max_broken=max_broken,
        batch=batch,
        workers=workers,
        ray=ray,
        corruptions=_severities(corruptions),
        frost=frost,
        report=report,
        format=fmt,
        revision=revision,
        grid=grid,
        image_size=image_size,
        max_tokens=max_tokens,
        device=device,
        dtype=dtype,
        threads=threads,
        progress=progress,
    )
    return Result({"record": record}, calibration_summary(record, out, page_in(report)))


def _severities(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 9 for part in parts):
        raise SpecError(f"--corruptions is '{text}'; it must be severities of 1 to 5, as 1,3")
    return tuple(map(int, parts))
