"""What fp16, bf16 and int8 do to the towers of any resolution and of tiles: full width, four layers, random weights.

python -m bench.shallow [NAME ...]        names of `bench.towers`; default `NAMES`; 5 minutes

`fastervlm` keeps a quarter of the tokens of four photographs; held against the float32 graph by each precision's gates.
"""

import copy
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.frontend import table
from bench.towers import TOWERS, write_tower
from vtp_export.graphs.assembly import assemble, load_model, needs_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.models._sizes import asked_size
from vtp_export.parity.gates import GATES
from vtp_export.precision.images import range_images
from vtp_export.precision.policy import Precision, lower
from vtp_export.precision.search import Trials, shares

NAMES = (
    "qwen2.5-vl-7b",
    "qwen2-vl-7b",
    "qwen3-vl-4b",
    "qwen3.5",
    "smolvlm2-500m",
    "idefics3-8b",
    "internvl3-1b",
)
PRUNER, SETTINGS = "fastervlm", {"keep": "25%"}
IMAGES, LAYERS, PICTURE = 4, 4, "560x420"
PRECISIONS = (
    Precision(name="fp16", limit=IMAGES),
    Precision(name="bf16"),
    Precision(name="int8", limit=IMAGES, plan="narrow"),
)
SHALLOW = {
    "depth": LAYERS,
    "num_hidden_layers": LAYERS,
    "fullatt_block_indexes": [1, LAYERS - 1],
    "deepstack_visual_indexes": [0, 1, 2],
}


def shallow(name: str) -> dict[str, Any]:
    """The configuration with few layers."""
    config = copy.deepcopy(TOWERS[name])
    vision = config["vision_config"]
    vision.update({key: value for key, value in SHALLOW.items() if key in vision})
    return config


def measured(name: str) -> list[tuple[object, ...]]:
    """A row for each precision."""
    with tempfile.TemporaryDirectory() as folder:
        write_tower(Path(folder), shallow(name))
        size = asked_size(image_size=PICTURE) if name.startswith("qwen") else None
        model = load_model(f"{folder}/", needs_of(PRUNER, SETTINGS), size=size)
    graph = assemble(model, PRUNER, SETTINGS).graph
    rows: list[tuple[object, ...]] = []
    images = range_images("photos", IMAGES, model.preprocessing)
    for how in PRECISIONS:
        narrow = lower(graph, how, model.preprocessing)
        trials = Trials(graph, images, GATES[how.name], "cpu")
        compared = trials.of(EagerSession(narrow.graph)).comparison
        used, values = shares(compared), compared.values
        assert values is not None
        nearest = max(used, key=lambda gate: used[gate])
        worth = compared.worth[0]
        wide = len(narrow.record.float32_layers)
        told = f"{worth.mean:.3f} ({worth.worst:.3f})"
        numbers = compared.jaccard_mean, told, f"{values.cosine_min:.6f}", values.relative_error
        rows.append((name, how.name, wide, *numbers, nearest, used[nearest]))
    return rows


def main() -> None:
    """One table."""
    columns = ("model", "precision", "layers in float32", "Jaccard", "mass", "least cosine", "error", "nearest gate")
    rows = [row for name in sys.argv[1:] or NAMES for row in measured(name)]
    table("full width, four layers", (*columns, "share of it"), rows)


if __name__ == "__main__":
    main()
