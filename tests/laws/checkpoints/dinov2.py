"""A tower at its own size, one at another, and one with a gated MLP."""

from tests.laws.checkpoints._sizes import DINOV2, preprocessor


def dinov2(folder, vision=DINOV2, **options):
    from transformers import Dinov2Config, Dinov2Model

    Dinov2Model(Dinov2Config(**vision, **options)).save_pretrained(folder)
    return str(folder)


def dinov2_at_another_size(folder):
    preprocessor(folder, 42)
    return dinov2(folder)


def dinov2_gated(folder, vision=DINOV2):
    return dinov2(folder, vision, use_swiglu_ffn=True, qkv_bias=False)


WRITERS = [dinov2, dinov2_at_another_size, dinov2_gated]
