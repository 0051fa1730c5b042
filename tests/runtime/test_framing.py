"""Text among visual tokens, against what Transformers' own processor writes."""

import pytest

from vtp_export.runtime.framing import framed


@pytest.mark.parametrize("grid", [(1, 1), (1, 2), (4, 1), (3, 4)])
def test_text_of_tiles_is_that_of_transformers(grid):
    from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

    rows, columns = (0, 0) if grid == (1, 1) else grid
    marks = {"fake_token_around_image": "<fake_token_around_image>", "global_image_token": "<global-img>"}
    wanted = get_image_prompt_string(rows, columns, 1, image_token="<image>", **marks)
    assert "<image>".join(framed("tiles", grid)) == wanted


def test_text_around_a_picture_is_that_of_internvl_and_other_models_have_none():
    assert framed("picture", (2, 2)) == ("<img>", "</img>")
    assert framed("none", (2, 2)) == ("", "")
