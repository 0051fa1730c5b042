"""Hand an image's pruned tokens to SGLang's engine in place of the image.

Read in the source of SGLang 0.5.23: a prompt is token ids with one placeholder for each visual token, and beside it one
dictionary of the format "precomputed_embedding", which lands where the pixels would. A model class has to know it there
by its shape. Those of Qwen2-VL, Qwen2.5-VL and InternVL do; that of LLaVA runs its tower on whatever it is given, and
that of Qwen3-VL too. Where rows and columns are counted, positions of the whole prompt may come along, so that pruned
tokens stand where they stood in the picture: what vLLM's input cannot carry.

A dictionary holds tensors, so it is for `sglang.Engine` in the same process, not for HTTP. No engine was run.
"""

from collections.abc import Sequence
from typing import Any

from vtp_export.arguments import whole
from vtp_export.errors import SpecError, UnavailableError, UnknownNameError
from vtp_export.integrations.vllm import MERGE, half
from vtp_export.runtime.packing import Picture
from vtp_export.runtime.positions import prompt_places

FAMILIES = ("internvl", "qwen2_5_vl", "qwen2_vl")
"""Model types whose class in SGLang takes embeddings as they are."""

COUNTING = FAMILIES[1:]
"""Those that count rows and columns."""


def request(
    picture: Picture, before: Sequence[int], after: Sequence[int], *, family: str, image: int, merge: int = MERGE
) -> dict[str, Any]:
    """For `sglang.Engine(...).generate(sampling_params=..., **request)`. Needs torch.

    Args:
        picture: what the language model reads of one image, of `front_end.pictures`.
        before: token ids of the prompt before the visual tokens; the mark that begins an image is the last.
        after: those behind them.
        family: `model_type` of the checkpoint, one of `FAMILIES`.
        image: id of the placeholder.
        merge: patches along an edge of a token, where rows and columns are counted.

    Returns:
        `input_ids`, the prompt with its placeholders; `image_data`, the one dictionary: the tokens (m, d) float16,
        first and last place of them, and where rows and columns are counted the positions (3, n) of the whole prompt,
        how much further than its length the answer stands, and the image's frames, rows and columns of patches.

    Raises:
        UnknownNameError: SGLang's class of that family takes no embeddings.
        UnavailableError: text stands among the tokens, or they come with planes.
        SpecError: no picture, or one of a model that counts otherwise; no token ids; a placeholder in the text.
        ImageError: numbers that half precision cannot hold.
    """
    if family not in FAMILIES:
        raise UnknownNameError("family whose class in SGLang takes embeddings", family, list(FAMILIES))
    if not isinstance(picture, Picture):
        raise SpecError(f"a picture of front_end.pictures(...) is right, and this is {type(picture).__name__}")
    if (picture.position_ids is None) is (family in COUNTING):
        counted = "rows and columns" if family in COUNTING else "tokens alone"
        raise SpecError(f"{family} counts {counted}, and this picture is of a model that does otherwise")
    before, after = ([whole("a token id", one, 0) for one in ids] for ids in (before, after))
    whole("image", image, 0)
    whole("merge", merge, 1)
    if len(picture.runs) > 1 or picture.deepstack is not None:
        raise UnavailableError(
            "SGLang takes the embeddings of an image as one run and without planes; splice these with "
            "vtp_export.integrations.transformers"
        )
    if image in (*before, *after):
        raise SpecError(f"the placeholder {image} stands in the text, and is for visual tokens; leave it out")
    import torch

    rows = half(picture.tokens)
    ids = [*before, *[image] * len(rows), *after]
    item: dict[str, Any] = {
        "format": "precomputed_embedding",
        "feature": torch.from_numpy(rows),
        "offsets": [(len(before), len(before) + len(rows) - 1)],
    }
    placed = prompt_places([len(before)], [picture], len(after))
    if placed is not None and picture.position_ids is not None:
        item["mrope_positions"] = torch.from_numpy(placed[0])
        item["mrope_position_delta"] = torch.tensor([[placed[1] - len(ids)]])
        edges = [(int(axis.max(initial=0)) + 1) * merge for axis in picture.position_ids[1:]]
        item["image_grid_thw"] = torch.tensor([[1, *edges]])
    return {"input_ids": ids, "image_data": [item]}
