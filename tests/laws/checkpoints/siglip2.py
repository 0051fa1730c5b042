"""Both towers, of which the vision tower is read."""

from tests.laws.checkpoints._sizes import SIGLIP2, TEXT


def siglip2(folder, vision=SIGLIP2):
    from transformers import Siglip2Config, Siglip2Model

    Siglip2Model(Siglip2Config(vision_config=vision, text_config=TEXT)).save_pretrained(folder)
    return str(folder)


WRITERS = [siglip2]
