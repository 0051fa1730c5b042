"""Precisions of the full-size front end in one run: file size, latency on the CPU, and what validation measures.

python -m bench.precision [FOLDER]        FOLDER keeps the checkpoint and the artefacts; default bench/out; 20 minutes

Weights are random, of the geometry of LLaVA-1.5-7B: their attention is flat, so that many decisions of a pruner are
near-ties; read the kept sets with that in mind. bf16 has no row, because ONNX Runtime has no such products on a CPU.
"""

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np

from bench.checkpoint import write_checkpoint
from bench.frontend import table
from bench.measure import in_turns
from vtp_export.pipeline.export import export
from vtp_export.pipeline.validate import validate
from vtp_export.precision.policy import Precision
from vtp_export.precision_plans import PrecisionPlan
from vtp_export.runtime.front_end import load

K = 64
ROUNDS = 7
IMAGES = 4
PRECISIONS = {
    "fp32": Precision(),
    "fp16": Precision(name="fp16", limit=IMAGES),
    "int8, blocks of 32": Precision(name="int8", limit=IMAGES, plan=PrecisionPlan()),
    "int8, blocks of 128": Precision(name="int8", block=128, limit=IMAGES, plan=PrecisionPlan()),
    "int8, static": Precision(name="int8", activations="static", limit=IMAGES, plan=PrecisionPlan()),
}


def main() -> None:
    """Two tables."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "bench/out")
    model = out / "llava-geometry"
    if not (model / "config.json").is_file():
        write_checkpoint(model)
    folders = {name: out / name.replace(", ", "-").replace(" ", "-") for name in PRECISIONS}
    sizes = {}
    for name, precision in PRECISIONS.items():
        report = export(model, folders[name], keep=K, force=True, precision=precision)
        sizes[name] = report.manifest.builds[0].size
        print(name, f"{report.total_seconds:.0f} s", *report.notes, sep="; ", file=sys.stderr, flush=True)
    pixels = np.random.default_rng(0).standard_normal((1, 3, 336, 336), dtype=np.float32)
    with ExitStack() as stack:
        calls = {name: partial(stack.enter_context(load(folder)).run, pixels) for name, folder in folders.items()}
        spent = in_turns(calls, ROUNDS)
    rows = [
        (name, sizes[name] / 1e9, sizes[name] / sizes["fp32"], spent[name], spent[name] / spent["fp32"])
        for name in PRECISIONS
    ]
    table(f"Precision, adaptive, K = {K}, batch 1", ("precision", "file GB", "ratio", "ms", "ratio"), rows)
    told = []
    for name, folder in folders.items():
        found = validate(folder, limit=IMAGES).comparisons[1]
        assert found.values is not None
        lengths = f"{found.values.norm_ratio_min:.4f} to {found.values.norm_ratio_max:.4f}"
        explained = sum(difference.witness is not None for difference in found.differences)
        scales = [difference.witness.scale for difference in found.differences if difference.witness is not None]
        kept = (
            f"{found.jaccard_mean:.3f}",
            f"{explained} of {len(found.differences)}",
            f"{max(scales, default=0.0):.2f}",
        )
        told.append((name, found.images, *kept, f"{found.values.cosine_min:.6f}", lengths, found.erank_error))
    columns = (
        "precision",
        "images",
        "Jaccard",
        "explained",
        "largest margin",
        "least cosine",
        "lengths",
        "erank error",
    )
    table("The same against the float32 graph", columns, told)


if __name__ == "__main__":
    main()
