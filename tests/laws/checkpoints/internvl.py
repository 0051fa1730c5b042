"""InternVL: tokens of 2 x 2 patches, up to six tiles; and one whose queries and keys are normed, as InternViT-6B's."""

import json

from tests.laws.checkpoints._sizes import TEXT, VISION

INTERNVIT = {**VISION, "model_type": "internvl_vision", "image_size": [56, 56], "patch_size": [7, 7]}
NORMED = {"attention_bias": False, "use_qk_norm": True, "norm_type": "rms_norm"}


def tiles(folder, edge=56, most=6, **settings):
    """Write the settings of its image processor beside a checkpoint, as released: tiles are cut all the same."""
    written = {
        "image_processor_type": "GotOcr2ImageProcessorFast",
        "crop_to_patches": False,
        "size": {"height": edge, "width": edge},
        "crop_size": None,
        "do_center_crop": None,
        "min_patches": 1,
        "max_patches": most,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        **settings,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(written))


def internvl(folder, vision=INTERNVIT, text=None, **options):
    import torch
    from transformers import InternVLConfig, InternVLForConditionalGeneration

    text = text or {"model_type": "qwen2", "num_key_value_heads": 1, **TEXT}
    config = InternVLConfig(
        vision_config={"attention_bias": True, **vision},
        text_config=text,
        **{"image_token_id": 63, "tie_word_embeddings": False, **options},
    )
    model = InternVLForConditionalGeneration(config)
    for weight in model.model.vision_tower.parameters():  # Transformers leaves positions at zero, and attention flat
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
    model.save_pretrained(folder)
    tiles(folder)
    return str(folder)


def internvl_of_normed_queries(folder):
    return internvl(folder, {**INTERNVIT, **NORMED})


WRITERS = [internvl, internvl_of_normed_queries]
