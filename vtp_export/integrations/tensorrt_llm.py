"""Hand an image's pruned tokens to TensorRT-LLM's `LLM` in place of the image.

Read in its source, the input processor of LLaVA-NeXT: the tokenizer turns the prompt into ids, each mark of an image is
replaced by as many ids beyond the vocabulary as the embeddings beside it have rows, and these rows are what the
language model reads there. So any number goes. The class that all processors come from refuses embeddings, and of the
families here no other that takes them was found. What the package index has of it is a stub, and nothing was run.
"""

from typing import Any

import numpy as np

from vtp_export.errors import SpecError, UnavailableError, UnknownNameError
from vtp_export.integrations.vllm import half
from vtp_export.runtime.packing import Picture

FAMILIES = ("llava_next",)
"""Model types whose input processor takes embeddings."""


def inputs(
    read: np.ndarray | Picture, prompt: str, *, family: str = FAMILIES[0], mark: str = "<image>"
) -> dict[str, Any]:
    """For `tensorrt_llm.LLM(...).generate(this, sampling_params)`. Needs torch.

    Args:
        read: what the language model reads of one image, of `front_end.pictures`, or its tokens (m, d).
        prompt: the whole text, with one mark where the image stands.
        family: `model_type` of the checkpoint, one of `FAMILIES`.
        mark: the text that its tokenizer makes the id of an image of.

    Raises:
        UnknownNameError: the input processor of that family takes no embeddings.
        UnavailableError: the tokens have places of their own, or text among them, which cannot be sent.
        SpecError: the prompt is no text, or does not have the mark once.
        ImageError: no floats of such a shape, or numbers that half precision cannot hold.
    """
    if family not in FAMILIES:
        raise UnknownNameError("family whose input processor takes embeddings", family, list(FAMILIES))
    if isinstance(read, Picture) and (read.position_ids is not None or len(read.runs) > 1):
        raise UnavailableError(
            "TensorRT-LLM takes the embeddings of an image as one run that is counted, without places; splice these "
            "with vtp_export.integrations.transformers"
        )
    if not isinstance(prompt, str) or not mark:
        raise SpecError(f"the prompt is a text, and its mark one that is not empty; these are {prompt!r} and {mark!r}")
    if (count := prompt.count(mark)) != 1:
        raise SpecError(
            f"the prompt has the mark '{mark}' {count} times; it must be there once, where the image stands"
        )
    import torch

    rows = half(read.tokens if isinstance(read, Picture) else read)
    return {"prompt": prompt, "multi_modal_embeddings": {"image": [torch.from_numpy(rows)]}}
