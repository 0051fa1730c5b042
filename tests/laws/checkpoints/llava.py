"""LLaVA as it is, with CLS among the tokens, and with features of two layers."""

from tests.laws.checkpoints._sizes import TEXT, VISION


def llava(folder, **options):
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    config = LlavaConfig(
        vision_config=VISION, text_config={"model_type": "llama", **TEXT}, image_token_index=63, **options
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    return str(folder)


def llava_with_cls(folder):
    return llava(folder, vision_feature_select_strategy="full")


def llava_of_two_layers(folder):
    return llava(folder, vision_feature_layer=[-2, 1])


WRITERS = [llava, llava_with_cls, llava_of_two_layers]
