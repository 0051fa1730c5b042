"""A tower alone."""

from tests.laws.checkpoints._sizes import VISION


def clip_vision_model(folder, vision=VISION):
    from transformers import CLIPVisionConfig, CLIPVisionModel

    CLIPVisionModel(CLIPVisionConfig(**vision)).save_pretrained(folder)
    return str(folder)


WRITERS = [clip_vision_model]
