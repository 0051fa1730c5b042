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
from vtp_export.functional.devices import prepare
from vtp_export.functional.erank import effective_rank
from vtp_export.functional.ranking import descending_rank
from vtp_export.functional.similarity import cosine_distance, spectral_gram
from vtp_export.functional.walk import greedy_walk
from vtp_export.graphs.assembly import assemble, load_model
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.models.base import LoadedModel
from vtp_export.precision.lowering import lowered
from vtp_export.spec import PrecisionRecord

Call = Callable[[], object]

BATCHES = (1, 8, 32)
ROUNDS, WARM_UP = 20, 5
AWAKE = 1.0
"""Seconds of work before the first figure: an idle GPU runs at a lower clock."""
K = 64
HALF = PrecisionRecord(name="fp16", tokens_dtype="float16")
SOLVER = "torch.linalg.eigvalsh of it"
"""Waits for the device itself, so no CUDA graph can hold it."""


def milliseconds(call: Call, device: str) -> float:
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


def captured(call: Call) -> Call:
    """The same work as one CUDA graph: what it takes when nobody has to launch its kernels one by one."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        call()  # libraries that initialise themselves do so here
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def halved(model: LoadedModel, complexity: str, device: str) -> PrunedFrontend:
    """The adaptive graph in fp16."""
    graph = assemble(model, "adaptive", {"keep": K, "complexity": complexity}).graph
    return lowered(graph, HALF).to(device)


def calls_of(by_erank: PrunedFrontend, by_entropy: PrunedFrontend, pixels: Tensor) -> dict[str, Call]:
    """What is timed, the encoder first. Pruners without the check of what they return, which waits for the device."""
    awake = time.perf_counter() + AWAKE
    while time.perf_counter() < awake:
        tokens = by_erank.encode(pixels)
    assert tokens.projected is not None and tokens.saliency is not None
    features, saliency = tokens.projected.float(), tokens.saliency
    gram, centred = spectral_gram(features, True)
    rank, near = descending_rank(saliency), cosine_distance(features) < 0.1
    return {
        "encoder and projector": partial(by_erank.encode, pixels),
        "pruning, erank included": partial(by_erank.pruner.forward, tokens),
        "pruning by entropy": partial(by_entropy.pruner.forward, tokens),
        "Gram and erank in products": partial(_rank_of, features),
        "erank of a Gram matrix": partial(effective_rank, gram, centred),
        SOLVER: partial(torch.linalg.eigvalsh, gram),
        "attention entropy": partial(attention_entropy, saliency),
        "distances of all pairs": partial(cosine_distance, features),
        f"walk of {K} rounds": partial(greedy_walk, rank, near, None, K),
    }


def _rank_of(features: Tensor) -> Tensor:
    return effective_rank(*spectral_gram(features, True))


def rows_of(calls: dict[str, Call], device: str) -> list[tuple[object, ...]]:
    """Milliseconds and share of the encoder: launched kernel by kernel, and as a CUDA graph where there is a GPU."""
    eager = {what: milliseconds(call, device) for what, call in calls.items()}
    graphs: dict[str, float] = {}
    if device == "cuda":
        graphs = {what: milliseconds(captured(call), device) for what, call in calls.items() if what != SOLVER}
    encoder, *_ = eager
    rows: list[tuple[object, ...]] = []
    for what, ms in eager.items():
        graph = (graphs[what], f"{graphs[what] / graphs[encoder]:.1%}") if what in graphs else ("-", "-")
        rows.append((what, ms, f"{ms / eager[encoder]:.1%}", *graph))
    return rows


def main() -> None:
    """One table a batch."""
    device = sys.argv[1] if len(sys.argv) > 1 else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device here; 'python -m bench.device cpu' tries the script on the toy model")
    prepare(device)  # the erank branch needs float32 products
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else "bench/out") / "llava-geometry"
    if device == "cuda" and not (folder / "config.json").is_file():
        write_checkpoint(folder)
    model = load_model(str(folder) if device == "cuda" else "toy")
    by_erank, by_entropy = (halved(model, complexity, device) for complexity in ("erank", "entropy"))
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU, toy model"
    columns = "what", "ms", "share of the encoder", "as a CUDA graph, ms", "share of the encoder"
    for batch in BATCHES if device == "cuda" else BATCHES[:1]:
        pixels = torch.randn(batch, 3, *model.frontend.image_size, device=device)
        with torch.inference_mode():
            rows = rows_of(calls_of(by_erank, by_entropy, pixels), device)
        table(f"{name}, torch {torch.__version__}, batch {batch}", columns, rows)


if __name__ == "__main__":
    main()
