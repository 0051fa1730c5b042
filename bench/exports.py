"""Processor seconds of exporting the embedded model, and nodes of its graphs: pruners, then formats and precisions.

python -m bench.exports [FOLDER]        FOLDER keeps the artefacts; default bench/out/exports
"""

import sys
import time
from pathlib import Path

import onnx
import torch

from vtp_export import export, rooms
from vtp_export.precision.policy import NAMES

GREEDIEST = ("prunesid", "vispruner", "dpp")
"""Those with the most and the largest rounds."""


def seconds(folder: Path, name: str, **options: object) -> tuple[float, Path]:
    """Of one export, on one thread; and where it is."""
    began, out = time.process_time(), folder / name
    export("tiny-llava", out, force=True, **options)  # type: ignore[arg-type]
    return time.process_time() - began, out


def nodes(out: Path) -> tuple[int, bool]:
    """How many, those inside of loops too, and whether there are loops."""

    def counted(graph: onnx.GraphProto) -> int:
        inside = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
        return len(graph.node) + sum(map(counted, inside))

    graph = onnx.load(out / "model.onnx").graph
    return counted(graph), any(node.op_type == "Loop" for node in graph.node)


def main() -> None:
    """Print Markdown."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "bench/out/exports")
    torch.set_num_threads(1)
    export("toy", folder / "toy", force=True)  # what is imported late is not counted
    print("| pruner | ONNX, s | nodes | loop-free, s | nodes |\n|---|---|---|---|---|")
    for name in rooms.names("pruners"):
        spent, out = seconds(folder, name, pruner=name)
        count, loops = nodes(out)
        row = [name, f"{spent:.1f}", str(count), "", ""]
        if loops:
            spent, out = seconds(folder, f"{name}-loop-free", pruner=name, loop_free=True)
            row[3:] = [f"{spent:.1f}", str(nodes(out)[0])]
        print(f"| {' | '.join(row)} |", flush=True)
    print("\n| pruner | TorchScript, s | .pt2, s | .pt2 loop-free, s |\n|---|---|---|---|")
    for name in GREEDIEST:
        spent_in = [
            seconds(folder, f"{name}-{kind}-{loop_free}", pruner=name, formats=(kind,), loop_free=loop_free)[0]
            for kind, loop_free in (("torchscript", False), ("pt2", False), ("pt2", True))
        ]
        print(f"| {name} | {' | '.join(f'{spent:.1f}' for spent in spent_in)} |", flush=True)
    print("\n| adaptive, ONNX | s |\n|---|---|")
    for precision in NAMES:
        print(f"| {precision} | {seconds(folder, precision, precision=precision)[0]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
