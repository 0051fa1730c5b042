"""Every pruner at full size: milliseconds in ONNX Runtime beside the plain loop of `reference/`.

python -m bench.pruners [NAME ...]        default all, at 64, 128 and 192 of 576 tokens; about a quarter of an hour

Signals are random, of the geometry of CLIP ViT-L/14-336 and LLaVA-1.5-7B's projector. Each pruner is exported alone
(choice, merging and gathering of its tokens), so that what it adds is not lost in the noise of a tower that takes
seconds. Those that have a loop are also built without the loop operator, for targets that have none.
"""

import dataclasses
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from bench.frontend import table
from bench.measure import in_turns
from vtp_export import rooms
from vtp_export.backends.onnx import Backend
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.parity.noise import signals_of
from vtp_export.progress import silent
from vtp_export.pruners.base import Pruner
from vtp_export.runtime.brief import Brief
from vtp_export.spec import BatchRange, Candidates, TensorSpec

CANDIDATES = Candidates((24, 24))
N, HIDDEN, PROJECTED, KEY = CANDIDATES.n, 1024, 4096, 64
KEEPS = (64, 128, 192)
ROUNDS = 5


class Given(nn.Module):
    """A front end whose tokens are its input; there is nothing to project."""

    gives = frozenset(Tokens._fields)

    def project(self, features: Tensor) -> Tensor:
        """As they are."""
        return features


class Alone(nn.Module):
    """A pruner: signals in, the outputs of an artefact out."""

    def __init__(self, pruner: Pruner) -> None:
        super().__init__()
        self.front = PrunedFrontend(Given(), pruner)  # type: ignore[arg-type]
        self.names = ["hidden", *sorted(pruner.method.needs)]

    def forward(self, hidden: Tensor, second: Any = None, third: Any = None, fourth: Any = None) -> Any:
        """Tokens of one batch."""
        tokens = Tokens(**dict(zip(self.names, (hidden, second, third, fourth), strict=False)))
        return self.front.finish(tokens, self.front.pruner(tokens))


def signals() -> Tokens:
    """One image's, smooth and noisy as features are."""
    generator = np.random.default_rng(0)
    maps = generator.standard_normal((N, 64))

    def features(width: int) -> np.ndarray:
        return maps @ generator.standard_normal((64, width)) / 8 + 0.3 * generator.standard_normal((N, width))

    widths = {"hidden": HIDDEN, "projected": PROJECTED, "keys": KEY, "following_keys": HIDDEN}
    arrays = {name: features(width) for name, width in widths.items()} | {"cls": generator.standard_normal((1, HIDDEN))}
    for name in Tokens._fields:
        arrays.setdefault(name, generator.gamma(0.5, size=N) / N)
    return Tokens(**{name: torch.from_numpy(array.astype(np.float32))[None] for name, array in arrays.items()})


def built(name: str, keep: int, tokens: Tokens, loop: bool = True) -> tuple[Any, dict[str, Any], int]:
    """A call of the exported pruner, its settings, and the file's size in bytes."""
    room = rooms.load("pruners", name)
    config, _ = room.Config(keep=keep).resolved()
    graph = Alone(room.Pruner(config, CANDIDATES)).eval()
    given = {key: getattr(tokens, key) for key in graph.names}
    inputs = tuple(TensorSpec(key, "float32", ("b", *value.shape[1:])) for key, value in given.items())
    outputs = ("tokens", "kept", "num_kept", *graph.front.pruner.method.measures)
    specs = tuple(TensorSpec(output, "float32", ("b",)) for output in outputs)
    with tempfile.TemporaryDirectory() as folder:
        brief = Brief(inputs=inputs, outputs=specs, batch=BatchRange(1, 1, 16), identity="", loops=loop)
        path = Path(folder) / Backend().build(graph, brief, Path(folder), silent).main
        size = path.stat().st_size
        session = onnxruntime.InferenceSession(str(path))
    arrays = {key: value.numpy() for key, value in given.items() if key in {i.name for i in session.get_inputs()}}
    return partial(session.run, None, arrays), dataclasses.asdict(config), size


def plain_loop(name: str, settings: dict[str, Any], tokens: Tokens) -> float:
    """Milliseconds of the twin in `reference/`, once."""
    select, given = rooms.load("reference", name).select, signals_of(tokens, 0, CANDIDATES)
    began = time.perf_counter()
    select(given, settings)
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    """Print the table, row by row."""
    names = sys.argv[1:] or [name for name in rooms.names("pruners") if name != "none"]
    tokens, rows = signals(), []
    for name in names:
        calls, reference = {}, {}
        for keep in KEEPS:
            call, settings, _ = built(name, keep, tokens)
            calls[str(keep)] = call
            reference[keep] = plain_loop(name, settings, tokens)
        spent = in_turns(calls, ROUNDS)
        rows.append((name, *(f"{spent[str(k)]:.1f}" for k in KEEPS), *(f"{reference[k]:.0f}" for k in KEEPS)))
        print(rows[-1], file=sys.stderr, flush=True)
    columns = "method", *(f"K = {k}" for k in KEEPS), *(f"reference, K = {k}" for k in KEEPS)
    table(f"Pruners alone, ms, n = {N}, ONNX Runtime {onnxruntime.__version__}", columns, rows)
    rows = []
    for name in names:
        builds = {loop: built(name, KEEPS[0], tokens, loop) for loop in (True, False)}
        if builds[True][2] == builds[False][2]:
            continue  # it has no loop
        spent = in_turns({str(loop): call for loop, (call, _, _) in builds.items()}, ROUNDS)
        rows.append((name, *(f"{ms:.1f}" for ms in spent.values())))
        print(rows[-1], file=sys.stderr, flush=True)
    table(f"Loop operator or unrolled, K = {KEEPS[0]}", ("method", "loop operator, ms", "unrolled, ms"), rows)


if __name__ == "__main__":
    main()
