"""Does `validate` pass on what it must pass on? Whole models of small and of full size, in every format that runs here.

    python -m bench.validation [MODEL ...]        default: toy, tiny-llava, and LLaVA-1.5's geometry of 7B and 13B

Exported to ONNX, TorchScript and `.pt2` in float32, 64 tokens, and held against the reference on the default
photographs.
A quarter of an hour and 12 GB of disk at full size; exit code 1 if one of them fails.
"""

import sys
import time
from pathlib import Path

from bench.checkpoint import TEXT_WIDTH, TEXT_WIDTH_13B, write_checkpoint
from bench.frontend import table
from vtp_export import export, validate

OUT = Path("bench/out")
FORMATS = ("onnx", "torchscript", "pt2")
FULL_SIZE = {"7b-geometry": TEXT_WIDTH, "13b-geometry": TEXT_WIDTH_13B}


def model_of(name: str) -> str:
    """What `export` is to load: an embedded name, or a checkpoint that is made if it is not there."""
    if name not in FULL_SIZE:
        return name
    folder = OUT / f"llava-{FULL_SIZE[name]}"
    if not (folder / "config.json").is_file():
        write_checkpoint(folder, FULL_SIZE[name])
    return str(folder)


def main() -> int:
    """Print one row for each comparison."""
    rows: list[tuple[object, ...]] = []
    passed = True
    for name in sys.argv[1:] or ("toy", "tiny-llava", *FULL_SIZE):
        folder = OUT / f"validated-{name}"
        began = time.perf_counter()
        export(model_of(name), folder, settings={"keep": 64}, formats=FORMATS, force=True)
        exported = time.perf_counter()
        steps: dict[str, float] = {}

        def note(text: str, done: int = 0, total: int = 0, steps: dict[str, float] = steps) -> None:
            steps.setdefault(text, time.perf_counter())

        report = validate(folder, progress=note)
        ended = time.perf_counter()
        noise = steps["opening the artefact"] - steps["measuring the rounding noise"]
        for c in report.comparisons:
            erank = None if c.erank_error is None else f"{c.erank_error:.1e}"
            explained = len(c.differences)
            rows.append((name, c.name, f"{c.identical} of {c.images}", explained, erank, c.passed))
        seconds = f"export {exported - began:.0f} s, validate {ended - exported:.0f} s, of which noise {noise:.0f} s"
        rows.append((name, seconds, "", "", "", report.passed))
        passed = passed and report.passed
    table("Validation", ("model", "comparison", "same tokens", "differences", "erank error", "passed"), rows)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
