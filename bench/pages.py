"""Write docs/pruners.md from what the files in `pruners/` say of themselves.

python -m bench.pages
"""

import ast
import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import torch

from vtp_export import rooms
from vtp_export.functional.tokens import Tokens
from vtp_export.spec import Candidates

N = 64
PAGE = Path(__file__).parent.parent / "docs" / "pruners.md"

HEAD = """# Pruners

Made by `python -m bench.pages` from the docstrings, and held to them by a test. Every method below is in the exported
graph, and has a twin in `reference/` that follows its paper or release literally, in float64, one image at a time.

Exactness: *exact* means that in float64 the graph keeps what the twin keeps, token by token, and that in float32
(eager, ONNX, TorchScript, `.pt2`) every difference is one that rounding explains. *Merging* methods are also held to
the weights of their mixtures. *Chaotic* methods are exact in float64; in float32 one swapped pair changes all that
follows, so that only the overlap is judged, and `validate` says so. The laws are `tests/laws/test_pruner_laws.py`.

Cost: n tokens of d channels, k of them kept; an order of n weights is n x n comparisons. A loop is one operator, so the
graph does not grow with k, unless it is built for a target without loops (`loop = False` on the pruner), where the
rounds unroll.

What each does to answers: [comparison.md](comparison.md). What each costs in milliseconds at full size, where it has
been measured: [bench/RESULTS.md](../bench/RESULTS.md).

Published, in the table: average over nine benchmarks of LLaVA-1.5-7B in % of the unpruned model, at 128 / 64 / 32
tokens (AgilePruner, ICLR 2026, Table 7). None of these numbers was measured here.
"""

ENTRIES = ("Source", "Licence", "Differs", "Cost", "Published", "Use it when")
"""Paragraphs at the end of every docstring."""

SETTING = re.compile(r"^(\w+(?:, \w+)*): ((?:.|\n(?! *\w+(?:, \w+)*: |$))*)", re.MULTILINE)
"""A setting in the docstring of a `Config`: names, then the meaning up to the next one."""

TABLE_7 = re.compile(r"^(\d+\.\d+ / \d+\.\d+ / \d+\.\d+) at 128 / 64 / 32 tokens .*Table 7")


def page() -> str:
    """The whole page."""
    names = rooms.names("pruners")
    table = ["| method | reads | works | output | exactness | published | settings |", "|---" * 7 + "|"]
    sections = []
    for name in names:
        room = rooms.load("pruners", name)
        about, entries = told(name)
        figures = TABLE_7.match(" ".join(entries["Published"].split()))
        cells = (
            ", ".join(room.NEEDS) or "-",
            _stage(room),
            _order(room),
            _exactness(name, room),
            figures[1] if figures else "-",
            ", ".join(f"`{field.name}={field.default}`" for field in dataclasses.fields(room.Config)),
        )
        table.append(f"| [`{name}`](#{name}) | {' | '.join(cells)} |")
        listed = [f"- **{entry}**: {_indented(text)}" for entry, text in entries.items()]
        sections.append(
            "\n".join(
                [f"## {name}", "", about, "", *listed, "", "Settings and their defaults:", "", *_settings(room), ""]
            )
        )
    return "\n".join([HEAD, *table, "", *sections])


def told(name: str) -> tuple[str, dict[str, str]]:
    """What a file says of its method: the text, and the entries at its end, each under its word.

    Raises:
        ValueError: an entry is missing, or they are not in the order of `ENTRIES`.
    """
    text = ast.get_docstring(ast.parse((rooms.PACKAGE / "pruners" / f"{name}.py").read_text(encoding="utf-8"))) or ""
    about, *parts = re.split(rf"^({'|'.join(ENTRIES)}): ", text, flags=re.MULTILINE)
    if tuple(parts[::2]) != ENTRIES:
        raise ValueError(f"pruners/{name}.py: the docstring ends with {parts[::2]}, not with {list(ENTRIES)}")
    return about.strip(), dict(zip(ENTRIES, (part.strip() for part in parts[1::2]), strict=True))


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _settings(room: Any) -> list[str]:
    """Lines: one or two settings with their defaults, and what the docstring of `Config`, or a base, says of them."""
    left = {field.name: field.default for field in dataclasses.fields(room.Config)}
    lines = []
    for kind in room.Config.__mro__[:-1]:
        for names, text in SETTING.findall(inspect.getdoc(kind) or ""):
            told_here = [f"`{name}={left.pop(name)}`" for name in names.split(", ") if name in left]
            lines += [f"- {', '.join(told_here)}: {' '.join(text.split())}"] if told_here else []
    return [*lines, *(f"- `{name}={default}`: ignored." for name, default in left.items())]


def _stage(room: Any) -> str:
    return {"hidden": "before the projector", "projected": "after the projector"}[room.STAGE]


def _order(room: Any) -> str:
    return "in spatial order" if getattr(room, "ORDER", "ascending") == "ascending" else "in the method's order"


def _exactness(name: str, room: Any) -> str:
    if getattr(room, "CHAOTIC", False):
        return "chaotic"
    pruner = room.Pruner(room.Config(keep=N // 4) if name != "none" else room.Config(), Candidates((8, 8)))
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


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
