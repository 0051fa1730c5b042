"""What a calibration measures with and on: opened once in each process that takes part."""

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.arguments import kind_of, path_of
from vtp_export.benchmarks._pictures import Pictures, chosen_pictures
from vtp_export.calibration.artefacts import ArtefactEngine
from vtp_export.calibration.columns import Block
from vtp_export.calibration.decoding import Change, Decoder, unchanged
from vtp_export.calibration.measuring import Engine, measured, works_of
from vtp_export.calibration.records import Corruption, Origin
from vtp_export.calibrations import CalibrationRecord, Selection
from vtp_export.errors import SpecError
from vtp_export.json_records import as_unicode, digest_of
from vtp_export.models._sizes import AskedSize
from vtp_export.progress import Progress, silent
from vtp_export.runtime.artefact import GRIDS, MANIFEST
from vtp_export.runtime.front_end import PrunedArtefact, load
from vtp_export.runtime.images import note
from vtp_export.spec import Layout, Preprocessing

PRUNER, KEEP = "adaptive", f"{100 / 9}%"
"""What a report shows the kept tokens of: 64 of 576, the paper's middle budget."""

DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""What an artefact's precision is called in a record."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What was asked for; can be sent to another machine, where all paths must be the same. See `calibrate`.

    change, corruptions: what is measured of a picture besides the picture itself.
    """

    model: str | Path
    images: str | Path
    image_folder: str | Path | None
    start: int
    limit: int | None
    revision: str | None
    size: AskedSize | None
    format: str | None
    device: str
    dtype: str
    threads: int | None
    batch: int
    workers: int
    change: Change = unchanged
    corruptions: tuple[Corruption, ...] = ()


@dataclass(frozen=True)
class Keeper:
    """What shows the tokens that a pruner keeps: pixels (b, 3, h, w) to their positions, and where these are."""

    kept: Callable[[np.ndarray], list[np.ndarray]]
    layout: Layout


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """All that measures, opened.

    keeper: of a record, what a pruner that is set by it keeps; None where nothing is pruned.
    """

    order: Order
    engine: Engine
    decoder: Decoder
    keeper: Callable[[CalibrationRecord], Keeper | None]
    pictures: Pictures
    origin: Origin

    @property
    def selection(self) -> Selection:
        """Which pictures."""
        return self.origin.selection

    def blocks(self, numbers: Sequence[int]) -> Iterator[Block]:
        """Measure blocks."""
        works = works_of(self.pictures, self.selection, self.order.batch, numbers)
        return measured(self.engine, works, self.decoder, self.order.batch, self.order.workers)


@dataclass(frozen=True, kw_only=True)
class _Model:
    engine: Engine
    id: str
    weights_sha256: str
    dtype: str
    preprocessing: Preprocessing
    keeper: Callable[[CalibrationRecord], Keeper | None]


def is_artefact(model: str | Path) -> bool:
    """Whether a model is a folder that `export` wrote."""
    folder = path_of("the model", model)
    return kind_of("the model", folder) == "folder" and any((folder / one).is_file() for one in (MANIFEST, GRIDS))


def opened(
    order: Order, pictures: tuple[Pictures, Selection], shard: tuple[int, int] | None, progress: Progress = silent
) -> Calibration:
    """Open a model or an artefact.

    Args:
        order: what was asked for.
        pictures: see `chosen_pictures`.
        shard: which one, for the record.
        progress: hears of every step.

    Raises:
        VtpError: it cannot be opened, or cannot measure.
    """
    progress(f"opening {order.model}")
    model = _of_artefact(order) if is_artefact(order.model) else _eager(order)
    data, selection = pictures
    origin = Origin(
        model_id=model.id,
        weights_sha256=model.weights_sha256,
        preprocessing_sha256=digest_of(model.preprocessing),
        engine=model.engine.name,
        dtype=model.dtype,
        data=as_unicode(str(order.images)),
        selection=selection,
        batch=order.batch,
        shard=shard,
        measures=model.engine.measures,
        corruptions=order.corruptions,
    )
    if order.corruptions and "erank" not in model.engine.measures:
        raise SpecError(f"corruptions are judged by erank, which '{order.model}' does not tell")
    decoder = Decoder(model.preprocessing, order.change)
    return Calibration(
        order=order, engine=model.engine, decoder=decoder, keeper=model.keeper, pictures=data, origin=origin
    )


def _eager(order: Order) -> _Model:
    # Only here, so that an artefact is measured without torch.
    from vtp_export.functional.devices import prepare
    from vtp_export.graphs.assembly import assemble, load_model
    from vtp_export.graphs.complexity import SIGNALS, EagerEngine
    from vtp_export.graphs.eager import EagerSession
    from vtp_export.precision.lowering import loaded_in

    if order.format is not None:
        raise SpecError(f"format is '{order.format}', and '{order.model}' is no artefact, which alone has formats")
    prepare(order.device, order.threads)
    loaded = loaded_in(load_model(order.model, SIGNALS, order.revision, order.size), order.dtype)
    for sentence in loaded.notes:
        note(sentence)
    session = EagerSession(assemble(loaded, "none", {}).graph, order.device)

    def keeper(record: CalibrationRecord) -> Keeper:
        assembly = assemble(loaded, PRUNER, {"keep": KEEP}, record)
        pruning = EagerSession(assembly.graph, order.device)
        return Keeper(lambda pixels: [one.kept for one in pruning(pixels)], assembly.layout)

    return _Model(
        engine=EagerEngine(session),
        id=loaded.core.id,
        weights_sha256=loaded.core.weights_sha256,
        dtype=order.dtype,
        preprocessing=loaded.preprocessing,
        keeper=keeper,
    )


def _of_artefact(order: Order) -> _Model:
    folder = path_of("the model", order.model)
    if (folder / GRIDS).is_file():
        raise SpecError(f"'{folder}' holds an artefact of each grid; name one of them, or the model with --grid")
    if order.dtype != "float32" or order.size is not None or order.revision is not None:
        raise SpecError(
            f"'{folder}' is an artefact, whose precision and size are settled; leave --dtype, --grid, --image-size, "
            "--max-tokens and --revision out"
        )
    how = {"device": None if order.device == "cpu" else order.device, "threads": order.threads}
    front_end = _with_signals(folder, order.format, how)
    engine, record = ArtefactEngine(front_end), front_end.manifest
    keeper = Keeper(lambda pixels: [one.kept for one in front_end.run_padded(pixels)], record.layout)
    for sentence in (*front_end.notes, *filter(None, [engine.missing()])):
        note(sentence)
    return _Model(
        engine=engine,
        id=record.model.id,
        weights_sha256=record.model.weights_sha256,
        dtype=DTYPES.get(record.precision.name, record.precision.name),
        preprocessing=record.preprocessing,
        keeper=lambda _: None if record.pruner.name == "none" else keeper,
    )


def _with_signals(folder: Path, fmt: str | None, how: Mapping[str, Any]) -> PrunedArtefact:
    front_end = load(folder, fmt, **how)
    if not front_end.manifest.signals:
        return front_end
    fmt = front_end.format
    front_end.close()
    return load(folder, fmt, **how, signals=True)


def blocks_elsewhere(order: Order, numbers: Sequence[int]) -> list[Block]:
    """Measure blocks in a process that may be asked again: what it opens stays open."""
    return list(_kept_open(order, os.getpid()).blocks(numbers))


def origin_elsewhere(order: Order) -> Origin:
    """What blocks are measured from there."""
    return _kept_open(order, os.getpid()).origin


@functools.lru_cache(maxsize=1)
def _kept_open(order: Order, process: int) -> Calibration:
    pictures = chosen_pictures(order.images, order.start, order.limit, order.image_folder)
    return opened(order, pictures, None)
