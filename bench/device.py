"""What pruning costs on a GPU beside the encoder, in torch: batch 1, 8 and 32, fp16 encoder, float32 selection.

python -m bench.device [cuda|cpu] [FOLDER]      FOLDER keeps the checkpoint of true geometry; default bench/out

On the CPU the embedded toy takes its place, to see that the script works; its figures mean nothing. The goal is
pruning within 15 % of the encoder at batch 8, and 3 % with entropy in place of effective rank. AgilePruner reports
3.65 ms for its effective rank and 33.4 ms for the selection, on its authors' GPU.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from bench.checkpoint import write_checkpoint
from bench.frontend import table
from vtp_export.functional.attention import attention_entropy
from vtp_export.functional.erank import effective_rank
from vtp_export.functional.similarity import spectral_gram
from vtp_export.graphs.assembly import assemble, load_model
from vtp_export.precision.lowering import lowered
from vtp_export.spec import PrecisionRecord

BATCHES = (1, 8, 32)
ROUNDS, WARM_UP = 20, 3
K = 64


def milliseconds(call: Callable[[], object], device: str) -> float:
    """Median, the device's queue drained before and after."""
    spent = []
    for turn in range(WARM_UP + ROUNDS):
        _drain(device)
        began = time.perf_counter()
        call()
        _drain(device)
        if turn >= WARM_UP:
            spent.append((time.perf_counter() - began) * 1e3)
    return statistics.median(spent)


def _drain(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _rank_of(features: Tensor) -> Tensor:
    return effective_rank(*spectral_gram(features, True))


def main() -> None:
    """One table a batch."""
    device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device here; 'python -m bench.device cpu' tries the script on the toy model")
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else "bench/out") / "llava-geometry"
    if device == "cuda" and not (folder / "config.json").is_file():
        write_checkpoint(folder)
    torch.backends.cuda.matmul.allow_tf32 = False  # the erank branch needs float32 products
    model = load_model(str(folder) if device == "cuda" else "toy")
    half = PrecisionRecord(name="fp16", tokens_dtype="float16")
    by_erank, by_entropy = (
        lowered(assemble(model, "adaptive", {"keep": K, "complexity": name}).graph, half).to(device)
        for name in ("erank", "entropy")
    )
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU, toy model"
    size = model.frontend.image_size
    for batch in BATCHES if device == "cuda" else BATCHES[:1]:
        pixels = torch.randn(batch, 3, *size, device=device)
        with torch.inference_mode():
            tokens = by_erank.encode(pixels)
            assert tokens.projected is not None and tokens.saliency is not None
            features, saliency = tokens.projected.float(), tokens.saliency
            gram, centred = spectral_gram(features, True)
            calls: dict[str, Callable[[], object]] = {
                "encoder and projector": partial(by_erank.encode, pixels),
                "pruning, erank included": partial(by_erank.pruner, tokens),
                "pruning by entropy": partial(by_entropy.pruner, tokens),
                "Gram and erank in products": partial(_rank_of, features),
                "erank of a Gram matrix": partial(effective_rank, gram, centred),
                "torch.linalg.eigvalsh of it": partial(torch.linalg.eigvalsh, gram),
                "attention entropy": partial(attention_entropy, saliency),
            }
            spent = {what: milliseconds(call, device) for what, call in calls.items()}
        whole = spent["encoder and projector"]
        rows = [(what, ms, f"{ms / whole:.1%}") for what, ms in spent.items()]
        table(f"{name}, torch {torch.__version__}, batch {batch}", ("what", "ms", "share of the encoder"), rows)


if __name__ == "__main__":
    main()
