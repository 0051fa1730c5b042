"""Windows of 2 x 2 tokens, whole attention in two blocks of three; 5 x 6 tokens of 2 x 2 patches of 4 pixels."""

from tests.laws.checkpoints._sizes import qwen_processor, qwen_text
from vtp_export.models._sizes import AskedSize

SIZE = AskedSize(grid=(5, 6))
VISION = {
    "depth": 3,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 4,
    "patch_size": 4,
    "out_hidden_size": 48,
    "window_size": 16,
    "fullatt_block_indexes": [0, 2],
}


def qwen2_5_vl(folder, vision=VISION):
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = Qwen2_5_VLConfig(vision_config=vision, text_config=qwen_text(vision["out_hidden_size"]), image_token_id=60)
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    qwen_processor(folder, vision["patch_size"])
    return str(folder)


WRITERS = [qwen2_5_vl]
