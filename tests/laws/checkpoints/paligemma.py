"""A linear projector on every patch."""

from tests.laws.checkpoints._sizes import SIGLIP, TEXT


def paligemma(folder, vision=SIGLIP):
    from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

    text = {"model_type": "gemma", "num_key_value_heads": 1, "head_dim": 24, **TEXT}
    config = PaliGemmaConfig(vision_config=vision, text_config=text, projection_dim=48, image_token_index=63)
    PaliGemmaForConditionalGeneration(config).save_pretrained(folder)
    return str(folder)


WRITERS = [paligemma]
