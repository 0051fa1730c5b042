"""As `qwen3_5`; four small experts."""

from tests.laws.checkpoints.qwen3_5 import LINEAR
from tests.laws.checkpoints.qwen3_vl import PLAIN, qwen3_vl
from tests.laws.checkpoints.qwen3_vl import SIZE as SIZE
from tests.laws.checkpoints.qwen3_vl_moe import EXPERTS


def qwen3_5_moe(folder, vision=PLAIN):
    return qwen3_vl(folder, vision, "Qwen3_5Moe", **LINEAR, **EXPERTS, shared_expert_intermediate_size=16)


WRITERS = [qwen3_5_moe]
