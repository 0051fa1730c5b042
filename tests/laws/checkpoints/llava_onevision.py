"""LLaVA-OneVision: canvases of up to six tiles, the tokens of more than two of which it shrinks."""

from tests.laws.checkpoints._sizes import SIGLIP, TEXT
from tests.laws.checkpoints.llava_next import PINPOINTS, tiles


def llava_onevision(folder, vision=SIGLIP, pinpoints=PINPOINTS, ratio="anyres_max_2", **options):
    from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

    text = {"text_config": {"model_type": "llama", **TEXT}, "image_token_index": 62, "video_token_index": 63}
    config = LlavaOnevisionConfig(
        vision_config=vision, image_grid_pinpoints=pinpoints, vision_aspect_ratio=ratio, **{**text, **options}
    )
    LlavaOnevisionForConditionalGeneration(config).save_pretrained(folder)
    tiles(folder, "LlavaOnevisionImageProcessor", pinpoints)
    return str(folder)


WRITERS = [llava_onevision]
