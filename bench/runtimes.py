"""OpenVINO and ONNX Runtime side by side at full size, fp32 and int8, pruned and unpruned, proved and then timed.

    python -m bench.runtimes [FOLDER]        FOLDER keeps the checkpoint and the artefacts; default bench/out

Weights are random, of the geometry of LLaVA-1.5-7B. int8 is static, the form that both run, with every block in it. A
quarter of an hour, and 7 GB of disk.
"""

import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import openvino

from bench.checkpoint import TEXT_WIDTH, write_checkpoint
from bench.frontend import table
from bench.measure import in_process, in_turns
from vtp_export import export
from vtp_export.pipeline.build import build
from vtp_export.pipeline.check import check
from vtp_export.precision.policy import Precision
from vtp_export.precision_plans import PrecisionPlan
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.front_end import load

K = 64
ROUNDS = 5
PICTURES = 4
FORMATS = ("onnx", "openvino")
PRUNERS = ("none", "adaptive")
PRECISIONS = {
    "fp32": Precision(),
    "int8": Precision(name="int8", activations="static", limit=PICTURES, plan=PrecisionPlan()),
}

Place = tuple[str, str]
"""A folder, and a format of it."""

FIRST_RUN = """
import numpy as np
from vtp_export.runtime.front_end import load
with load({folder!r}, {fmt!r}) as artefact:
    artefact.run(np.zeros((1, 3, 336, 336), dtype=np.float32))
"""


def exported(model: Path, folder: Path) -> dict[str, tuple[str, str]]:
    """Both formats of every pruner and precision, as far as they are not there: folder to pruner and precision."""
    folders = {}
    for precision, how in PRECISIONS.items():
        for pruner in PRUNERS:
            out = folder / f"runtimes-{pruner}-{precision}"
            settings = {"keep": K} if pruner != "none" else {}
            if not (out / "manifest.json").is_file():
                batch = (1, 1, PICTURES)
                export(model, out, pruner=pruner, settings=settings, precision=how, batch=batch, golden=PICTURES)
            if "openvino" not in open_artefact(out).manifest.formats():
                build(out, format="openvino")
            folders[str(out)] = pruner, precision
    return folders


def counted(folder: Path) -> dict[str, float]:
    """Milliseconds of each kind of operation in a run on one thread, by OpenVINO's own counters."""
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1", "PERF_COUNT": "YES"}
    request = openvino.Core().compile_model(folder / "model.xml", "CPU", settings).create_infer_request()
    pixels = np.random.default_rng(0).standard_normal((1, 3, 336, 336), dtype=np.float32)
    runs: list[Counter[str]] = [Counter()]
    for done in range(1, ROUNDS + 2):
        request.infer([pixels])
        sums: Counter[str] = Counter()
        for node in request.profiling_info:  # the mean of all runs so far
            sums[node.node_type] += node.real_time.total_seconds() * 1e3 * done
        runs.append(sums)
    return {kind: statistics.median(b[kind] - a[kind] for a, b in pairwise(runs[1:])) for kind in runs[-1]}


def counters(folders: Mapping[str, tuple[str, str]]) -> None:
    """Where the milliseconds of pruning go."""
    unpruned, pruned = (counted(Path(folder)) for folder, (_, precision) in folders.items() if precision == "fp32")
    kinds = sorted({*unpruned, *pruned}, key=lambda kind: unpruned.get(kind, 0) - pruned.get(kind, 0))
    rows = [(kind, unpruned.get(kind, 0.0), pruned.get(kind, 0.0)) for kind in kinds]
    rows = [row for row in rows if max(row[1:]) >= 1]
    rows.append(("all", sum(unpruned.values()), sum(pruned.values())))
    table("OpenVINO's counters, fp32, one thread, ms", ("operation", *PRUNERS), rows)


def proved(folder: str, fmt: str) -> tuple[str, int, int, float | None]:
    """What `check` says: same tokens, differences that rounding explains and does not, and the largest error."""
    report = check(folder, formats=[fmt], threads=1)
    (found,) = report.comparisons
    explained = sum(difference.witness is not None for difference in found.differences)
    error = None if found.values is None else found.values.relative_error
    told = f"{found.identical} of {found.images}", explained, len(found.differences) - explained, error
    print(folder, fmt, *told, *report.failures, file=sys.stderr, sep="; ", flush=True)
    return told


def timed(places: Sequence[Place]) -> dict[Place, float]:
    """Milliseconds of the processor on one thread, in turns: what else runs on the machine disturbs them less."""
    pixels = np.random.default_rng(0).standard_normal((1, 3, 336, 336), dtype=np.float32)
    with ExitStack() as stack:
        calls = {
            f"{folder} {fmt}": partial(stack.enter_context(load(folder, fmt, threads=1)).run, pixels)
            for folder, fmt in places
        }
        spent = in_turns(calls, ROUNDS, clock=time.process_time)
    return {(folder, fmt): spent[f"{folder} {fmt}"] for folder, fmt in places}


def main() -> None:
    """Two tables."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "bench/out")
    model = out / "llava-geometry"
    if not (model / "config.json").is_file():
        write_checkpoint(model, TEXT_WIDTH)
    folders = exported(model, out)
    of = {what: folder for folder, what in folders.items()}
    usual = [(of[pruner, "fp32"], "onnx") for pruner in PRUNERS]
    rows: list[tuple[object, ...]] = []
    for precision in PRECISIONS:  # all eight at once would take 9 GB
        places = [(of[pruner, precision], fmt) for fmt in FORMATS for pruner in PRUNERS]
        proofs = {place: proved(*place) for place in places}
        spent = timed([*places, *(place for place in usual if place not in places)])
        for folder, fmt in places:
            pruner = folders[folder][0]
            size = sum(build.size for build in open_artefact(folder).builds(fmt)) / 1e9
            peak = in_process(FIRST_RUN.format(folder=folder, fmt=fmt))[2] / 1e9
            ms = spent[folder, fmt]
            ratios = ms / spent[of[pruner, "fp32"], "onnx"], ms / spent[of["none", precision], fmt]
            rows.append((fmt, precision, pruner, size, peak, ms, *ratios, *proofs[folder, fmt]))
    columns = (
        "format",
        "precision",
        "pruner",
        "file GB",
        "peak GB",
        "processor ms",
        "to ONNX Runtime in fp32",
        "to its unpruned twin",
        "same tokens",
        "explained",
        "unexplained",
        "largest error",
    )
    table(f"LLaVA-1.5-7B's front end, K = {K}, batch 1, one thread", columns, rows)
    counters(folders)


if __name__ == "__main__":
    main()
