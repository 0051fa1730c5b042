"""LLaVA-NeXT as it is, and with a SigLIP tower; canvases of up to six tiles."""

import json

from tests.laws.checkpoints._sizes import SIGLIP, TEXT, VISION

PINPOINTS = [[28, 56], [56, 28], [56, 56], [84, 28], [28, 84], [84, 56]]


def tiles(folder, kind="LlavaNextImageProcessor", pinpoints=PINPOINTS, edge=28, **settings):
    """Write the settings of its image processor beside a checkpoint."""
    size = {"size": {"height": edge, "width": edge}, "crop_size": {"height": edge, "width": edge}}
    written = {"image_processor_type": kind, **size, "image_grid_pinpoints": pinpoints, **settings}
    (folder / "preprocessor_config.json").write_text(json.dumps(written))


def llava_next(folder, vision=VISION, pinpoints=PINPOINTS, **options):
    from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

    text = {"text_config": {"model_type": "llama", **TEXT}, "image_token_index": 63}
    config = LlavaNextConfig(vision_config=vision, image_grid_pinpoints=pinpoints, **{**text, **options})
    LlavaNextForConditionalGeneration(config).save_pretrained(folder)
    tiles(folder, pinpoints=pinpoints)
    return str(folder)


def llava_next_of_siglip(folder):
    return llava_next(folder, SIGLIP, vision_feature_select_strategy="full")


WRITERS = [llava_next, llava_next_of_siglip]
