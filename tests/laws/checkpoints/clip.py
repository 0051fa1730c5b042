"""Both towers, of which the vision tower is read."""

from tests.laws.checkpoints._sizes import TEXT, VISION


def clip(folder):
    from transformers import CLIPConfig, CLIPModel

    CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT)).save_pretrained(folder)
    return str(folder)


WRITERS = [clip]
