"""The prefill of a language model against the budget of visual tokens, measured and counted.

    python -m bench.first_token [DECODER]        one of the presets of `vtp-export bench --first-token`; default 1b

Random weights, float32, the CPU, one call of each budget in turn. The rate (operations a second) is the formula for
others: a machine's own rate, from one prefill, gives the time of every other budget and shape.
"""

import sys
from functools import partial

from bench.frontend import table
from bench.measure import in_turns
from vtp_export.comparing.first_token import TEXT
from vtp_export.costs.decoder import cache_bytes, prefill_flops, published_flops
from vtp_export.integrations.prefill import Prefill

BUDGETS = (32, 64, 128, 192, 576, 1440)
ROUNDS = 3


def main() -> None:
    """One table."""
    name = sys.argv[1] if len(sys.argv) > 1 else "1b"
    language = Prefill(name)
    spent = in_turns({str(n): partial(language, TEXT + n) for n in BUDGETS}, ROUNDS)
    full = spent["576"]
    rows: list[tuple[object, ...]] = []
    for n in BUDGETS:
        layers = [TEXT + n] * language.shape.layers
        flops, ms = prefill_flops(language.shape, layers), spent[str(n)]
        cache = cache_bytes(language.shape, layers, language.itemsize) / 1e6
        published = published_flops(language.shape, layers) / 1e12
        rows.append((n, ms, full / ms, flops / 1e12, flops / ms / 1e6, published, cache))
    columns = ("visual tokens", "ms", "sooner than 576", "TFLOP", "GFLOP/s", "TFLOPs as papers count", "cache MB")
    table(f"prefill of a decoder of shape {name}, {TEXT} tokens of text", columns, rows)


if __name__ == "__main__":
    main()
