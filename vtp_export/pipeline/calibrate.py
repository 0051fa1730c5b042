"""`vtp-export calibrate`: how complex are a data set's images, as this model sees them?"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL.Image import Image

from vtp_export.arguments import kind_of, path_of
from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.benchmarks.base import Benchmark
from vtp_export.calibration.distribution import correlation, distribution
from vtp_export.calibration.journal import Journal, Measured
from vtp_export.calibrations import CalibrationRecord, calibration_from_json
from vtp_export.errors import SpecError
from vtp_export.functional.devices import prepare
from vtp_export.graphs.assembly import assemble, load_model
from vtp_export.graphs.complexity import SIGNALS, complexities
from vtp_export.graphs.eager import EagerSession
from vtp_export.json_records import as_unicode, read_text, to_json
from vtp_export.models._sizes import asked_size
from vtp_export.models.base import LoadedModel
from vtp_export.precision.lowering import loaded_in
from vtp_export.progress import Progress, silent
from vtp_export.runtime.images import batched, note
from vtp_export.runtime.output import naming
from vtp_export.runtime.preprocess import named_views, values_of
from vtp_export.runtime.versions import built_by
from vtp_export.runtime.writing import refuse_overwriting, refuse_unwritable_file, write_atomically
from vtp_export.spec import Preprocessing

BATCH = 4


def calibrate(
    model: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    limit: int | None = None,
    revision: str | None = None,
    grid: str | tuple[int, int] | None = None,
    image_size: str | tuple[int, int] | None = None,
    max_tokens: int | None = None,
    resume: bool = False,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
    progress: Progress = silent,
) -> CalibrationRecord:
    """Measure erank and attention entropy of every image, one batch in memory at a time.

    Args:
        model: folder, hub id or embedded name.
        images: a folder, or a benchmark, whose calibration split is read.
        out: the record to write (JSON).
        limit: number of images, spread over all that there are, or None for all.
        revision: commit, branch or tag on the hub.
        grid: of a model of any resolution, what it is measured at: rows and columns of tokens, see `export`.
        image_size: the same by pictures.
        max_tokens: of such a model, most tokens of a picture.
        resume: go on where an earlier run was interrupted.
        device: where torch runs the model: "cpu" or "cuda".
        dtype: what the model computes with; both measures are float32 at least.
        threads: CPU threads, or None for torch's choice.
        progress: hears of every step.

    Raises:
        VtpError: the model or the images cannot be used, or the record cannot be written.
    """
    prepare(device, threads)
    out, data = path_of("the record", out), as_unicode(str(images))
    refuse_unwritable_file(out)
    benchmark, size = benchmark_of(images).calibration(), asked_size(grid, image_size, max_tokens)
    refuse_overwriting([out], _read(model, images, benchmark, out))
    progress(f"loading the front end of {model}")
    loaded = loaded_in(load_model(model, SIGNALS, revision, size), dtype)
    for sentence in loaded.notes:
        note(sentence)
    session = EagerSession(assemble(loaded, "none", {}).graph, device)
    head = {"model": loaded.core.weights_sha256, "images": data, "limit": limit, "dtype": dtype}
    journal = Journal(out, head, resume, Measured)
    finished = False
    try:
        _measure(session, loaded.preprocessing, benchmark, limit, journal, progress)
        record = _record(loaded, data, journal.done, dtype)
        write_atomically(out, to_json(record))
        finished = True
    finally:
        if journal.done and not finished:
            progress(f"{len(journal.done)} images are measured; --resume goes on from there")
        # Nothing measured: nothing worth resuming.
        journal.close(finished or not journal.done)
    return record


def _read(model: str | Path, images: str | Path, benchmark: Benchmark, out: Path) -> Iterator[Path]:
    """The images, and the model's files; a record that lies among these may be written anew."""
    yield from (Path(images) / example.name for example in benchmark.examples(None))
    if kind_of("the model", path_of("the model", model)) == "folder" and not _is_record(out):
        yield from Path(model).iterdir()


def _is_record(path: Path) -> bool:
    try:
        calibration_from_json(read_text(path, "the record"))
    except SpecError:
        return False
    return True


def _measure(
    session: EagerSession,
    preprocessing: Preprocessing,
    benchmark: Benchmark,
    limit: int | None,
    journal: Journal[Measured],
    progress: Progress,
) -> None:
    known = {measured.name for measured in journal.done}
    examples, _ = benchmark.spread(limit)

    def pictures() -> Iterator[tuple[str, Image]]:
        for number, example in enumerate(examples):
            progress("measuring", number, len(examples))
            if example.name not in known:
                yield example.name, example.open()

    fresh = ((name, view) for name, view in named_views(pictures(), preprocessing) if name not in known)
    for batch in batched(fresh, BATCH):
        names = [name for name, _ in batch]
        pixels = values_of(np.stack([view for _, view in batch]), preprocessing)
        with naming(names):
            numbers = complexities(session, pixels)
        digests = (hashlib.sha256(view.tobytes()).hexdigest() for view in pixels)
        journal.add(
            [
                Measured(name=name, digest=digest, **vars(values))
                for name, digest, values in zip(names, digests, numbers, strict=True)
            ]
        )


def _record(model: LoadedModel, data: str, measured: list[Measured], dtype: str) -> CalibrationRecord:
    if not measured:
        raise SpecError(f"'{data}' holds no images; at least one is needed")
    measured = sorted(measured, key=lambda one: one.name)
    total = hashlib.sha256("".join(f"{one.name} {one.digest}\n" for one in measured).encode())
    eranks, entropies = [one.erank for one in measured], [one.attention_entropy for one in measured]
    return CalibrationRecord(
        model_id=model.core.id,
        weights_sha256=model.core.weights_sha256,
        data=data,
        images=len(measured),
        data_sha256=total.hexdigest(),
        erank=distribution(eranks),
        erank_uncentred=distribution([one.erank_uncentred for one in measured]),
        attention_entropy=distribution(entropies),
        correlation=correlation(eranks, entropies),
        dtype=dtype,
        versions=built_by(),
    )
