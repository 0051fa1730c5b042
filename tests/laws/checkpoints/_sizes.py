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
