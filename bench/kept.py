"""What a precision does to the kept sets of every pruner: mean Jaccard against float32, on the embedded model.

python -m bench.kept [IMAGES]        default 48; about ten minutes

Eager graphs in the precision (twins of what an artefact computes), 64 of 576 tokens, batches of four. For int8 no
block, and two of the three blocks, are in float32.
"""

import sys
from collections.abc import Iterable

import numpy as np

from bench.frontend import table
from vtp_export import rooms
from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.benchmarks.base import Example
from vtp_export.graphs.assembly import assemble, calibration_for, load_model, needs_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.parity.gates import jaccard
from vtp_export.precision.lowering import lowered, weighted_layers
from vtp_export.precision.ranges import measured
from vtp_export.runtime.images import batched
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.spec import PrecisionRecord

MODEL, KEEP = "tiny-llava", 64


def wide(graph: PrunedFrontend, blocks: int) -> tuple[str, ...]:
    """Layers of the first blocks."""
    inside = tuple(f"frontend.{path}." for path in graph.frontend.blocks[:blocks])
    return tuple(name for name in weighted_layers(graph) if name.startswith(inside)) if blocks else ()


def kept(graph: PrunedFrontend, batches: list[np.ndarray]) -> list[np.ndarray]:
    """Of each image."""
    eager = EagerSession(graph)
    return [result.kept for pixels in batches for result in eager(pixels)]


def main() -> None:
    """One table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 48
    pruners = [name for name in rooms.names("pruners") if name not in ("none", "random")]
    needs = frozenset().union(*(needs_of(pruner, {"keep": KEEP}) for pruner in pruners))
    model, benchmark = load_model(MODEL, needs), benchmark_of("shapes")

    def batches_of(examples: Iterable[Example]) -> list[np.ndarray]:
        return [pixel_values((e.open() for e in batch), model.preprocessing) for batch in batched(examples, 4)]

    shown, for_ranges = batches_of(benchmark.examples(count)), batches_of(benchmark.calibration().examples(16))
    rows = []
    for pruner in pruners:
        graph = assemble(model, pruner, {"keep": KEEP}, calibration_for(model, None, pruner, {"keep": KEEP})[0]).graph
        ranges, expected = measured(graph, for_ranges), kept(graph, shown)
        records = [PrecisionRecord(name="fp16"), PrecisionRecord(name="bf16")]
        records += [
            PrecisionRecord(name="int8", activations=form, float32_layers=wide(graph, blocks))
            for form in ("dynamic", "static")
            for blocks in (0, 2)
        ]
        scores = []
        for record in records:
            found = kept(lowered(graph, record, ranges), shown)
            scores.append(f"{np.mean([jaccard(*pair) for pair in zip(expected, found, strict=True)]):.3f}")
        rows.append((pruner, *scores))
        print(rows[-1], file=sys.stderr, flush=True)
    columns = "pruner", "fp16", "bf16", "int8 dynamic, 0", "int8 dynamic, 2", "int8 static, 0", "int8 static, 2"
    table(f"Mean Jaccard of the kept sets, {KEEP} of 576 tokens, {count} scenes", columns, rows)


if __name__ == "__main__":
    main()
