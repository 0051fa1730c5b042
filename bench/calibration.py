"""What calibration costs: memory against the number of pictures, processor time against that of the tower alone.

    python -m bench.calibration memory      1,000 and 20,000 pictures from Parquet; a model that measures nothing
    python -m bench.calibration overhead    LLaVA-1.5's geometry, random weights: tower alone and everything else
    python -m bench.calibration decoding    pictures a second where decoding is all there is, by workers

Memory of the model is the same for any number of pictures, so that the first leaves it out: what could grow is the list
of pictures, the journal and the numbers. Processor seconds are told, and ratios of calls in turns, which other work on
the machine disturbs less than the clock.
"""

import io
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.checkpoint import write_checkpoint
from bench.measure import in_process, in_turns
from vtp_export.benchmarks.photos import Benchmark
from vtp_export.calibrations import MEASURES

COUNTS = (1_000, 20_000)
OUT = Path("bench/out/llava-geometry")
BATCH = 4

RUN = """
from bench.calibration import calibrated
calibrated({folder!r}, {count}, {workers})
"""


class Nothing:
    """An engine that measures nothing: numbers of the pixels' mean."""

    name = "nothing"
    measures: tuple[str, ...] = MEASURES

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """(b, 3, h, w) to (b, 6)."""
        return np.repeat(pixels.mean(axis=(1, 2, 3), dtype=np.float64)[:, None], len(MEASURES), axis=1)


def calibrated(folder: str, count: int, workers: int) -> None:
    """All of a calibration but the model."""
    from vtp_export.benchmarks._pictures import chosen_pictures
    from vtp_export.calibration.decoding import Decoder
    from vtp_export.calibration.measuring import measured, works_of
    from vtp_export.calibration.records import Origin
    from vtp_export.calibration.running import run
    from vtp_export.progress import silent
    from vtp_export.runtime.preprocess import clip_preprocessing

    pictures, selection = chosen_pictures(folder, limit=count)
    decoder, engine = Decoder(clip_preprocessing(336)), Nothing()
    origin = Origin(
        model_id="nothing",
        weights_sha256="",
        preprocessing_sha256="",
        engine=engine.name,
        dtype="float32",
        data=folder,
        selection=selection,
        batch=BATCH,
        shard=None,
        measures=engine.measures,
        corruptions=(),
    )

    def blocks(numbers: Sequence[int]):  # type: ignore[no-untyped-def]
        return measured(engine, works_of(pictures, selection, BATCH, numbers), decoder, BATCH, workers)

    run(origin, blocks, Path(folder).parent / f"{count}-{workers}.json", 0.0, False, silent)


def write_table(path: Path, count: int, size: tuple[int, int]) -> None:
    """Parquet of JPEGs, 18 photographs over and over, 100 a row group."""
    import pyarrow
    import pyarrow.parquet

    encoded = []
    for example in Benchmark().examples(None):
        file = io.BytesIO()
        example.open().convert("RGB").resize(size).save(file, "JPEG", quality=90)
        encoded.append(file.getvalue())
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pyarrow.schema([("image", pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())]))])
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for start in range(0, count, 100):
            rows = [
                {"bytes": encoded[i % len(encoded)], "path": f"{i}.jpg"} for i in range(start, min(start + 100, count))
            ]
            writer.write_table(pyarrow.table({"image": rows}, schema=schema))


def memory() -> None:
    """Peak memory of one process at either number of pictures."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "tables"
        write_table(folder / "train.parquet", max(COUNTS), (160, 120))
        peaks = []
        for count in COUNTS:
            _, processor, peak = in_process(RUN.format(folder=str(folder), count=count, workers=0))
            peaks.append(peak)
            each = 1e3 * processor / count
            print(f"{count} pictures: {peak / 1e6:.0f} MB, {processor:.0f} s of processor, {each:.2f} ms each")
        print(f"memory x {peaks[-1] / peaks[0]:.2f}")


def overhead() -> None:
    """Processor time of the tower alone, of the engine, and of pictures, of one batch."""
    from vtp_export.calibration.decoding import Decoder, Work
    from vtp_export.functional.devices import prepare
    from vtp_export.graphs.assembly import assemble, load_model
    from vtp_export.graphs.complexity import SIGNALS, EagerEngine
    from vtp_export.graphs.eager import EagerSession
    from vtp_export.runtime.preprocess import values_of

    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else OUT
    if not (folder / "config.json").is_file():
        write_checkpoint(folder)
    prepare("cpu", 1)
    loaded = load_model(str(folder), SIGNALS)
    engine = EagerEngine(EagerSession(assemble(loaded, "none", {}).graph))
    with tempfile.TemporaryDirectory() as place:
        write_table(Path(place) / "t" / "train.parquet", BATCH, (640, 480))
        from vtp_export.benchmarks._pictures import chosen_pictures

        pictures, _ = chosen_pictures(Path(place) / "t")
        work = Work(0, tuple(enumerate(pictures.at(range(BATCH)))))
        decoder = Decoder(loaded.preprocessing)
        views = np.stack([view.pixels for view in decoder(work).views])
        pixels = values_of(views, loaded.preprocessing)
        calls = {
            "tower": lambda: engine.session.encode(pixels, SIGNALS),
            "tower and measures": lambda: engine(pixels),
            "decoding": lambda: decoder(work),
            "pixel values": lambda: values_of(views, loaded.preprocessing),
        }
        spent = in_turns(calls, 3, clock=time.process_time)
    for name, milliseconds in spent.items():
        share = milliseconds / spent["tower"]
        print(f"{name}: {milliseconds / BATCH:.1f} ms of processor a picture, {share:.3f} of the tower's")
    total = spent["tower and measures"] + spent["decoding"] + spent["pixel values"]
    print(f"all of it: {total / spent['tower']:.3f} of the tower's")


def decoding() -> None:
    """Pictures a second without a model, in turns."""
    with tempfile.TemporaryDirectory() as place:
        folder, count = Path(place) / "tables", 600
        write_table(folder / "train.parquet", count, (640, 480))
        for _ in range(2):
            for workers in (0, 1, 2):
                code = RUN.format(folder=str(folder), count=count, workers=workers)
                seconds, processor, _ = in_process(code)
                print(f"{workers} workers: {count / seconds:.0f} pictures a second, {processor:.1f} s of processor")
                for made in Path(place).glob("*.json"):
                    made.unlink()


if __name__ == "__main__":
    {"memory": memory, "overhead": overhead, "decoding": decoding}[sys.argv[1]]()
