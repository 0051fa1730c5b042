"""Views and tokens of pictures of common sizes in models that see a picture in tiles, from the sizes alone.

python -m bench.tiles [KEEP]            KEEP tokens a view; default 128
python -m bench.tiles picture FILE      what is kept of a photograph's tiles by the embedded tower, as a LLaVA-NeXT
"""

import json
import math
import sys
import tempfile
from pathlib import Path

from vtp_export import export
from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.graphs.assembly import source_of
from vtp_export.reports.overlay import overlay_of_views
from vtp_export.runtime.front_end import load
from vtp_export.runtime.packing import SHRUNK_ABOVE, unpadded
from vtp_export.runtime.pinpoints import NEXT_PINPOINTS, ONEVISION_PINPOINTS, tiled
from vtp_export.runtime.tiles import plan
from vtp_export.runtime.usual import clip_preprocessing, usual_preprocessing
from vtp_export.spec import Preprocessing

SIZES = ((336, 336), (640, 480), (1000, 1000), (1920, 1080), (1080, 1920), (4000, 3000))
NINE = tuple(canvas for canvas in ONEVISION_PINPOINTS if math.prod(canvas) <= 9 * 384**2)
MODELS = {
    "llava_next": (tiled(clip_preprocessing(336), 336, NEXT_PINPOINTS), 24),
    "llava_onevision": (tiled(clip_preprocessing(384), 384, ONEVISION_PINPOINTS), 27),
    "llava_onevision, tiles=9": (tiled(clip_preprocessing(384), 384, NINE), 27),
    "internvl": (usual_preprocessing("OpenGVLab's InternVL", 448), 16),
    "smolvlm (256M, 500M)": (usual_preprocessing("HuggingFaceTB's SmolVLM", 512), 8),
    "smolvlm (2.2B)": (usual_preprocessing("HuggingFaceTB's SmolVLM", 384), 9),
    "idefics3 (8B)": (usual_preprocessing("HuggingFaceTB's SmolVLM", 364), 13),
}
"""How the released models prepare pictures, and the tokens along the edge of a view."""


def tokens(size: tuple[int, int], prep: Preprocessing, side: int) -> tuple[int, int]:
    """Of an unpruned picture, newline vectors among them; and rows of it that one follows."""
    if prep.filling != "fit":
        return plan(size, prep).views * side**2, 0
    grid = plan(size, prep).grid
    rows, columns = unpadded((grid[0] * side, grid[1] * side), size)
    return side**2 + len(rows) * (len(columns) + 1), len(rows)


def write_trained(folder: Path) -> None:
    """The embedded model as a LLaVA-NeXT: its own weights, canvases of four tiles and fewer, a newline of zeros."""
    import torch
    from safetensors.torch import load_file, save_file

    source = Path(source_of("tiny-llava"))
    config = json.loads((source / "config.json").read_text())
    edge, width = config["vision_config"]["image_size"], config["text_config"]["hidden_size"]
    pinpoints = [[edge * high, edge * wide] for high, wide in ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))]
    config |= {"model_type": "llava_next", "image_grid_pinpoints": pinpoints}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {**load_file(source / "model.safetensors"), "image_newline": torch.zeros(width)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def picture(out: Path, keep: int = 64) -> None:
    """Write the overlay of a photograph, `fastervlm` on each view."""
    example = next(e for e in benchmark_of("photos").examples(None) if e.name == "astronaut")
    with tempfile.TemporaryDirectory() as place:
        model = Path(place, "model")
        model.mkdir()
        write_trained(model)
        export(model, Path(place, "out"), pruner="fastervlm", keep=keep, golden=0)
        with load(Path(place, "out")) as front_end:
            photo = example.open()
            (one,) = front_end.pictures(photo)
            layout, preprocessing = front_end.manifest.layout, front_end.manifest.preprocessing
            overlay_of_views(photo, one.kept_by_view, layout, preprocessing).save(out, quality=85)
    print(f"{out}: {len(one.tokens)} tokens of {len(one.views)} views, {one.newlines} of them newline vectors")


def main() -> None:
    """Print Markdown, or write the picture."""
    if sys.argv[1:2] == ["picture"]:
        picture(Path(sys.argv[2]))
        return
    keep = int(sys.argv[1]) if len(sys.argv) > 1 else 128
    print(f"| picture | model | views | unpruned | {keep} a view, at most |\n|---|---|---|---|---|")
    for size in SIZES:
        for name, (prep, side) in MODELS.items():
            views = plan(size, prep).views
            whole, rows = tokens(size, prep, side)
            shrunk = name == "llava_onevision" and math.sqrt((whole - side**2 - rows) / (9 * side**2)) > SHRUNK_ABOVE
            most = "refused" if shrunk else str(views * min(keep, side**2) + rows)
            unpruned = "shrunk" if shrunk else str(whole)
            print(f"| {size[0]} x {size[1]} | {name} | {views} | {unpruned} | {most} |")


if __name__ == "__main__":
    main()
