"""SmolVLM: tokens of 2 x 2 patches, canvases of up to nine tiles; and one of 3 x 3, whose image is no whole patches."""

import json

from tests.laws.checkpoints._sizes import SIGLIP, TEXT

SMOL = {**{name: size for name, size in SIGLIP.items() if name != "model_type"}, "image_size": 56}


def tiles(folder, kind="SmolVLMImageProcessor", edge=56, longest=3 * 56, **settings):
    """Write the settings of its image processor beside a checkpoint."""
    written = {
        "image_processor_type": kind,
        "do_image_splitting": True,
        "do_pad": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "max_image_size": {"longest_edge": edge},
        "resample": 1,
        "size": {"longest_edge": longest},
        **settings,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(written))


def smolvlm(folder, vision=SMOL, scale=2, text=TEXT, kind="SmolVLM", **options):
    import torch
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vision_config=vision,
        text_config={"model_type": "llama", **text},
        scale_factor=scale,
        **{"image_token_id": 63, "pad_token_id": 0, **options},
    )
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config)
    for name, weight in model.named_parameters():  # or attention is flat
        if weight.dim() > 1 and "vision" in name:
            torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    model.save_pretrained(folder)
    tiles(folder, f"{kind}ImageProcessor", config.vision_config.image_size, 3 * config.vision_config.image_size)
    return str(folder)


def smolvlm_of_three_by_three(folder):
    return smolvlm(folder, {**SMOL, "image_size": 64}, scale=3)


WRITERS = [smolvlm, smolvlm_of_three_by_three]
