"""Write docs/pruners.md from what the files in `pruners/` say of themselves.

python -m bench.pages
"""

import ast
import dataclasses
from pathlib import Path
from typing import Any

import torch

from vtp_export import rooms
from vtp_export.functional.tokens import Tokens

N = 64
PAGE = Path(__file__).parent.parent / "docs" / "pruners.md"

HEAD = """# Pruners

Made by `python -m bench.pages` from the docstrings, and held to them by a test. Every method below is in the exported
graph, and has a twin in `reference/` that follows its paper or release literally, in float64, one image at a time.

Exactness: *exact* means that in float64 the graph keeps what the twin keeps, token by token, and that in float32
(eager, ONNX, TorchScript, `.pt2`) every difference is one that rounding explains. *Merging* methods are also held to
the weights of their mixtures. *Chaotic* methods are exact in float64; in float32 one swapped pair changes all that
follows, so that only the overlap is judged, and `validate` says so. The laws are `tests/laws/test_pruner_laws.py`.

What each does to answers: [comparison.md](comparison.md). What each costs in milliseconds at full size, where it has
been measured: [bench/RESULTS.md](../bench/RESULTS.md).

Published: average over nine benchmarks of LLaVA-1.5-7B in % of the unpruned model, at 128 / 64 / 32 tokens
(AgilePruner, ICLR 2026, Table 7). None of these numbers was measured here.
"""

PUBLISHED = {
    "adaptive": "98.04 / 96.76 / 94.02",
    "divprune": "97.25 / 95.02 / 92.16",
    "prumerge_plus": "95.64 / 92.76 / 87.01",
    "visionzip": "97.19 / 94.46 / 89.41",
    "vispruner": "98.01 / 95.07 / 90.75",
}


def page() -> str:
    """The whole page."""
    names = rooms.names("pruners")
    table = ["| method | reads | works | output | exactness | published |", "|---|---|---|---|---|---|"]
    sections = []
    for name in names:
        room = rooms.load("pruners", name)
        cells = (
            ", ".join(room.NEEDS) or "-",
            _stage(room),
            _order(room),
            _exactness(name, room),
            PUBLISHED.get(name, "-"),
        )
        table.append(f"| [`{name}`](#{name}) | {' | '.join(cells)} |")
        sections.append(_section(name, room))
    return "\n".join([HEAD, *table, "", *sections])


def _stage(room: Any) -> str:
    return {"hidden": "before the projector", "projected": "after the projector"}[room.STAGE]


def _order(room: Any) -> str:
    return "in spatial order" if getattr(room, "ORDER", "ascending") == "ascending" else "in the method's order"


def _exactness(name: str, room: Any) -> str:
    if getattr(room, "CHAOTIC", False):
        return "chaotic"
    pruner = room.Pruner(room.Config(keep=N // 4) if name != "none" else room.Config(), N)
    return "exact" if pruner(_signals()).mix is None else "exact, merging"


def _signals() -> Tokens:
    """Some image's, to see what a pruner returns."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "hidden": (N, 24),
        "projected": (N, 24),
        "cls": (1, 24),
        "keys": (N + 1, 24),
        "following_keys": (N + 1, 24),
    }
    drawn = {name: torch.randn(1, *shapes.get(name, (N,)), generator=generator).abs() for name in Tokens._fields}
    return Tokens(**drawn)


def _section(name: str, room: Any) -> str:
    text = ast.get_docstring(ast.parse(Path(room.__file__).read_text(encoding="utf-8"))) or ""
    settings = [
        f"`{field.name}={getattr(room.Config(), field.name)}`"
        for field in dataclasses.fields(room.Config)
        if field.name
    ]
    told = f"Settings and their defaults: {', '.join(settings)}." if settings else "It has no settings."
    return f"## {name}\n\n{text}\n\n{told}\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
