"""A tower alone."""

from tests.laws.checkpoints._sizes import VISION


def clip_vision_model(folder):
    from transformers import CLIPVisionConfig, CLIPVisionModel

    CLIPVisionModel(CLIPVisionConfig(**VISION)).save_pretrained(folder)
    return str(folder)


WRITERS = [clip_vision_model]
