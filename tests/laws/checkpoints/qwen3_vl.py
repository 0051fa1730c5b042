"""Positions of 6 x 6, interpolated to 5 x 6 tokens of 2 x 2 patches of 4 pixels, and two planes beside the tokens."""

from tests.laws.checkpoints._sizes import qwen_processor, qwen_text
from vtp_export.models._sizes import AskedSize

SIZE = AskedSize(grid=(5, 6))
PLAIN = {
    "depth": 4,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 4,
    "patch_size": 4,
    "out_hidden_size": 48,
    "num_position_embeddings": 36,
}
VISION = {**PLAIN, "deepstack_visual_indexes": [0, 2]}


def qwen3_vl(folder, vision=VISION, kind="Qwen3VL", **text):
    import transformers

    text = {**qwen_text(vision["out_hidden_size"]), "head_dim": 16, **text}
    config = getattr(transformers, f"{kind}Config")(vision_config=vision, text_config=text, image_token_id=60)
    getattr(transformers, f"{kind}ForConditionalGeneration")(config).save_pretrained(folder)
    qwen_processor(folder, vision["patch_size"])
    return str(folder)


WRITERS = [qwen3_vl]
