"""What vLLM is sent, read as vLLM reads it."""

import base64
import io

import numpy as np
import pytest
import torch

from vtp_export.errors import ImageError, UnavailableError
from vtp_export.integrations.vllm import embeddings, image_part, multi_modal_data, torch_file
from vtp_export.runtime.output import Kept
from vtp_export.runtime.packing import Picture
from vtp_export.runtime.positions import following, positions_of


def tokens(k=64, d=4096):
    return np.random.default_rng(0).standard_normal((k, d), dtype=np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64])
@pytest.mark.parametrize("shape", [(3,), (2, 5), (1, 64, 4096)])
def test_torch_reads_the_file_bit_for_bit(dtype, shape):
    array = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    found = torch.load(io.BytesIO(torch_file(array)), weights_only=True)
    assert found.shape == shape
    assert found.numpy().tobytes() == array.tobytes()


def test_a_part_of_a_message_carries_the_tokens_in_half_precision():
    part = image_part(tokens(50))
    assert part["type"] == "image_embeds"
    found = torch.load(io.BytesIO(base64.b64decode(part["image_embeds"])), weights_only=True)
    assert found.dtype == torch.float16 and found.shape == (1, 50, 4096)
    assert np.array_equal(found[0].numpy(), tokens(50).astype(np.float16))
    assert torch.equal(found, multi_modal_data(tokens(50))["image"])


def test_half_a_megabyte_goes_over_the_wire_instead_of_nearly_five():
    pruned, whole = len(torch_file(tokens().astype(np.float16))), len(torch_file(tokens(576).astype(np.float16)))
    assert round(pruned / 1e6, 1) == 0.5
    assert round(whole / 1e6, 1) == 4.7


def test_numbers_count_and_not_how_they_lie_in_memory():
    for laid_out in (tokens().astype(">f4"), np.asfortranarray(tokens()), tokens()[::-1].copy()[::-1]):
        assert image_part(laid_out) == image_part(tokens())


def test_what_cannot_be_sent_is_refused():
    for wrong, words in (
        (torch.zeros(2, 3), "this is Tensor"),
        (b"tokens", "this is bytes"),
        (np.zeros((2, 3), int), "this is int64"),
    ):
        with pytest.raises(ImageError, match=rf"such as output\[0\]\.tokens, and {words}"):
            image_part(wrong)
    with pytest.raises(ImageError, match="those of one image have two axes"):
        image_part(tokens()[None])
    with pytest.raises(ImageError, match="half precision ends at 65504"):
        image_part(tokens() * 1e6)
    with pytest.raises(ImageError, match="half precision ends at 65504"):
        image_part(np.full((2, 2), np.nan, dtype=np.float32))


def loaded(text):
    return torch.load(io.BytesIO(base64.b64decode(text)), weights_only=True)


def picture(grid, kept, planes=0, runs=None):
    """Of a model that counts rows and columns; of one that counts tokens where `grid` is None."""
    kept = np.asarray(kept, dtype=np.int64)
    read = tokens(len(kept), 8)
    deepstack = tokens(len(kept), 8 * planes) * 3 if planes else None
    places, extent = (None, None) if grid is None else (positions_of(kept, grid), following(grid))
    own = {"tokens": read, "kept": kept, "position_ids": places, "deepstack": deepstack}
    runs = runs or (len(kept),)
    return Picture(**own, view=kept * 0, views=(Kept(**own),), runs=runs, text=("",) * (len(runs) + 1), extent=extent)


@pytest.fixture(scope="module")
def counting():
    """Transformers' model of one layer, without weights: where it puts tokens, vLLM does."""
    from transformers import Qwen2VLConfig, Qwen2VLModel

    text = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 1, "vocab_size": 8}
    config = Qwen2VLConfig(image_token_id=1, text_config=text, vision_config={"depth": 1})
    with torch.device("meta"):
        return Qwen2VLModel(config)


def derived_from(grid, counting, before):
    """Positions of the tokens of a grid of patches behind some text, and how far behind its start the text goes on."""
    ids = torch.tensor([[5] * before + [1] * (int(grid.prod()) // 4) + [5]])
    places, _ = counting.get_rope_index(ids, mm_token_type_ids=(ids == 1).long(), image_grid_thw=grid[None])
    return places[:, 0, before:-1] - before, int(places[0, 0, -1]) - before


@pytest.mark.parametrize("planes", [0, 3])
@pytest.mark.parametrize("grid", [(2, 3), (3, 2), (1, 4)])
def test_a_whole_grid_is_sent_with_its_positions_and_planes(counting, grid, planes):
    n = grid[0] * grid[1]
    read = picture(grid, range(n), planes)
    part = image_part(read)
    assert part["type"] == "image_embeds" and set(part["image_embeds"]) == {"image_embeds", "image_grid_thw"}
    rows, places = (loaded(part["image_embeds"][name]) for name in ("image_embeds", "image_grid_thw"))
    assert rows.dtype == torch.float16 and rows.shape == (n, 8 * (1 + planes))
    cut = rows.split(8, dim=1)
    np.testing.assert_array_equal(cut[0], read.tokens.astype(np.float16))
    for plane in range(planes):  # as the language model's layers read them
        np.testing.assert_array_equal(cut[1 + plane], read.deepstack[:, 8 * plane :][:, :8].astype(np.float16))
    assert places.dtype == torch.int64 and places.tolist() == [1, 2 * grid[0], 2 * grid[1]]
    derived, behind = derived_from(places, counting, 3)
    np.testing.assert_array_equal(derived, read.position_ids)
    assert behind == read.extent
    offline = multi_modal_data(read)["image"]
    assert torch.equal(offline["image_embeds"], rows) and offline["image_grid_thw"].tolist() == [places.tolist()]
    assert embeddings(read, merge=3)[1].tolist() == [1, 3 * grid[0], 3 * grid[1]]


@pytest.mark.parametrize(
    "kept",
    [[1, 5], [0, 1, 3, 4], [0, 1, 2], [0, 1, 2, 3, 5, 4], [0, 1, 2, 3, 4, -1], []],
    ids=["two", "a narrower grid", "the upper row of a higher one", "another order", "one of no place", "none"],
)
def test_pruned_tokens_that_vllm_would_put_elsewhere_are_refused(kept):
    grid = (4, 3) if kept == [0, 1, 2] else (2, 3)
    for send in (image_part, multi_modal_data):
        with pytest.raises(UnavailableError, match=rf"would read these {len(kept)} pruned ones in other places"):
            send(picture(grid, kept))


def test_pruned_tokens_that_are_a_grid_of_the_same_extent_are_sent_as_that():
    """They stand, and the text behind them, where vLLM puts those of a smaller image."""
    _, grid = embeddings(picture((4, 6), range(12)))
    assert grid.tolist() == [1, 4, 12]


def test_a_picture_of_a_model_that_counts_tokens_is_its_tokens():
    read = picture(None, [3, 4, 9])
    assert image_part(read) == image_part(read.tokens)
    with pytest.raises(UnavailableError, match="which are 2 runs, and vLLM takes the embeddings of an image as one"):
        image_part(picture(None, [3, 4, 9], runs=(1, 2)))
