"""Front ends of one grid against Transformers' own modules, which take any: features, tokens, attention, positions."""

import importlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.laws.checkpoints import qwen2_5_vl, qwen2_vl, qwen3_5, qwen3_5_moe, qwen3_vl, qwen3_vl_moe
from vtp_export.errors import ModelError
from vtp_export.functional.tokens import Selection
from vtp_export.graphs.assembly import assemble, load_model, needs_of
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.models._grid_tower import GridTowerConfig
from vtp_export.models._grids import learned_taps, patch_places, windows_of
from vtp_export.models._sizes import AskedSize, asked_size
from vtp_export.models._weights import SINGLE
from vtp_export.pruners.base import Method
from vtp_export.runtime.positions import axes_positions

SIGNALS = ("projected", "saliency", "received", "keys", "early_saliency", "early_received")

WRITERS = {
    "qwen2_5_vl": qwen2_5_vl.qwen2_5_vl,
    "qwen2_vl": qwen2_vl.qwen2_vl,
    "qwen3_vl": qwen3_vl.qwen3_vl,
    "qwen3_vl_moe": qwen3_vl_moe.qwen3_vl_moe,
    "qwen3_5": qwen3_5.qwen3_5,
    "qwen3_5_moe": qwen3_5_moe.qwen3_5_moe,
}
OWN_TOWER = ("qwen2_5_vl", "qwen2_vl", "qwen3_vl", "qwen3_5")
"""The others have one of these, letter for letter."""
GRIDS = ((5, 6), (4, 4), (1, 7), (9, 2), (2, 2), (1, 1), (7, 3))
"""What windows of 2 x 2 divide, what they do not, thin ones, and the smallest."""

WIDE3 = {"hidden_size": 1152, "intermediate_size": 4304, "num_heads": 16, "patch_size": 16, "out_hidden_size": 2560}
FULL = {
    "qwen2_5_vl": {
        "depth": 3,
        "fullatt_block_indexes": [0, 2],
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "patch_size": 14,
        "out_hidden_size": 3584,
        "window_size": 112,
    },
    "qwen2_vl": {"depth": 3, "embed_dim": 1280, "num_heads": 16, "patch_size": 14, "hidden_size": 3584},
    "qwen3_vl": {"depth": 3, **WIDE3, "num_position_embeddings": 2304, "deepstack_visual_indexes": [0, 1]},
    "qwen3_5": {"depth": 3, **WIDE3, "num_position_embeddings": 2304},
}
DEEP = {
    "qwen2_5_vl": {**qwen2_5_vl.VISION, "depth": 32, "fullatt_block_indexes": [7, 15, 23, 31]},
    "qwen2_vl": {**qwen2_vl.VISION, "depth": 32},
    "qwen3_vl": {**qwen3_vl.VISION, "depth": 27, "deepstack_visual_indexes": [8, 16, 24]},
    "qwen3_5": {**qwen3_vl.PLAIN, "depth": 27},
}


def calm(folder, gain=1.0):
    """Weights that keep signals their size with depth, whose attention differs from token to token."""
    file = folder / SINGLE
    generator = torch.Generator().manual_seed(7)
    tensors = {}
    for name, tensor in load_file(file).items():
        noise = torch.randn(tensor.shape, generator=generator)
        around = float(tensor.dim() == 1 and "norm" in name.replace("ln_q", "norm") and name.endswith("weight"))
        fan_in = tensor[0].numel() if tensor.dim() > 1 else 25
        tensors[name] = around + noise * gain * fan_in**-0.5
    save_file(tensors, file, metadata={"format": "pt"})


def patches_of(pixels, patch, merge):
    """As Transformers' image processors lay patches out, and the grid of each picture."""
    batch, _, height, width = pixels.shape
    rows, columns = height // patch, width // patch
    cut = pixels.unflatten(3, (columns // merge, merge, patch)).unflatten(2, (rows // merge, merge, patch))
    ordered = cut.permute(0, 2, 5, 3, 6, 1, 4, 7)[:, :, :, :, :, :, None].expand(-1, -1, -1, -1, -1, -1, 2, -1, -1)
    return ordered.reshape(batch * rows * columns, -1), torch.tensor([[1, rows, columns]] * batch)


def seen_by(folder, pixels, monkeypatch, dtype=torch.float32):
    """Image features, hidden states and attention maps of Transformers' own model.

    It returns other things under the name of attentions; the maps are caught where they are made.
    """
    from transformers import AutoModelForImageTextToText

    family = json.loads((folder / "config.json").read_text())["model_type"]
    module = importlib.import_module(f"transformers.models.{family}.modeling_{family}")
    maps, computed = [], module.eager_attention_forward

    def caught(*args, **kwargs):
        result = computed(*args, **kwargs)
        maps.append(result[1])
        return result

    monkeypatch.setattr(module, "eager_attention_forward", caught)
    model = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager", dtype=dtype).eval()
    vision = model.config.vision_config
    patches, grids = patches_of(pixels.to(dtype), vision.patch_size, vision.spatial_merge_size)
    with torch.no_grad():
        features = model.model.get_image_features(patches, grids)
    return features, maps


def by_block(maps, batch, windows):
    """Maps of the blocks that attend to whole pictures: (b, m, m) each, mean over heads; None of the others."""
    blocks, maps = [], list(maps)
    for count in windows:
        made, maps = maps[: batch * count], maps[batch * count :]
        blocks.append(torch.cat(made).mean(1) if count == 1 else None)
    assert not maps
    return blocks


def near(made, wanted, bound=1e-5):
    """Within a share of the largest entry."""
    torch.testing.assert_close(made, wanted.to(made), atol=bound * wanted.abs().max().item(), rtol=0)


def assert_twin(folder, size, monkeypatch, bound=1e-5):
    frontend = load_model(folder, SIGNALS, size=size).frontend
    config, n = frontend.tower.config, frontend.candidates.n
    pixels = torch.randn(2, 3, *frontend.image_size, generator=torch.Generator().manual_seed(3))
    seen, maps = seen_by(folder, pixels, monkeypatch)
    with torch.no_grad():
        tokens = frontend.encode(pixels, SIGNALS)
    near(tokens.projected, torch.stack(list(seen.pooler_output)), bound)
    assert frontend.planes == len(config.deepstack)
    if frontend.planes:
        planes = torch.cat([torch.stack(list(plane)) for plane in seen.deepstack_features], -1)
        near(frontend.project_planes(tokens.planes), planes, bound)
    unit, windows = config.merge**2, windows_of(frontend.candidates.grid, config.window, 1)[1]
    groups = sum((group.stop - group.start) // group.size for group in windows)
    # Transformers leaves the patches in its own order of windows; ours is by size.
    order = torch.arange(n) if config.window is None else theirs(frontend.candidates.grid, config.window)
    back = order.argsort()
    hidden = seen.last_hidden_state.reshape(2, n, unit, -1)[:, back].flatten(2)
    near(tokens.hidden, hidden, bound)
    blocks = by_block(maps, 2, [1 if block in config.whole else groups for block in range(config.depth)])

    def received(block):
        return blocks[block].mean(1).unflatten(1, (n, unit)).mean(2)[:, back]

    near(tokens.saliency, received(config.whole[-1]), bound)
    assert tokens.received is not None
    near(tokens.received, tokens.saliency)
    near(tokens.early_saliency, received(config.deepest(1 / 4)), bound)
    near(tokens.early_received, received(config.deepest(3 / 8)), bound)


def theirs(grid, edge):
    """Raster positions of tokens, window by window, as Transformers walks through them."""
    raster = torch.arange(grid[0] * grid[1]).reshape(grid)
    return torch.cat(
        [
            raster[row : row + edge, column : column + edge].flatten()
            for row in range(0, grid[0], edge)
            for column in range(0, grid[1], edge)
        ]
    )


@pytest.mark.parametrize(
    ("family", "grid"), [(family, grid) for family in WRITERS for grid in GRIDS[: 7 if family in OWN_TOWER else 1]]
)
def test_a_front_end_is_the_twin_of_transformers(tmp_path, monkeypatch, family, grid):
    WRITERS[family](tmp_path)
    calm(tmp_path, gain=1.5)
    anything(tmp_path)
    assert_twin(tmp_path, AskedSize(grid=grid), monkeypatch)


def anything(folder):
    """Let the image processor make pictures of every size."""
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "min_pixels": 1, "max_pixels": 1 << 28}))


@pytest.mark.whole
@pytest.mark.parametrize("sizes", [FULL, DEEP], ids=["full width", "full depth"])
@pytest.mark.parametrize("family", OWN_TOWER)
def test_a_front_end_of_full_size_is_the_twin_of_transformers(tmp_path, monkeypatch, family, sizes):
    WRITERS[family](tmp_path, sizes[family])
    calm(tmp_path)
    anything(tmp_path)
    paper = ((35, 35),) if family == "qwen2_5_vl" and sizes is FULL else ()
    for grid in ((17, 23), (2, 40), (8, 8), *paper):  # in turn: gigabytes are written once
        with monkeypatch.context() as patch:
            assert_twin(tmp_path, AskedSize(grid=grid), patch)


@pytest.mark.parametrize("family", WRITERS)
def test_positions_are_those_that_transformers_counts(tmp_path, family):
    """Of a picture that starts the prompt; and the text goes on behind the longer edge."""
    from transformers import AutoModelForImageTextToText

    WRITERS[family](tmp_path)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path).model
    for rows, columns in ((5, 6), (7, 2), (1, 9)):
        n = rows * columns
        ids, kinds = torch.zeros(1, n + 2, dtype=torch.int64), torch.tensor([[1] * n + [0] * 2])
        grid = torch.tensor([[1, 2 * rows, 2 * columns]])
        positions, _ = model.get_rope_index(ids, mm_token_type_ids=kinds, image_grid_thw=grid)
        assert np.array_equal(positions[:, 0, :n].numpy(), axes_positions((rows, columns)))
        assert positions[:, 0, n].tolist() == [max(rows, columns)] * 3


@pytest.mark.parametrize("family", WRITERS)
def test_what_is_kept_comes_with_its_positions(tmp_path, family):
    name = WRITERS[family](tmp_path)
    model = load_model(name, {"saliency"}, size=AskedSize(grid=(5, 6)))
    graph = assemble(model, "fastervlm", {"keep": 7}).graph
    pixels = torch.randn(3, 3, *model.frontend.image_size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        made = dict(zip([spec.name for spec in graph.outputs], graph(pixels), strict=True))
    table = torch.from_numpy(axes_positions((5, 6)))
    assert made["position_ids"].shape == (3, 3, 7)
    for kept, positions in zip(made["kept"], made["position_ids"], strict=True):
        assert torch.equal(positions, table[:, kept])


@pytest.mark.parametrize("pruner", ["fastervlm", "vispruner", "none"])
def test_what_is_kept_comes_with_its_planes(tmp_path, pruner):
    name = qwen3_vl.qwen3_vl(tmp_path)
    model = load_model(name, needs_of(pruner, {}), size=AskedSize(grid=(5, 6)))
    graph = assemble(model, pruner, {} if pruner == "none" else {"keep": 7}).graph
    pixels = torch.randn(2, 3, *model.frontend.image_size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        made = dict(zip([spec.name for spec in graph.outputs], graph(pixels), strict=True))
        planes = model.frontend.project_planes(model.frontend.encode(pixels, ()).planes)
    assert made["deepstack"].shape == (2, graph.pruner.method.slots, 2 * 48)
    for kept, deepstack, every in zip(made["kept"], made["deepstack"], planes, strict=True):
        near(deepstack, every[kept])


def test_planes_are_mixed_as_tokens_are(tmp_path):
    """A mixture of what two tokens bring is the mixture of what they show, and empty slots hold zeros."""
    name = qwen3_vl.qwen3_vl(tmp_path)
    frontend = load_model(name, size=AskedSize(grid=(5, 6))).frontend
    tokens = frontend.encode(torch.randn(1, 3, *frontend.image_size), {"projected"})
    mix = torch.zeros(1, 3, 30)
    mix[0, 0, 4], mix[0, 1, (5, 9)] = 1.0, 0.5
    selection = Selection(torch.tensor([[4, 5, 0]]), mix, num_kept=torch.tensor([2]))
    for stage in ("hidden", "projected"):
        method = Method(slots=3, needs=frozenset({"projected"}), stage=stage, merges=True)
        graph = PrunedFrontend(frontend, SimpleNamespace(method=method))
        made = dict(zip([spec.name for spec in graph.outputs], graph.finish(tokens, selection), strict=True))
        whole = frontend.project_planes(tokens.planes)[0]
        half = frontend.project_planes(tokens.planes[:, (5, 9)].mean(1, keepdim=True))[0, 0]
        mixed = half if stage == "hidden" else whole[[5, 9]].mean(0)
        near(made["deepstack"][0], torch.stack([whole[4], mixed, torch.zeros_like(mixed)]))
        assert made["position_ids"][0, :, 2].tolist() == [-1, -1, -1]


# Names


RENAMED = {
    "old": lambda name: name.replace("model.visual.", "visual.").replace("model.language_model.", "model."),
    "of a model": lambda name: f"model.{name}",
    "copied": lambda name: name,
}


@pytest.mark.parametrize("family", WRITERS)
@pytest.mark.parametrize("names", RENAMED)
def test_other_names_of_the_tensors_are_the_same_model(tmp_path, family, names):
    name = WRITERS[family](tmp_path)
    before = load_model(name, size=AskedSize(grid=(5, 6))).core.weights_sha256
    tensors = load_file(tmp_path / SINGLE)
    renamed = {RENAMED[names](own): tensor for own, tensor in tensors.items()}
    if names == "copied":  # averaged weights beside the model's own
        renamed |= {f"ema.{own}": tensor + 1 for own, tensor in tensors.items() if "visual" in own}
    assert any(own.startswith("visual.") for own in renamed) or names != "old"
    save_file(renamed, tmp_path / SINGLE, metadata={"format": "pt"})
    assert load_model(name, size=AskedSize(grid=(5, 6))).core.weights_sha256 == before


def test_a_grid_of_its_own_makes_other_weights(tmp_path):
    """What is measured at one grid is not of another."""
    name = qwen2_5_vl.qwen2_5_vl(tmp_path)
    digests = {load_model(name, size=AskedSize(grid=grid)).core.weights_sha256 for grid in ((5, 6), (6, 5), (5, 6))}
    assert len(digests) == 2


# Constants


def test_windows_hold_every_token_once_and_their_sizes_are_neighbours():
    for grid, edge in (((35, 35), 4), ((17, 23), 4), ((1, 60), 4), ((8, 8), 4), ((3, 3), 4), ((5, 7), None)):
        tokens, windows = windows_of(grid, edge, 4)
        assert sorted(tokens.tolist()) == list(range(grid[0] * grid[1]))
        assert [group.start for group in windows] == [0, *(group.stop for group in windows[:-1])]
        assert windows[-1].stop == 4 * len(tokens)
        assert all((group.stop - group.start) % group.size == 0 for group in windows)
    assert len(windows_of((35, 35), 4, 4)[1]) == 3
    assert len(windows_of((8, 8), 4, 4)[1]) == 1


def test_learned_positions_are_interpolated_as_torch_does_it():
    table = torch.randn(6 * 6, 5, generator=torch.Generator().manual_seed(1))
    for rows, columns in ((2, 3), (6, 6), (9, 4), (1, 1)):
        size = 2 * rows, 2 * columns
        places = patch_places((rows, columns), 2, torch.arange(size[0] * size[1]))
        taps, shares = learned_taps(places, size, 6)
        mixed = (table[taps] * shares[:, :, None]).sum(1)
        square = table.T.reshape(1, 5, 6, 6)
        wanted = torch.nn.functional.interpolate(square, size, mode="bilinear", align_corners=True)[0].flatten(1).T
        torch.testing.assert_close(mixed, wanted, atol=1e-5, rtol=0)


# What is refused


ASKED = {
    "nothing": ({}, r"takes pictures of any size, and a graph has one: name it, as tokens \(--grid 26x46\) or as the"),
    "a limit alone": ({"max_tokens": 20}, "takes pictures of any size, and a graph has one"),
    "a grid that is too large": ({"grid": "60x60"}, r"no picture has 60 x 60 tokens: one of 480 x 480 pixels gets"),
    "a grid that is too small": ({"grid": "1x2"}, "no picture has 1 x 2 tokens: one of 16 x 8 pixels gets 2 x 3"),
    "a grid that is too long": ({"grid": "1x210"}, "no picture can have that size: .* up to 200 times as long as wide"),
    "a picture that is too long": ({"image_size": "1x1000"}, "no picture can have that size"),
    "too few tokens": ({"grid": "5x6", "max_tokens": 2}, "max_tokens is 2, and the image processor of .* at least 4"),
    "more than the limit": ({"grid": "5x6", "max_tokens": 29}, "no picture has 5 x 6 tokens"),
}


@pytest.mark.parametrize("case", ASKED)
def test_a_size_that_no_picture_has_is_refused(tmp_path, case):
    asked, message = ASKED[case]
    name = qwen2_5_vl.qwen2_5_vl(tmp_path)
    with pytest.raises(ModelError, match=message):
        load_model(name, size=asked_size(**asked))


def test_pictures_name_the_grid(tmp_path):
    name = qwen2_5_vl.qwen2_5_vl(tmp_path)
    for asked, grid in (
        ({"image_size": "48x40"}, (5, 6)),
        ({"image_size": (50, 39)}, (5, 6)),
        ({"image_size": "4000x3000", "max_tokens": 48}, (6, 8)),
        ({"grid": "5X6"}, (5, 6)),
    ):
        assert load_model(name, size=asked_size(**asked)).frontend.candidates.grid == grid


def told(folder, file, **entries):
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def test_deepstack_of_blocks_that_there_are_not_is_refused(tmp_path):
    name = qwen3_vl.qwen3_vl(tmp_path)
    for planes in ([0, 9], [2, 0], [1, 1], "all", [True]):
        told(tmp_path, "config.json", vision_config={**qwen3_vl.VISION, "deepstack_visual_indexes": planes})
        with pytest.raises(ModelError, match=r"deepstack_visual_indexes of the vision tower is .* blocks from 0 to 3"):
            load_model(name, size=AskedSize(grid=(5, 6)))
    told(tmp_path, "config.json", vision_config={**qwen3_vl.VISION, "num_position_embeddings": 35})
    with pytest.raises(ModelError, match="num_position_embeddings of the vision tower is 35; the square of a whole"):
        load_model(name, size=AskedSize(grid=(5, 6)))


BAD_VISION = {
    "no whole block": ({"fullatt_block_indexes": [3, 9]}, "is \\[3, 9\\], none of its 3 blocks"),
    "strange blocks": ({"fullatt_block_indexes": "all"}, "is 'all'; a list of blocks is needed"),
    "no depth": ({"depth": 0}, "depth of the vision tower is 0; a whole number from 1"),
    "other channels": ({"in_chans": 4}, "reads 4 channels; only RGB"),
    "odd heads": ({"num_heads": 3}, "do not divide: width 32 by 3 heads"),
    "no window": ({"window_size": 7}, "window_size of the vision tower is 7, less than a token's 8"),
    "another rotary": ({"rope_parameters": {"rope_type": "yarn"}}, "axial ones are needed"),
    "an activation": ({"hidden_act": "mish"}, "activation 'mish' is not supported"),
    "no width": ({"out_hidden_size": "wide"}, "language model's width in the vision_config is 'wide'"),
    "other tokens": ({"spatial_merge_size": 3}, "its merge_size is 2, and that of the vision tower is 3"),
    "frames of no number": (
        {"temporal_patch_size": "two"},
        "temporal_patch_size of the vision tower is 'two'; a whole",
    ),
    "other frames": ({"temporal_patch_size": 1}, "its temporal_patch_size is 2, and that of the vision tower is 1"),
}


@pytest.mark.parametrize("case", BAD_VISION)
def test_a_config_that_no_such_tower_has_is_refused(tmp_path, case):
    entries, message = BAD_VISION[case]
    name = qwen2_5_vl.qwen2_5_vl(tmp_path)
    vision = json.loads((tmp_path / "config.json").read_text())["vision_config"]
    vision.pop("in_channels", None)
    told(tmp_path, "config.json", vision_config={**vision, **entries})
    with pytest.raises(ModelError, match=message):
        load_model(name, size=AskedSize(grid=(5, 6)))


BAD_PROCESSOR = {
    "another class": ({"image_processor_type": "CLIPImageProcessor"}, "'CLIPImageProcessor' is not supported; known"),
    "other patches": ({"patch_size": 14}, "its patch_size is 14, and that of the vision tower is 4"),
    "other tokens": ({"merge_size": 3}, "its merge_size is 3, and that of the vision tower is 2"),
    "other frames": ({"temporal_patch_size": 1}, "its temporal_patch_size is 1, and that of the vision tower is 2"),
    "no resizing": ({"do_resize": False}, "do_resize is off"),
    "no bounds": ({"max_pixels": "many"}, "bounds a picture's pixels by 256 and 'many'"),
    "crossed bounds": ({"min_pixels": 1 << 20}, "bounds a picture's pixels by 1048576 and 16384"),
}


@pytest.mark.parametrize("case", BAD_PROCESSOR)
def test_an_image_processor_that_does_not_fit_is_refused(tmp_path, case):
    entries, message = BAD_PROCESSOR[case]
    name = qwen2_5_vl.qwen2_5_vl(tmp_path)
    told(tmp_path, "preprocessor_config.json", **entries)
    with pytest.raises(ModelError, match=rf"preprocessor_config\.json of .* cannot be used: .*{message}"):
        load_model(name, size=AskedSize(grid=(5, 6)))


def test_weights_of_other_frames_than_the_config_says_are_refused(tmp_path):
    name = qwen2_5_vl.qwen2_5_vl(tmp_path)
    vision = json.loads((tmp_path / "config.json").read_text())["vision_config"]
    told(tmp_path, "config.json", vision_config={**vision, "temporal_patch_size": 3})
    told(tmp_path, "preprocessor_config.json", temporal_patch_size=3)
    with pytest.raises(
        ModelError, match=r"patch_embed\.proj\.weight of .* is for 2 frames, but its config.json says 3"
    ):
        load_model(name, size=AskedSize(grid=(5, 6)))


@pytest.mark.parametrize("family", OWN_TOWER)
def test_a_still_picture_is_two_equal_frames_and_a_video_is_not(tmp_path, family):
    """Frames are summed: Transformers' tower of two equal ones is ours, of two others it is another's."""
    from transformers import AutoModelForImageTextToText

    name = WRITERS[family](tmp_path)
    frontend = load_model(name, (), size=AskedSize(grid=(3, 2))).frontend
    tower = AutoModelForImageTextToText.from_pretrained(name, dtype=torch.float32).eval().model
    first, second = (
        torch.randn(1, 3, *frontend.image_size, generator=torch.Generator().manual_seed(i)) for i in (1, 2)
    )
    patch, merge = frontend.tower.config.patch, frontend.tower.config.merge

    def seen(*frames):
        rows, grid = zip(*(patches_of(frame, patch, merge) for frame in frames), strict=True)
        both = torch.stack([one.unflatten(1, (3, 2, -1))[:, :, 0] for one in rows], dim=2).flatten(1)
        with torch.no_grad():
            return torch.cat(list(tower.get_image_features(both, grid[0]).pooler_output))

    with torch.no_grad():
        projected = frontend.encode(first, ("projected",)).projected[0]
    near(projected, seen(first, first))
    assert not torch.allclose(projected, seen(first, second), atol=1e-3 * projected.abs().max().item())


def test_without_a_processor_the_usual_one_is_told(tmp_path):
    vision = {**qwen2_5_vl.VISION, "patch_size": 14, "window_size": 112}
    name = qwen2_5_vl.qwen2_5_vl(tmp_path, vision)
    (tmp_path / "preprocessor_config.json").unlink()
    model = load_model(name, size=AskedSize(grid=(3, 4)))
    assert "images are prepared as for Qwen2.5-VL" in model.notes[0]
    assert model.preprocessing.any_resolution.max_pixels == 12845056


@pytest.mark.parametrize(
    ("depth", "whole", "quarter", "three_eighths"),
    [(32, (7, 15, 23, 31), 7, 15), (24, tuple(range(24)), 5, 8), (27, tuple(range(27)), 6, 9), (4, (1,), 1, 1)],
)
def test_early_signals_are_of_the_first_whole_block_at_their_share_of_the_depth(depth, whole, quarter, three_eighths):
    sizes = {"hidden_size": 8, "intermediate_size": 8, "hidden_act": "silu", "heads": 2, "patch": 2, "merge": 2}
    config = GridTowerConfig(**sizes, depth=depth, whole=whole)
    assert (config.deepest(1 / 4), config.deepest(3 / 8), config.deepest(1)) == (quarter, three_eighths, whole[-1])
