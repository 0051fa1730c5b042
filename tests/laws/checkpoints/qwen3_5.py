"""As `qwen3_vl` without planes."""

from tests.laws.checkpoints.qwen3_vl import PLAIN, qwen3_vl
from tests.laws.checkpoints.qwen3_vl import SIZE as SIZE

LINEAR = {"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}


def qwen3_5(folder, vision=PLAIN):
    return qwen3_vl(folder, vision, "Qwen3_5", **LINEAR)


WRITERS = [qwen3_5]
