"""Both towers, of which the vision tower is read."""

from tests.laws.checkpoints._sizes import SIGLIP, TEXT


def siglip(folder, vision=SIGLIP):
    from transformers import SiglipConfig, SiglipModel

    SiglipModel(SiglipConfig(vision_config=vision, text_config=TEXT)).save_pretrained(folder)
    return str(folder)


WRITERS = [siglip]
