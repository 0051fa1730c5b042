"""OpenVINO and ONNX Runtime side by side at full size, in every precision, pruned and unpruned, proved and then timed.

    python -m bench.runtimes [FOLDER [PRECISION ...]]        FOLDER keeps the checkpoint and the artefacts; default
        bench/out. A precision is named as in the table; default all.

Weights are random, of the geometry of LLaVA-1.5-7B. int8 has no block in float32. Half an hour, and 15 GB of disk.
"""

import dataclasses
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from bench.checkpoint import TEXT_WIDTH, write_checkpoint
from bench.frontend import table
from bench.measure import in_process, in_turns
from vtp_export import export
from vtp_export.pipeline.check import check
from vtp_export.precision.policy import Precision
from vtp_export.precision_plans import PrecisionPlan
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.front_end import load

K = 64
ROUNDS = 5
PICTURES = 4
PRUNERS = ("none", "adaptive")
BOTH = ("onnx", "openvino")
INT8 = Precision(name="int8", limit=PICTURES, plan=PrecisionPlan())
PRECISIONS: dict[str, tuple[Precision, tuple[str, ...]]] = {
    "fp32": (Precision(), BOTH),
    "fp16": (Precision(name="fp16", limit=PICTURES), BOTH),
    "bf16": (Precision(name="bf16"), ("openvino",)),  # ONNX Runtime has no such products on a CPU
    "int8, blocks of 32": (INT8, BOTH),
    "int8, blocks of 128": (dataclasses.replace(INT8, block=128), BOTH),
    "int8, static": (dataclasses.replace(INT8, activations="static"), BOTH),
}
"""How, and where."""

Place = tuple[str, str]
"""A folder, and a format of it."""

FIRST_RUN = """
import numpy as np
from vtp_export.runtime.front_end import load
with load({folder!r}, {fmt!r}) as artefact:
    artefact.run(np.zeros((1, 3, 336, 336), dtype=np.float32))
"""


def exported(model: Path, folder: Path, precision: str, pruner: str) -> Path:
    """The artefact, in the formats that can run it, if it is not there."""
    how, formats = PRECISIONS[precision]
    out = folder / "-".join(("runtimes", pruner, *precision.replace(",", "").split()))
    if not (out / "manifest.json").is_file():
        settings = {"keep": K} if pruner != "none" else {}
        batch = (1, 1, PICTURES)
        report = export(
            model,
            out,
            pruner=pruner,
            settings=settings,
            precision=how,
            formats=formats,
            batch=batch,
            golden=PICTURES,
        )
        print(out, f"{report.total_seconds:.0f} s", *report.notes, sep="; ", file=sys.stderr, flush=True)
    return out


def proved(folder: str, fmt: str) -> tuple[object, ...]:
    """What `check` says: same tokens, explained or not, worth of the rest on average, largest error, verdict."""
    report = check(folder, formats=[fmt], threads=1)
    (found,) = report.comparisons
    explained = sum(difference.witness is not None for difference in found.differences)
    error = None if found.values is None else found.values.relative_error
    worth = ", ".join(f"{one.name} {one.mean:.3f}" for one in found.worth) or "-"
    verdict = "passed" if report.passed else "FAILED"
    told = (
        f"{found.identical} of {found.images}",
        explained,
        len(found.differences) - explained,
        worth,
        found.erank_error,
        error,
        verdict,
    )
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
    """One table."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "bench/out")
    model = out / "llava-geometry"
    if not (model / "config.json").is_file():
        write_checkpoint(model, TEXT_WIDTH)
    usual = [(str(exported(model, out, "fp32", pruner)), "onnx") for pruner in PRUNERS]
    rows: list[tuple[object, ...]] = []
    for precision in sys.argv[2:] or PRECISIONS:  # all at once would take 15 GB
        _, formats = PRECISIONS[precision]
        of = {str(exported(model, out, precision, pruner)): pruner for pruner in PRUNERS}
        places = [(folder, fmt) for fmt in formats for folder in of]
        proofs = {place: proved(*place) for place in places}
        spent = timed([*places, *(place for place in usual if place not in places)])
        for folder, fmt in places:
            size = sum(build.size for build in open_artefact(folder).builds(fmt)) / 1e9
            peak = in_process(FIRST_RUN.format(folder=folder, fmt=fmt))[2] / 1e9
            ms, twin = spent[folder, fmt], next(iter(of))
            ratios = ms / spent[usual[list(of).index(folder)]], ms / spent[twin, fmt]
            rows.append((fmt, precision, of[folder], size, peak, ms, *ratios, *proofs[folder, fmt]))
            print(*rows[-1], sep="; ", file=sys.stderr, flush=True)
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
        "as good",
        "erank error",
        "largest error",
        "check",
    )
    table(f"LLaVA-1.5-7B's front end, K = {K}, batch 1, one thread", columns, rows)


if __name__ == "__main__":
    main()
