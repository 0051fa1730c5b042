"""LLaVA as it is, with CLS among the tokens, with features of two layers, and with other towers."""

from tests.laws.checkpoints._sizes import DINOV2, SIGLIP, TEXT, VISION, preprocessor


def llava(folder, vision=VISION, **options):
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    config = LlavaConfig(
        vision_config=vision, text_config={"model_type": "llama", **TEXT}, image_token_index=63, **options
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    return str(folder)


def llava_with_cls(folder):
    return llava(folder, vision_feature_select_strategy="full")


def llava_of_two_layers(folder):
    return llava(folder, vision_feature_layer=[-2, 1])


def llava_of_siglip(folder):
    return llava(folder, SIGLIP, vision_feature_select_strategy="full")


def llava_of_dinov2(folder):
    preprocessor(folder, 35)
    return llava(folder, DINOV2)


WRITERS = [llava, llava_with_cls, llava_of_two_layers, llava_of_siglip, llava_of_dinov2]
