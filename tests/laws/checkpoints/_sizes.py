"""Sizes of the smallest checkpoints of towers and of what they are joined to."""

SIZES = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 28, "patch_size": 7}
VISION = {"model_type": "clip_vision_model", "intermediate_size": 48, **SIZES}
SIGLIP = {**VISION, "model_type": "siglip_vision_model"}
SIGLIP2 = {name: size for name, size in SIGLIP.items() if name != "image_size"} | {
    "model_type": "siglip2_vision_model",
    "num_patches": 16,
}
DINOV2 = {"model_type": "dinov2", "mlp_ratio": 2, **SIZES}
TEXT = {"hidden_size": 48, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 64}


def preprocessor(folder, size):
    """Write the settings of DINOv2's image processor beside a checkpoint: positions are interpolated to `size`."""
    import json

    settings = {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": size + 4}, "crop_size": size}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def qwen_text(width):
    """A language model of that width with three axes of positions, which share the channels of a head."""
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    return {**TEXT, "hidden_size": width, "num_attention_heads": width // 16, "num_key_value_heads": width // 16} | {
        "rope_parameters": rope,
        "num_hidden_layers": 4,
    }


def qwen_processor(folder, patch, most=1 << 14):
    """Write the settings of the image processor of a model of any resolution."""
    import json

    settings = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": patch,
        "merge_size": 2,
        "min_pixels": 4 * (2 * patch) ** 2,
        "max_pixels": most,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
