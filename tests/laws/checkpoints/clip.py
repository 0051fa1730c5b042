"""Both towers, of which the vision tower is read."""

from tests.laws.checkpoints._sizes import TEXT, VISION


def clip(folder, vision=VISION):
    from transformers import CLIPConfig, CLIPModel

    CLIPModel(CLIPConfig(vision_config=vision, text_config=TEXT)).save_pretrained(folder)
    return str(folder)


WRITERS = [clip]
