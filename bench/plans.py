"""Plans of TensorRT for RTX, built without a GPU: every pruner with a loop operator and unrolled; and at full size.

python -m bench.plans [OUT]                 the embedded model, fp32; OUT keeps the artefacts, default bench/out/plans
python -m bench.plans CHECKPOINT [OUT]      `none` and `adaptive` of a LLaVA checkpoint, fp16, each in a process
"""

import sys
import time
from pathlib import Path

from bench.exports import nodes
from bench.frontend import table
from bench.measure import in_process
from vtp_export import export, rooms
from vtp_export.pipeline.build import build
from vtp_export.precision.policy import Precision

OUT = "bench/out/plans"
HALF = Precision(name="fp16", limit=2)
"""Which layers stay in float32 is found on few images: the time of a build does not hang on it."""

FORMAT = "tensorrt_rtx"
BUILD = "from vtp_export.pipeline.build import build; build({out!r}, format={fmt!r}, force=True)"


def built(out: Path) -> tuple[float, float, float]:
    """A build's processor seconds, and MB of the plan and of the ONNX file."""
    build(out, format=FORMAT, force=True)  # what is loaded late is not counted
    began = time.process_time()
    report = build(out, format=FORMAT, force=True)
    spent = time.process_time() - began
    return spent, report.build.files[report.build.main].bytes / 1e6, (out / "model.onnx").stat().st_size / 1e6


def small(folder: Path) -> None:
    """Every pruner of the embedded model."""
    rows: list[tuple[object, ...]] = []
    for name in rooms.names("pruners"):
        row: list[object] = [name]
        for loop_free in (False, True):
            out = folder / (f"{name}-unrolled" if loop_free else name)
            export("tiny-llava", out, pruner=name, loop_free=loop_free, golden=0, force=True)
            row += built(out)
            if not loop_free and not nodes(out)[1]:
                row += ["-"] * 3
                break
        rows.append(tuple(row))
        print(rows[-1], file=sys.stderr, flush=True)
    columns = "pruner", "loop, s", "plan MB", "ONNX MB", "unrolled, s", "plan MB", "ONNX MB"
    table("TensorRT for RTX, tiny-llava, fp32, processor seconds", columns, rows)


def full(checkpoint: str, folder: Path) -> None:
    """Two pruners of a checkpoint."""
    rows: list[tuple[object, ...]] = []
    for name, loop_free in (("none", False), ("adaptive", False), ("adaptive", True)):
        out = folder / f"full-{name}-{loop_free}"
        export(checkpoint, out, pruner=name, precision=HALF, loop_free=loop_free, golden=0, force=True)
        seconds, processor, peak = in_process(BUILD.format(out=str(out), fmt=FORMAT))
        sizes = [file.stat().st_size / 1e9 for file in (out / "model.rtx.plan", *out.glob("model.onnx*"))]
        label = f"{name}, unrolled" if loop_free else name
        rows.append((label, seconds, processor, peak / 1e9, sizes[0], sum(sizes[1:])))
    rows.append(("(imports alone)", *in_process("import vtp_export.pipeline.build")[:2], "", "", ""))
    table(f"TensorRT for RTX, {checkpoint}, fp16", ("build", "s", "processor s", "peak GB", "plan GB", "ONNX GB"), rows)


def main() -> None:
    """Print Markdown."""
    given = [*sys.argv[1:]]
    if given and (Path(given[0]) / "config.json").is_file():
        full(given[0], Path(given[1] if len(given) > 1 else OUT))
    else:
        small(Path(given[0] if given else OUT))


if __name__ == "__main__":
    main()
