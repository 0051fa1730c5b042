"""A tower alone, and one of so few patches that more pixels are left over than there are patches along an edge."""

from tests.laws.checkpoints._sizes import VISION


def clip_vision_model(folder, vision=VISION):
    from transformers import CLIPVisionConfig, CLIPVisionModel

    CLIPVisionModel(CLIPVisionConfig(**vision)).save_pretrained(folder)
    return str(folder)


def clip_vision_model_with_a_rest(folder):
    return clip_vision_model(folder, {**VISION, "image_size": 27})


WRITERS = [clip_vision_model, clip_vision_model_with_a_rest]
