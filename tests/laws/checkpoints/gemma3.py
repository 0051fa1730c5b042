"""Tokens of 2 x 2 patches."""

from tests.laws.checkpoints._sizes import SIGLIP, TEXT

EIGHT_BY_EIGHT = {**SIGLIP, "image_size": 56}


def gemma3(folder, vision=EIGHT_BY_EIGHT, tokens=16):
    import torch
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = {"num_key_value_heads": 1, "head_dim": 24, **TEXT}
    config = Gemma3Config(
        vision_config=vision,
        text_config=text,
        mm_tokens_per_image=tokens,
        image_token_index=63,
        boi_token_index=61,
        eoi_token_index=62,
    )
    model = Gemma3ForConditionalGeneration(config)
    for weight in model.model.multi_modal_projector.parameters():  # Transformers leaves them at zero
        torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(folder)
    return str(folder)


WRITERS = [gemma3]
