"""What vLLM is sent, read as vLLM reads it."""

import base64
import io

import numpy as np
import pytest
import torch

from vtp_export.errors import ImageError
from vtp_export.integrations.vllm import image_part, multi_modal_data, torch_file


def tokens(k=64, d=4096):
    return np.random.default_rng(0).standard_normal((k, d), dtype=np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
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
