"""What TensorRT-LLM's `LLM` is given."""

import pytest
import torch

from tests.integrations.test_vllm import picture, tokens
from vtp_export.errors import ImageError, SpecError, UnavailableError, UnknownNameError
from vtp_export.integrations.tensorrt_llm import inputs

PROMPT = "USER: <image>\nWhat is on the table? ASSISTANT:"


@pytest.mark.parametrize("read", [tokens(50, 16), picture(None, range(7))], ids=["tokens", "a picture"])
def test_the_tokens_stand_for_the_one_mark_of_the_prompt(read):
    made = inputs(read, PROMPT)
    assert made["prompt"] == PROMPT and set(made) == {"prompt", "multi_modal_embeddings"}
    (rows,) = made["multi_modal_embeddings"]["image"]
    own = read if not hasattr(read, "tokens") else read.tokens
    assert rows.dtype == torch.float16 and rows.numpy().tolist() == own.astype("f2").tolist()


def test_what_cannot_be_sent_is_refused():
    with pytest.raises(UnknownNameError, match="'qwen2_vl'; choose one of: llava_next"):
        inputs(tokens(2, 4), PROMPT, family="qwen2_vl")
    for wrong in (picture((4, 6), [1, 2]), picture(None, [1, 2], runs=(1, 1))):
        with pytest.raises(UnavailableError, match="as one run that is counted, without places"):
            inputs(wrong, PROMPT)
    for prompt, times in (("What?", 0), (PROMPT + PROMPT, 2)):
        with pytest.raises(SpecError, match=f"the mark '<image>' {times} times"):
            inputs(tokens(2, 4), prompt)
    with pytest.raises(SpecError, match="the prompt is a text"):
        inputs(tokens(2, 4), None)
    with pytest.raises(ImageError, match="half precision ends at 65504"):
        inputs(tokens(2, 4) * 1e6, PROMPT)
