"""OpenVINO and ONNX Runtime side by side at full size, fp32 and int8, pruned and unpruned, proved and then timed.

    python -m bench.runtimes [FOLDER]        FOLDER keeps the checkpoint and the artefacts; default bench/out

Weights are random, of the geometry of LLaVA-1.5-7B. int8 is static, the form that both run, with every block in it. Ten
minutes on two quiet cores, and 7 GB of disk; exit code 1 if a format fails its check.
"""

import sys
from pathlib import Path

from bench.checkpoint import TEXT_WIDTH, write_checkpoint
from bench.frontend import table
from bench.measure import in_process
from vtp_export import export
from vtp_export.pipeline.bench import bench
from vtp_export.pipeline.build import build
from vtp_export.precision.policy import Precision
from vtp_export.reports.bench import FormatCheck
from vtp_export.runtime.artefact import open_artefact

K = 64
ROUNDS = 7
PICTURES = 4
FORMATS = ("onnx", "openvino")
PRUNERS = ("none", "adaptive")
PRECISIONS = {
    "fp32": Precision(),
    "int8": Precision(name="int8", activations="static", limit=PICTURES, float32_blocks=0),
}

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


def proved(one: FormatCheck) -> tuple[str, int, int, float | None]:
    """Same tokens, differences that rounding explains and does not, and the largest error."""
    assert one.check is not None, one.obstacle
    (found,) = one.check.comparisons
    explained = sum(difference.witness is not None for difference in found.differences)
    error = None if found.values is None else found.values.relative_error
    return f"{found.identical} of {found.images}", explained, len(found.differences) - explained, error


def main() -> int:
    """One table."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "bench/out")
    model = out / "llava-geometry"
    if not (model / "config.json").is_file():
        write_checkpoint(model, TEXT_WIDTH)
    folders = exported(model, out)
    memory = {
        (folder, fmt): in_process(FIRST_RUN.format(folder=folder, fmt=fmt))[2] for folder in folders for fmt in FORMATS
    }
    report = bench([*folders], formats=FORMATS, rounds=ROUNDS, check=True)
    spent = {timing.name: timing.median_ms for timing in report.timings}
    checks = {one.name: one for one in report.formats}
    usual = {pruner: spent[f"{folder} onnx"] for folder, (pruner, precision) in folders.items() if precision == "fp32"}
    rows: list[tuple[object, ...]] = []
    for (folder, fmt), peak in memory.items():
        (pruner, precision), name = folders[folder], f"{folder} {fmt}"
        unpruned = spent[name.replace(pruner, "none")]
        sizes = checks[name].file_bytes / 1e9, peak / 1e9
        ratios = spent[name] / usual[pruner], spent[name] / unpruned
        rows.append((fmt, precision, pruner, *sizes, spent[name], *ratios, *proved(checks[name])))
    columns = (
        "format",
        "precision",
        "pruner",
        "file GB",
        "peak GB",
        "ms",
        "to ONNX Runtime in fp32",
        "to its unpruned twin",
        "same tokens",
        "explained",
        "unexplained",
        "largest error",
    )
    table(f"LLaVA-1.5-7B's front end, K = {K}, batch 1", columns, rows)
    print(*report.failures, sep="\n")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
