"""MMBench-CN, Chinese dev: the questions of `mmbench` in Chinese; circular evaluation by exact matching.

Source: Liu et al., "MMBench: Is Your Multi-modal Model an All-around Player?" (ECCV 2024).
"""

import dataclasses
from typing import ClassVar

from vtp_export.benchmarks import mmbench


class Benchmark(mmbench.Benchmark):
    """4,329 rows, with public answers."""

    source = dataclasses.replace(mmbench.Benchmark.source, config="cn")
    ending: ClassVar[str] = "\n请直接回答选项字母。"
