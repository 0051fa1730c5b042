"""`vtp-export calibrate`: how complex are a data set's images, as this model sees them?"""

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vtp_export.arguments import kind_of, path_of, whole
from vtp_export.benchmarks._pictures import Pictures, chosen_pictures
from vtp_export.calibration.columns import Columns, columns_beside
from vtp_export.calibration.corruptions.every import corrupting
from vtp_export.calibration.decoding import unchanged
from vtp_export.calibration.measuring import block_count
from vtp_export.calibration.records import write_record
from vtp_export.calibration.running import refuse_broken, run
from vtp_export.calibration.shards import merged, shard_path
from vtp_export.calibrations import CalibrationRecord, calibration_from_json
from vtp_export.errors import SpecError, shown
from vtp_export.integrations.ray import cluster, once, spread
from vtp_export.json_records import read_text
from vtp_export.making.calibrating import Order, blocks_elsewhere, opened, origin_elsewhere
from vtp_export.making.ends import ends
from vtp_export.models._sizes import asked_size
from vtp_export.progress import Progress, silent
from vtp_export.reports.calibration_page import write_calibration
from vtp_export.reports.page import report_folder
from vtp_export.runtime.writing import refuse_overwriting, refuse_unwritable_file

BATCH = 4
MOST_BROKEN = 0.01
"""Share of pictures that may be broken."""


def calibrate(
    model: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    limit: int | None = None,
    start: int = 0,
    image_folder: str | Path | None = None,
    shard: str | tuple[int, int] | None = None,
    resume: bool = False,
    max_broken: float = MOST_BROKEN,
    batch: int = BATCH,
    workers: int = 0,
    ray: str | None = None,
    corruptions: Sequence[int] = (),
    frost: str | Path | None = None,
    report: str | Path | None = None,
    format: str | None = None,
    revision: str | None = None,
    grid: str | tuple[int, int] | None = None,
    image_size: str | tuple[int, int] | None = None,
    max_tokens: int | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
    progress: Progress = silent,
) -> CalibrationRecord:
    """Measure erank, attention entropy and cosine distances of every image, a few in memory at a time.

    The same model, images, batch and threads on the same kind of machine give the same record, to the last bit, in one
    go, in shards, or resumed.

    Args:
        model: folder, hub id or embedded name; or an artefact, which is run without torch.
        images: a folder of pictures, of tar files or of Parquet files, one such file, a JSON list that names pictures,
            `hub:OWNER/NAME`, or a benchmark, whose calibration split is read.
        out: the record to write (JSON); the numbers of every view go beside it, into NAME.columns.npz. Of a shard, the
            folder of all shards.
        limit: number of images, spread over all that there are, or None for all.
        start: how many images to pass over first.
        image_folder: what the paths in a JSON list are relative to; None for the folder that it lies in.
        shard: do part I of N only, "I/N" or two numbers; `merge` makes one record of all.
        resume: go on where an earlier run was interrupted.
        max_broken: share of the images that may be unreadable; they are passed over, counted and listed.
        batch: images that the model sees at a time. Part of what makes records equal to the last bit.
        workers: processes that decode pictures; 0 for a thread.
        ray: share the work out on a Ray cluster: "local", "auto" or its address. The model, the images and this package
            must be found on every machine under the same names.
        corruptions: also measure every image under the fifteen common corruptions at these severities, 1 to 5.
        frost: a folder of pictures of frost, for that one of them; without it fourteen are measured.
        report: write an HTML page into this folder.
        format: of an artefact; None for the first that runs here.
        revision: commit, branch or tag on the hub.
        grid: of a model of any resolution, what it is measured at: rows and columns of tokens, see `export`.
        image_size: the same by pictures.
        max_tokens: of such a model, most tokens of a picture.
        device: where it runs: "cpu" or "cuda".
        dtype: what the model computes with; measures are float32 at least.
        threads: CPU threads, or None for the runtime's choice.
        progress: hears of every step.

    Raises:
        VtpError: the model or the images cannot be used, too many images are broken, or the record cannot be written.
    """
    path_of("the model", model)
    part, out, page = _part(shard), path_of("the record", out), report_folder(report)
    out = out if part is None else shard_path(out, part)
    refuse_unwritable_file(out)
    if not 0 <= max_broken <= 1:
        raise SpecError(f"max_broken is {shown(max_broken)}; it must be a share, from 0 to 1")
    if ray is not None and part is not None:
        raise SpecError("Ray shares the work out by itself; leave shard out")
    change = corrupting(corruptions, frost) if corruptions else None
    order = Order(
        model=model,
        images=images,
        image_folder=image_folder,
        start=whole("start", start, 0),
        limit=None if limit is None else whole("limit", limit, 1),
        revision=revision,
        size=asked_size(grid, image_size, max_tokens),
        format=format,
        device=device,
        dtype=dtype,
        threads=threads,
        batch=whole("batch", batch, 1),
        workers=whole("workers", workers, 0),
        change=change or unchanged,
        corruptions=change.cases if change else (),
    )
    pictures, selection = chosen_pictures(images, order.start, order.limit, image_folder)
    refuse_overwriting([out, columns_beside(out)], _read(model, pictures, out))
    if part is not None and part[1] > block_count(selection, batch):
        raise SpecError(
            f"shard is {part[0]}/{part[1]}, and there are {block_count(selection, batch)} batches of {batch} images; "
            "make fewer shards"
        )
    if ray is not None:
        record, columns = _on_ray(ray, order, out, max_broken, resume, progress)
    calibration = None if ray is not None and page is None else opened(order, (pictures, selection), part, progress)
    if ray is None:
        assert calibration is not None
        record, columns = run(calibration.origin, calibration.blocks, out, max_broken, resume, progress)
    if page is not None:
        assert calibration is not None
        progress("writing the report")
        write_calibration(page, record, columns, ends(calibration, record, columns))
    return record


def _on_ray(
    address: str, order: Order, out: Path, max_broken: float, resume: bool, progress: Progress
) -> tuple[CalibrationRecord, Columns]:
    gpus = int(order.device == "cuda")
    progress(f"connecting to Ray at {address}")
    with cluster(address) as ray:
        origin = once(ray, functools.partial(origin_elsewhere, order), gpus)
        task = functools.partial(blocks_elsewhere, order)
        return run(origin, lambda rest: spread(ray, task, rest, gpus), out, max_broken, resume, progress)


def _part(shard: str | tuple[int, int] | None) -> tuple[int, int] | None:
    if shard is None:
        return None
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", shard) if isinstance(shard, str) else None
    number, shards = (int(found[1]), int(found[2])) if found else shard if isinstance(shard, tuple) else (0, 0)
    if not 1 <= number <= shards:
        raise SpecError(f"shard is {shown(shard)}; it must be I/N with I from 1 to N, as 2/4")
    return number, shards


def merge(
    folder: str | Path, out: str | Path, *, max_broken: float = MOST_BROKEN, report: str | Path | None = None
) -> CalibrationRecord:
    """Join the shards below a folder into the record that one run would have made.

    Raises:
        VtpError: a shard is missing, there twice, damaged or of another calibration; too many images are broken; or the
            record cannot be written.
    """
    folder, out, page = path_of("the folder of shards", folder), path_of("the record", out), report_folder(report)
    refuse_unwritable_file(out)
    record, columns = merged(folder)
    refuse_overwriting([out, columns_beside(out)], folder.rglob("*"))
    refuse_broken(record.broken, record.listed, record.selection, max_broken)
    write_record(out, record, columns)
    if page is not None:
        write_calibration(page, record, columns)
    return record


def _read(model: str | Path, pictures: Pictures, out: Path) -> Iterator[Path]:
    """The images, and the model's files; a record that lies among these may be written anew."""
    yield from pictures.paths
    if kind_of("the model", path_of("the model", model)) == "folder" and not _is_record(out):
        yield from Path(model).iterdir()


def _is_record(path: Path) -> bool:
    try:
        calibration_from_json(read_text(path, "the record"))
    except SpecError:
        return False
    return True
