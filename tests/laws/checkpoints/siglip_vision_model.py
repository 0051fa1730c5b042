"""A tower alone."""

from tests.laws.checkpoints._sizes import SIGLIP


def siglip_vision_model(folder, vision=SIGLIP):
    from transformers import SiglipVisionConfig, SiglipVisionModel

    SiglipVisionModel(SiglipVisionConfig(**vision)).save_pretrained(folder)
    return str(folder)


WRITERS = [siglip_vision_model]
