"""What a GPU keeps, and what pruning costs there: every pruner in every precision, and the front end at full size.

python -m bench.gpu kept [FOLDER] [cuda|cpu]    the embedded model: golden records, judged in ONNX Runtime and torch
python -m bench.gpu full [FOLDER] [cuda|cpu]    LLaVA-1.5-7B's geometry, random weights: the same, and milliseconds

FOLDER keeps the artefacts, default bench/out/gpu; what it has is not exported again. On the CPU the embedded toy stands
for the full size, to see that the script works. int8 is static: ONNX Runtime has no dynamic products on a GPU.
"""

import json
import multiprocessing
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from bench.checkpoint import write_checkpoint
from bench.frontend import table
from bench.measure import in_turns
from vtp_export import VtpError, check, export, rooms
from vtp_export.functional.devices import prepare
from vtp_export.precision.policy import Precision
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.front_end import PrunedArtefact, load
from vtp_export.runtime.machine import cores

K = 64
ROUNDS, WARM_UP = 15, 3
BATCHES = (1, 8)
WORKERS = 12
NUMBERS = {
    "images": "images",
    "same_tokens_kept": "same tokens",
    "differences_explained": "explained",
    "differences_unexplained": "unexplained",
    "jaccard_mean": "Jaccard",
    "relative_error": "largest error",
    "erank_error": "erank error",
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """An artefact, and how it is exported."""

    model: str
    folder: Path
    pruner: str
    precision: Precision
    settings: Mapping[str, Any] = field(default_factory=dict)
    loop_free: bool = False
    golden: int = 8
    threads: int = 1


def embedded(out: Path) -> list[Job]:
    """Every pruner in every precision."""
    return [
        Job(model="tiny-llava", folder=out / name / pruner, pruner=pruner, precision=precision)
        for name, precision in (
            ("fp32", Precision()),
            ("fp16", Precision(name="fp16")),
            ("bf16", Precision(name="bf16")),
            ("int8", Precision(name="int8", activations="static")),
        )
        for pruner in rooms.names("pruners")
    ]


def full_size(out: Path, device: str) -> list[Job]:
    """The unpruned front end first, then pruned ones, in float32 and fp16."""
    model = out / "llava-geometry"
    if device == "cuda" and not (model / "config.json").is_file():
        write_checkpoint(model)
    pruned: dict[str, dict[str, Any]] = {
        "adaptive": {"pruner": "adaptive"},
        "adaptive, loop-free": {"pruner": "adaptive", "loop_free": True},
        "adaptive by entropy": {"pruner": "adaptive", "settings": {"complexity": "entropy"}},
        "fastervlm": {"pruner": "fastervlm"},
        "divprune": {"pruner": "divprune"},
    }
    jobs = []
    for precision, names in ((Precision(name="fp16", limit=2), [*pruned]), (Precision(), ["adaptive"])):
        for name in ("none", *names):
            job: dict[str, Any] = {"pruner": "none", **pruned.get(name, {})}
            job |= {"model": str(model) if device == "cuda" else "toy", "precision": precision}
            jobs.append(Job(folder=out / f"full-{precision.name}" / name, golden=4, threads=2, **job))
    return jobs


def exported(job: Job) -> None:
    """Unless it is there."""
    if (job.folder / "manifest.json").is_file():
        return
    export(
        job.model,
        job.folder,
        pruner=job.pruner,
        keep=None if job.pruner == "none" else K if job.model != "toy" else 8,
        settings=job.settings,
        formats=("onnx",) if job.precision.name == "int8" else ("onnx", "torchscript"),
        precision=job.precision,
        loop_free=job.loop_free,
        golden=job.golden,
        threads=job.threads,
        force=True,
    )


def judged(job: Job, device: str) -> list[tuple[object, ...]]:
    """A row for each format, after the export; the whole report is kept beside the artefact."""
    what, nothing = f"{job.folder.name}, {job.precision.name}", ["-"] * len(NUMBERS)
    try:
        exported(job)
    except VtpError as error:
        return [(what, "-", *nothing, str(error))]
    rows: list[tuple[object, ...]] = []
    for fmt in open_artefact(job.folder).manifest.formats():
        try:
            report = check(job.folder, formats=[fmt], device=device, threads=1)
        except VtpError as error:
            rows.append((what, fmt, *nothing, str(error)))
            continue
        record = json.dumps(report.as_dict(), default=str)
        job.folder.with_name(f"{job.folder.name}.{fmt}-{device}.json").write_text(record)
        numbers = report.comparisons[0].numbers
        shown = ("-" if numbers[key] is None else numbers[key] for key in NUMBERS)
        rows.append((what, fmt, *shown, "; ".join(report.failures) or "passed"))
    return rows


def proofs(jobs: list[Job], device: str) -> None:
    """Print one table; each artefact in a process, several at a time."""
    workers = min(WORKERS, cores())
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        rows = []
        for found in pool.map(partial(judged, device=device), jobs):
            rows += found
            print(*found, sep="\n", file=sys.stderr, flush=True)
    table(f"Golden records on {device}", ("what", "format", *NUMBERS.values(), "verdict"), rows)


def latencies(jobs: list[Job], device: str) -> None:
    """Print a table for each precision and format."""
    columns = [f"batch {batch}, {way}" for batch in BATCHES for way in ("on the device", "ratio", "NumPy", "ratio")]
    for precision in dict.fromkeys(job.precision for job in jobs):
        alike = [job for job in jobs if job.precision == precision]
        for fmt in ("onnx", "torchscript"):
            with ExitStack() as stack:
                opened = {job.folder.name: stack.enter_context(load(job.folder, fmt, device=device)) for job in alike}
                rows = milliseconds(opened, device)
            table(f"{fmt} on {device}, {precision.name}, ms", ("what", *columns), rows)


def milliseconds(opened: Mapping[str, PrunedArtefact], device: str) -> list[tuple[object, ...]]:
    """A row for each, all in turns: from the device to the device, from NumPy to NumPy, and ratios to the first."""
    rows: dict[str, list[object]] = {name: [name] for name in opened}
    for batch in BATCHES:
        size = next(iter(opened.values())).manifest.layout.image_size
        pixels = np.random.default_rng(0).standard_normal((batch, 3, *size), dtype=np.float32)
        there = torch.from_numpy(pixels).to(device)
        for calls in (
            {name: partial(one.run_device, there) for name, one in opened.items()},
            {name: partial(one.run, pixels) for name, one in opened.items()},
        ):
            spent = in_turns(calls, ROUNDS, WARM_UP)
            first = next(iter(spent.values()))
            for name, ms in spent.items():
                rows[name] += [ms, ms / first]
    return [tuple(row) for row in rows.values()]


def main() -> None:
    """Print Markdown."""
    what, out, device = [*sys.argv[1:], *("kept", "bench/out/gpu", "cuda")[len(sys.argv) - 1 :]]
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device here; 'python -m bench.gpu kept FOLDER cpu' tries the script")
    prepare(device)  # no TF32
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}")
    jobs = embedded(Path(out)) if what == "kept" else full_size(Path(out), device)
    proofs(jobs, device)
    if what == "full":
        latencies(jobs, device)


if __name__ == "__main__":
    main()
