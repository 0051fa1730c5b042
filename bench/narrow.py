"""What of int8 costs what, in the eager graph: how wide a block, what stays in float32, and why not four bits.

python -m bench.narrow [FOLDER]        FOLDER is DINOv2-small, made if it is not there; five minutes

`adaptive` on the 18 default photographs, held against the float32 graph: DINOv2-small with 64 of 256 tokens, calibrated
on the same photographs, and of `tiny-llava`, 64 of 576 tokens, the projector's weights alone.
"""

import copy
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bench import dinov2
from bench.frontend import table
from vtp_export.graphs.assembly import assemble, calibration_for, load_model, needs_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.parity.gates import GATES
from vtp_export.pipeline.calibrate import calibrate
from vtp_export.precision.images import range_images
from vtp_export.precision.lowering import lowered
from vtp_export.precision.planning import NAMED, float32_layers, named_plans
from vtp_export.precision.search import Trials, shares
from vtp_export.spec import PrecisionRecord

PRUNER, IMAGES, BLOCKS = "adaptive", 18, (32, 128)
SETTINGS = {"keep": 64}
FORMS = [(bits, block) for bits in (8, 4) for block in (16, 32, 128)]


def plans(model: Path) -> None:
    """Blocks and plans by name, on the trained tower."""
    loaded = load_model(f"{model}/", needs_of(PRUNER, SETTINGS))
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "calibration.json"
        calibrate(model, "photos", record)
        calibration, _ = calibration_for(loaded, record, PRUNER, SETTINGS)
    graph = assemble(loaded, PRUNER, SETTINGS, calibration).graph
    images = range_images("photos", IMAGES, loaded.preprocessing)
    trials = Trials(graph, images, GATES["int8"], "cpu")

    def complexities(session: EagerSession) -> np.ndarray:
        measured = [result.erank for pixels in images.batches() for result in session(pixels)]
        return np.array(measured, dtype=np.float64)

    exact, rows = complexities(EagerSession(graph)), []
    for block in BLOCKS:
        for name in NAMED:
            layers = float32_layers(named_plans(graph)[name], graph)
            form = PrecisionRecord(name="int8", activations="blocks", block=block, float32_layers=layers)
            session = EagerSession(lowered(graph, form))
            compared = trials.of(session).comparison
            errors = np.abs(complexities(session) / exact - 1)
            worth = [text for one in compared.worth for text in (f"{one.mean:.3f} ({one.worst:.3f})",)]
            rows.append((block, name, len(layers), compared.jaccard_mean, *worth, errors.mean(), errors.max()))
    columns = ("block", "plan", "layers in float32", "Jaccard", "mass", "coverage", "erank off, mean", "largest")
    table("int8 on DINOv2-small", columns, rows)


def rounded(weight: torch.Tensor, bits: int, block: int) -> torch.Tensor:
    """Weights (out, in) on a symmetric grid, a scale for each block of neighbouring input channels."""
    steps, count = 2 ** (bits - 1) - 1, -(-weight.shape[1] // block)
    split = nn.functional.pad(weight, (0, count * block - weight.shape[1])).unflatten(1, (count, block))
    step = split.abs().amax(2, keepdim=True).clamp(min=1e-12) / steps
    result: torch.Tensor = ((split / step).round() * step).flatten(1)[:, : weight.shape[1]].contiguous()
    return result


def with_rounded_projector(graph: PrunedFrontend, bits: int, block: int) -> EagerSession:
    """The graph, its projector's weights rounded, all else in float32."""
    other = copy.deepcopy(graph)
    for module in other.get_submodule("frontend.projector").modules():
        if isinstance(module, nn.Linear):
            module.weight.data = rounded(module.weight.data, bits, block)
    return EagerSession(other)


def bits() -> None:
    """Eight and four bits in the projector."""
    model = load_model("tiny-llava", needs_of(PRUNER, SETTINGS))
    graph = assemble(model, PRUNER, SETTINGS).graph
    trials = Trials(graph, range_images("photos", IMAGES, model.preprocessing), GATES["int8"], "cpu")
    rows: list[tuple[object, ...]] = []
    for width, block in FORMS:
        compared = trials.of(with_rounded_projector(graph, width, block)).comparison
        used, values = shares(compared), compared.values
        assert values is not None
        nearest = max(used, key=lambda gate: used[gate])
        numbers = compared.jaccard_mean, values.cosine_min, values.relative_error
        rows.append((width, block, *numbers, nearest, used[nearest]))
    columns = ("bits", "block", "Jaccard", "least cosine", "error", "nearest gate", "share of it")
    table("The projector's weights alone", columns, rows)


def main() -> None:
    """Two tables."""
    model = Path(sys.argv[1] if len(sys.argv) > 1 else "bench/out/dinov2-small")
    if not (model / "config.json").is_file():
        dinov2.write_folder(model)
    plans(model)
    bits()


if __name__ == "__main__":
    main()
