"""A tower alone, and one whose positions are interpolated to more patches."""

import json

from tests.laws.checkpoints._sizes import SIGLIP2


def siglip2_vision_model(folder, vision=SIGLIP2):
    from transformers import Siglip2VisionConfig, Siglip2VisionModel

    Siglip2VisionModel(Siglip2VisionConfig(**vision)).save_pretrained(folder)
    return str(folder)


def siglip2_at_another_size(folder):
    settings = {"image_processor_type": "Siglip2ImageProcessor", "patch_size": 7, "max_num_patches": 30}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return siglip2_vision_model(folder)


WRITERS = [siglip2_vision_model, siglip2_at_another_size]
