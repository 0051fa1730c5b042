"""A tower at another size than its own."""

from tests.laws.checkpoints._sizes import DINOV2, preprocessor


def dinov2_with_registers(folder, vision=DINOV2):
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    config = Dinov2WithRegistersConfig(**{**vision, "model_type": "dinov2_with_registers"})
    Dinov2WithRegistersModel(config).save_pretrained(folder)
    preprocessor(folder, 35)
    return str(folder)


WRITERS = [dinov2_with_registers]
