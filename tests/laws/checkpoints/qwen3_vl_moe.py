"""As `qwen3_vl`; four small experts."""

from tests.laws.checkpoints.qwen3_vl import SIZE as SIZE
from tests.laws.checkpoints.qwen3_vl import VISION, qwen3_vl

EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}


def qwen3_vl_moe(folder, vision=VISION):
    return qwen3_vl(folder, vision, "Qwen3VLMoe", **EXPERTS)


WRITERS = [qwen3_vl_moe]
