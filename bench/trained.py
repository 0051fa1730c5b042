"""What a precision does to every pruner on trained towers: DINOv2-small's real attention and spectra, and tiny-llava's.

python -m bench.trained [FOLDER [PRUNER ...]]        FOLDER is DINOv2-small, made if it is not there; ten minutes

The default photographs, a quarter of the tokens: 64 of 256 of DINOv2-small, 144 of 576 of tiny-llava. Each precision is
the eager graph in it, held against that in float32, which is held against the reference; in int8 (dynamic) no block is
in float32. A cell is the mean Jaccard index of the kept sets and the number of pictures of which they are the same.
Margin: where fp16 differs, how far the inputs of the reference have to be moved, as a share of what the measured noise
allows, until it decides likewise; the largest, and "?" beside it where no such movement was found for a picture.
"""

import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from bench import dinov2
from bench.frontend import table
from vtp_export import rooms
from vtp_export.benchmarks.base import Example
from vtp_export.benchmarks.photos import Benchmark
from vtp_export.errors import ModelError
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.assembly import assemble, calibration_for, load_model, needs_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.models.base import Frontend, LoadedModel
from vtp_export.parity.gates import GATES
from vtp_export.parity.judge import Start, judge_of, measured
from vtp_export.parity.noise import arithmetic_noise, deviation, signals_of
from vtp_export.parity.tally import Tally
from vtp_export.parity.verdict import Comparison
from vtp_export.parity.witness import Noise
from vtp_export.pipeline.calibrate import calibrate
from vtp_export.precision.lowering import lowered
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.spec import PrecisionRecord

SETTINGS = {"keep": "25%"}
PRECISIONS = {
    "fp16": PrecisionRecord(name="fp16"),
    "bf16": PrecisionRecord(name="bf16"),
    "int8": PrecisionRecord(name="int8", activations="dynamic"),
}


@dataclass(frozen=True)
class Tower:
    """A front end in a precision, and the signals, all that pruners ask for, that it makes of each picture."""

    frontend: Frontend
    tokens: dict[str, Tokens]


def towers(model: LoadedModel, needs: frozenset[str]) -> dict[str, Tower]:
    """By precision, "fp32" first: towers take their time, so that all pruners see the same run."""
    graph = assemble(model, "none", {}).graph
    fronts = {"fp32": graph.frontend} | {name: lowered(graph, one).frontend for name, one in PRECISIONS.items()}
    pictures = {one.name: torch.from_numpy(pixel_values(one.open(), model.preprocessing)) for one in _photos()}
    with torch.inference_mode():
        return {
            name: Tower(front, {picture: front.encode(pixels, needs) for picture, pixels in pictures.items()})
            for name, front in fronts.items()
        }


def _photos() -> list[Example]:
    return list(Benchmark().examples(None))


def compared(model: LoadedModel, pruner: str, calibration: Path | None, seen: dict[str, Tower]) -> list[Comparison]:
    """The graph against the reference, and each precision against the graph."""
    assembly = assemble(model, pruner, SETTINGS, calibration_for(model, calibration, pruner, SETTINGS)[0])
    method = assembly.graph.pruner.method
    judge = judge_of(assembly.pruner, chaotic=method.chaotic, merges=method.merges)
    sessions = {
        name: EagerSession(PrunedFrontend(tower.frontend, assembly.graph.pruner)) for name, tower in seen.items()
    }

    def read(name: str, picture: str) -> Tokens:
        every = seen[name].tokens[picture]
        return Tokens(every.hidden, **{signal: getattr(every, signal) for signal in method.needs - {"hidden"}})

    pictures = list(seen["fp32"].tokens)
    tallies = {"fp32": Tally(name=pruner, noise=arithmetic_noise(read("fp32", pictures[0])))}
    for name in PRECISIONS:
        rows = [deviation(read("fp32", picture), read(name, picture)) for picture in pictures]
        noise = Noise({signal: max(row.sizes[signal] for row in rows) for signal in rows[0].sizes})
        tallies[name] = Tally(name=pruner, noise=noise, gates=GATES[name])
    for picture in pictures:
        tokens = read("fp32", picture)
        wide, signals = sessions["fp32"], signals_of(tokens, 0, assembly.layout.candidates)
        case = judge.case(picture, signals, wide.finish(tokens)[0], partial(wide.mixed, tokens))
        judge.hold_graph(tallies["fp32"], case, wide.kept_in_float64(tokens) if method.chaotic else None)
        exact = judge.case(picture, signals, measured(case), case.rows)
        for name in PRECISIONS:
            narrow = read(name, picture)
            start = Start(signals_of(narrow, 0, assembly.layout.candidates), deviation(tokens, narrow))
            result = sessions[name].finish(narrow)[0]
            judge.hold_format(tallies[name], exact, result, partial(_given, start), search=name == "fp16")
    return [tally.done() for tally in tallies.values()]


def _given(start: Start) -> Start:
    return start


def row(pruner: str, comparisons: list[Comparison]) -> tuple[object, ...]:
    """Of the table."""
    differences = comparisons[1].differences
    scales = [difference.witness.scale for difference in differences if difference.witness is not None]
    margin = f"{max(scales):.2f}" if scales else ""
    margin += " ?" if len(scales) < len(differences) else ""
    agreements = [f"{one.jaccard_mean:.3f} ({one.identical})" for one in comparisons]
    errors = ["" if one.erank_error is None else f"{one.erank_error:.0e}" for one in comparisons]
    return pruner, *agreements[:2], margin, *agreements[2:], *errors


def rows_of(name: str, calibration: Path | None, pruners: list[str]) -> list[tuple[object, ...]]:
    """One for each pruner that the tower has what it takes for."""
    needs: dict[str, frozenset[str]] = {}
    for pruner in pruners:
        try:
            load_model(name, needs_of(pruner, SETTINGS))
            needs[pruner] = needs_of(pruner, SETTINGS)
        except ModelError as error:
            print(f"{pruner}: {error}", file=sys.stderr)
    model = load_model(name, frozenset().union(*needs.values()))
    seen = towers(model, frozenset().union(*needs.values()))
    rows = []
    for pruner in needs:
        rows.append(row(pruner, compared(model, pruner, calibration, seen)))
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def main() -> None:
    """A table for each model."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "bench/out/dinov2-small")
    pruners = sys.argv[2:] or [name for name in rooms.names("pruners") if name not in ("none", "random")]
    if not (folder / "config.json").is_file():
        dinov2.write_folder(folder)
    columns = ("pruner", "fp32", "fp16", "margin", "bf16", "int8", *(f"erank, {one}" for one in ("fp32", *PRECISIONS)))
    with tempfile.TemporaryDirectory() as place:
        record = Path(place) / "calibration.json"
        calibrate(folder, "photos", record)
        table(f"DINOv2-small, {len(_photos())} photographs", columns, rows_of(f"{folder}/", record, pruners))
    table("tiny-llava, the same", columns, rows_of("tiny-llava", None, pruners))


if __name__ == "__main__":
    main()
