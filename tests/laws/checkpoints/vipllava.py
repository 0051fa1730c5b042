"""Features of three layers, one of them counted from the first."""

from tests.laws.checkpoints._sizes import TEXT, VISION


def vipllava(folder, vision=VISION):
    from transformers import VipLlavaConfig, VipLlavaForConditionalGeneration

    config = VipLlavaConfig(
        vision_config=vision,
        text_config={"model_type": "llama", **TEXT},
        image_token_index=63,
        vision_feature_layer=[-2, -3, 1],
    )
    VipLlavaForConditionalGeneration(config).save_pretrained(folder)
    return str(folder)


WRITERS = [vipllava]
