"""5 x 6 tokens of 2 x 2 patches of 4 pixels, whole attention everywhere."""

from tests.laws.checkpoints._sizes import qwen_processor, qwen_text
from vtp_export.models._sizes import AskedSize

SIZE = AskedSize(grid=(5, 6))
VISION = {"depth": 3, "embed_dim": 32, "mlp_ratio": 2, "num_heads": 4, "patch_size": 4, "hidden_size": 48}


def qwen2_vl(folder, vision=VISION):
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    config = Qwen2VLConfig(vision_config=vision, text_config=qwen_text(vision["hidden_size"]), image_token_id=60)
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    qwen_processor(folder, vision["patch_size"])
    return str(folder)


WRITERS = [qwen2_vl]
