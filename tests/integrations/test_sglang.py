"""What SGLang's engine is given, held against the positions that Transformers derives."""

import numpy as np
import pytest
import torch

from tests.integrations.test_vllm import counting, picture  # noqa: F401 (a fixture)
from vtp_export.errors import ImageError, SpecError, UnavailableError, UnknownNameError
from vtp_export.integrations.sglang import request

GRID = (4, 6)
BEFORE, AFTER, IMAGE = (5, 6, 7), (8, 9), 1


def asked(read, **changes):
    return request(read, **{"before": BEFORE, "after": AFTER, "family": "qwen2_5_vl", "image": IMAGE, **changes})


def test_the_prompt_has_a_placeholder_for_each_token():
    read = picture(None, [3, 4, 9])
    made = asked(read, family="internvl")
    assert made["input_ids"] == [5, 6, 7, 1, 1, 1, 8, 9]
    (item,) = made["image_data"]
    assert item["format"] == "precomputed_embedding" and item["offsets"] == [(3, 5)]
    assert item["feature"].dtype == torch.float16 and item["feature"].tolist() == read.tokens.astype("f2").tolist()
    assert set(item) == {"format", "offsets", "feature"}  # tokens are counted


@pytest.mark.parametrize("kept", [range(24), [0, 7, 23], [5]], ids=["all", "three", "one"])
def test_pruned_tokens_stand_where_they_stood_in_the_picture(counting, kept):  # noqa: F811
    """Those of Transformers for the whole picture, without the tokens that were dropped."""
    read = picture(GRID, kept)
    (item,) = asked(read)["image_data"]
    ids = torch.tensor([[*BEFORE, *[IMAGE] * 24, *AFTER]])
    grid = torch.tensor([[1, 8, 12]])
    whole, delta = counting.get_rope_index(ids, mm_token_type_ids=(ids == IMAGE).long(), image_grid_thw=grid)
    left = [*range(3), *(3 + place for place in kept), 27, 28]
    np.testing.assert_array_equal(item["mrope_positions"], whole[:, 0, left])
    following = int(delta) + ids.shape[1]
    assert item["mrope_position_delta"].tolist() == [[following - len(left)]]
    if len(kept) == 24:
        assert item["image_grid_thw"].tolist() == grid.tolist()


def test_what_sglang_cannot_read_is_refused():
    with pytest.raises(
        UnknownNameError, match="takes embeddings named 'llava'; choose one of: internvl, qwen2_5_vl, qwen2_vl"
    ):
        asked(picture(None, [1]), family="llava")
    with pytest.raises(UnavailableError, match="as one run and without planes"):
        asked(picture(GRID, [1, 2], planes=3))
    with pytest.raises(UnavailableError, match="as one run and without planes"):
        asked(picture(None, [1, 2], runs=(1, 1)), family="internvl")
    for wrong, family in ((picture(None, [1]), "qwen2_vl"), (picture(GRID, [1]), "internvl")):
        with pytest.raises(SpecError, match=f"{family} counts .*, and this picture is of a model that does otherwise"):
            asked(wrong, family=family)
    with pytest.raises(SpecError, match="and this is ndarray"):
        asked(picture(GRID, [1]).tokens)
    for name, value in {"before": ["hello"], "after": [1.5], "image": None, "merge": 0}.items():
        with pytest.raises(SpecError, match=r"whole number|must be|is 0"):
            asked(picture(GRID, [1]), **{name: value})
    with pytest.raises(SpecError, match="the placeholder 8 stands in the text"):
        asked(picture(GRID, [1]), image=8)
    loud = picture(GRID, [1])
    loud.tokens[:] = 1e6
    with pytest.raises(ImageError, match="half precision ends at 65504"):
        asked(loud)
