"""The full-size front end in one run, side by side: export, memory, latency, and where the pruner's time goes.

python -m bench.frontend [FOLDER]        FOLDER keeps the checkpoint and the artefacts; default bench/out
"""

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from bench.checkpoint import VISION, write_checkpoint
from bench.measure import in_process, in_turns
from vtp_export.backends.onnx import Backend
from vtp_export.functional.erank import effective_rank
from vtp_export.functional.similarity import spectral_gram
from vtp_export.functional.tokens import Tokens
from vtp_export.progress import silent
from vtp_export.pruners import adaptive
from vtp_export.reference.adaptive import select
from vtp_export.reference.base import Signals
from vtp_export.runtime.brief import Brief
from vtp_export.runtime.front_end import load
from vtp_export.spec import BatchRange, Candidates, TensorSpec

CANDIDATES = Candidates((24, 24))
N, D, K = CANDIDATES.n, 4096, 64
ROUNDS = 9

EXPORT = """
from vtp_export import export
export({model!r}, {out!r}, pruner={pruner!r}, settings={settings!r}, golden={golden}, force=True,
       **{options!r})
"""

# What people do today: Hugging Face's tower, then the projector, nothing pruned. Read at hidden state -2 as LLaVA does,
# the exporter drops the 24th layer as dead code; read at -1, or by an exporter that keeps what is dead, it stays.
BY_HAND = """
import torch
from torch import nn
from safetensors import safe_open
from transformers import CLIPVisionConfig, CLIPVisionModel
from pathlib import Path
folder, out = Path({model!r}), Path({out!r})
class Usual(nn.Module):
    def __init__(self):
        super().__init__()
        self.vision_tower = CLIPVisionModel(CLIPVisionConfig(**{vision!r}))
        self.linear_1, self.linear_2 = nn.Linear(1024, 4096), nn.Linear(4096, 4096)
    def forward(self, pixels):
        hidden = self.vision_tower(pixels, output_hidden_states=True).hidden_states[{state}][:, 1:]
        return self.linear_2(nn.functional.gelu(self.linear_1(hidden)))
model = Usual().eval()
state = model.state_dict()
for shard in sorted(folder.glob("*.safetensors")):
    with safe_open(str(shard), "pt") as file:
        for name in file.keys():
            ours = name.replace("multi_modal_projector.", "")
            for option in (ours, ours.replace("vision_model.", "")):
                if option in state:
                    state[option].copy_(file.get_tensor(name))
out.mkdir(parents=True, exist_ok=True)
torch.onnx.export(model, (torch.randn(2, 3, 336, 336),), str(out / "model.onnx"), dynamo=True, external_data=True,
                  dynamic_shapes=({{0: torch.export.Dim("batch", min=1, max=16)}},), opset_version=20, verbose=False)
"""

BY_HAND_STATES = {"by hand 23 layers": -2, "by hand 24 layers": -1}

FIRST_RUN = """
import numpy as np
from vtp_export.runtime.front_end import load
with load({out!r}) as artefact:
    artefact.run(np.zeros((1, 3, 336, 336), dtype=np.float32))
"""


class PrunerGraph(nn.Module):
    """The pruner alone: signals in, selection out."""

    def __init__(self, pruner: nn.Module) -> None:
        super().__init__()
        self.pruner = pruner

    def forward(self, saliency: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
        """(b, n) and (b, n, d) to kept and the complexity."""
        selection = self.pruner(Tokens(projected, projected, saliency))
        measured = selection.erank if selection.erank is not None else selection.attention_entropy
        return selection.kept, measured


class ErankGraph(nn.Module):
    """Gram and effective rank alone."""

    def forward(self, projected: Tensor) -> tuple[Tensor]:
        """(b, n, d) to (b,)."""
        return (effective_rank(*spectral_gram(projected, True)),)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print Markdown."""
    print(f"\n### {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print("| " + " | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row) + " |", flush=True)


def exports(model: Path, out: Path) -> None:
    """Each in a process of its own; "and golden" writes its golden record of 8 pictures, too."""
    bare = in_process(
        "import torch, onnx, onnxscript, vtp_export.pipeline.export, transformers.models.clip.modeling_clip"
    )

    def ours(name: str, pruner: str, settings: dict[str, int], golden: int = 0) -> str:
        what = {"model": str(model), "out": str(out / name), "pruner": pruner, "settings": settings, "options": {}}
        return EXPORT.format(**what, golden=golden)

    jobs = {
        "adaptive": ours("adaptive", "adaptive", {"keep": K}),
        "none": ours("none", "none", {}),
        "adaptive and golden": ours("adaptive-and-golden", "adaptive", {"keep": K}, golden=8),
        **{
            name: BY_HAND.format(model=str(model), out=str(out / name.replace(" ", "-")), vision=VISION, state=state)
            for name, state in BY_HAND_STATES.items()
        },
    }
    rows: list[tuple[object, ...]] = []
    for name, code in jobs.items():
        seconds, processor, peak = in_process(code)
        weights = sum(file.stat().st_size for file in (out / name.replace(" ", "-")).glob("model.onnx*"))
        rows.append((name, seconds, processor, weights / 1e9, peak / 1e9, peak / weights))
    rows.append(("(imports alone)", bare[0], bare[1], 0.0, bare[2] / 1e9, "-"))
    table("Export", ("what", "seconds", "processor s", "file GB", "peak GB", "peak / file"), rows)
    weights = sum(file.stat().st_size for file in (out / "adaptive").glob("model.onnx*"))
    _, _, peak = in_process(FIRST_RUN.format(out=str(out / "adaptive")))
    _, _, idle = in_process("import numpy, onnxruntime, vtp_export.runtime.front_end")
    rows = [("open and first run", peak / 1e9, peak / weights), ("(imports alone)", idle / 1e9, "-")]
    table("Memory of the adaptive artefact", ("what", "peak GB", "peak / file"), rows)


def latencies(out: Path) -> float:
    """The three files in turns; returns the milliseconds of the adaptive one."""
    pixels = np.random.default_rng(0).standard_normal((1, 3, 336, 336), dtype=np.float32)
    by_hand = {
        name: onnxruntime.InferenceSession(str(out / name.replace(" ", "-") / "model.onnx")) for name in BY_HAND_STATES
    }

    def usual(name: str) -> object:
        return by_hand[name].run(None, {by_hand[name].get_inputs()[0].name: pixels})

    with load(out / "adaptive") as pruned, load(out / "none") as unpruned:
        spent = in_turns(
            {
                "none (23 layers, projector)": lambda: unpruned.run(pixels),
                f"adaptive, K = {K}": lambda: pruned.run(pixels),
                **{name: partial(usual, name) for name in BY_HAND_STATES},
            },
            ROUNDS,
        )
    first = next(iter(spent.values()))
    table("Latency in ONNX Runtime, batch 1", ("what", "ms", "ratio"), [(n, ms, ms / first) for n, ms in spent.items()])
    return spent[f"adaptive, K = {K}"]


def _session(
    graph: nn.Module, shapes: dict[str, tuple[int, ...]], outputs: int, folder: Path
) -> onnxruntime.InferenceSession:
    folder.mkdir(parents=True, exist_ok=True)
    specs = tuple(TensorSpec(name, "float32", ("b", *shape)) for name, shape in shapes.items())
    results = tuple(TensorSpec(f"out{i}", "float32", ("b",)) for i in range(outputs))
    brief = Brief(inputs=specs, outputs=results, batch=BatchRange(1, 1, 16), identity="")
    build = Backend().build(graph.eval(), brief, folder, silent)
    return onnxruntime.InferenceSession(str(folder / build.main))


def shares(out: Path, whole: float) -> None:
    """Where the pruner's time goes, and what the same costs elsewhere."""
    generator = np.random.default_rng(0)
    maps = generator.standard_normal((N, 64)) @ generator.standard_normal((64, D)) / 8
    features = (maps + 0.3 * generator.standard_normal((N, D)) + 0.5).astype(np.float32)
    saliency = generator.gamma(0.5, size=N).astype(np.float32)
    saliency /= saliency.sum()
    both = {"saliency": saliency[None], "projected": features[None]}
    shapes: dict[str, tuple[int, ...]] = {"saliency": (N,), "projected": (N, D)}
    by_erank, by_entropy = (
        _session(
            PrunerGraph(adaptive.Pruner(adaptive.Config(keep=K, complexity=complexity), CANDIDATES)),
            shapes,
            2,
            out / complexity,
        )
        for complexity in ("erank", "entropy")
    )
    erank = _session(ErankGraph(), {"projected": (N, D)}, 1, out / "erank-only")
    tensor = torch.from_numpy(features)
    settings = vars(adaptive.Config(keep=K).resolved()[0])
    signals = Signals(candidates=CANDIDATES, hidden=features, projected=features, saliency=saliency)
    known = dataclasses.replace(signals, complexity=90.0)

    def centred() -> Tensor:
        return tensor - tensor.mean(0)

    spent = in_turns(
        {
            "pruner in the graph (erank)": lambda: by_erank.run(None, both),
            "pruner in the graph (entropy)": lambda: by_entropy.run(None, both),
            "Gram and erank in the graph": lambda: erank.run(None, {"projected": features[None]}),
            "Gram and torch.linalg.eigvalsh": lambda: torch.linalg.eigvalsh(centred() @ centred().T),
            "torch.linalg.svdvals": lambda: torch.linalg.svdvals(centred()),
            "reference: SVD and walk, float64": lambda: select(signals, settings),
            "reference: walk alone, float64": lambda: select(known, settings),
        },
        ROUNDS,
    )
    columns = "what", "ms", "share of the adaptive front end"
    table(
        f"The pruner alone, n = {N}, d = {D}, K = {K}",
        columns,
        [(n, ms, f"{ms / whole:.1%}") for n, ms in spent.items()],
    )


def main() -> None:
    """Everything, in order."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "bench/out")
    model = out / "llava-geometry"
    if not (model / "config.json").is_file():
        write_checkpoint(model)
    print(
        f"torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}, ",
        end="",
    )
    print(f"{torch.get_num_threads()} threads")
    exports(model, out)
    shares(out, latencies(out))


if __name__ == "__main__":
    main()
