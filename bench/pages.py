"""Write docs/pruners.md and docs/inllm.md from what the files in `pruners/` and `inllm/` say of themselves.

python -m bench.pages
"""

import ast
import re
from collections.abc import Sequence
from pathlib import Path

from vtp_export import rooms
from vtp_export.functional.tokens import KINDS
from vtp_export.pruners.base import settings_of
from vtp_export.settings import Setting
from vtp_export.spec import Candidates

CANDIDATES = Candidates((24, 24))
PAGE = Path(__file__).parent.parent / "docs" / "pruners.md"

HEAD = """# Pruners

Made by `python -m bench.pages` from the docstrings, and held to them by a test. Every method below is in the exported
graph, and has a twin in `reference/` that follows its paper or release literally, in float64, one image at a time.

Exactness: *exact* means that in float64 the graph keeps what the twin keeps, token by token, and that in float32
(eager, ONNX, TorchScript, `.pt2`) every difference is one that rounding explains. *Merging* methods are also held to
the weights of their mixtures. *Chaotic* methods are exact in float64; in float32 one swapped pair changes all that
follows, so that only the overlap is judged, and `validate` says so. The laws are in `tests/laws/`.

Cost: n tokens of d channels, k of them kept; an order of n weights is n x n comparisons. A loop is one operator, so the
graph does not grow with k, unless it is built for a target without loops (`--loop-free`), where the rounds unroll.

What a method reads is told at its defaults; settings may change it. Of these signals, features are {features}; weights
of attention are {attention}.

Methods inside the language model (FastV, SparseVLM, PyramidDrop) are in no exported graph: [inllm.md](inllm.md).

What each does to answers: [comparison.md](comparison.md). What each costs in milliseconds at full size, where it has
been measured: [bench/RESULTS.md](../bench/RESULTS.md).

Published, in the table: average over nine benchmarks of LLaVA-1.5-7B in % of the unpruned model, at 128 / 64 / 32
tokens (AgilePruner, ICLR 2026, Table 7). None of these numbers was measured here.
"""

ENTRIES = ("Source", "Licence", "Differs", "Cost", "Published", "Use it when")
"""Paragraphs at the end of every docstring."""

TABLE_7 = re.compile(r"^(\d+\.\d+ / \d+\.\d+ / \d+\.\d+) at 128 / 64 / 32 tokens .*Table 7")


def page() -> str:
    """The whole page."""
    names = rooms.names("pruners")
    table = ["| method | reads | works | output | exactness | published | settings |", "|---" * 7 + "|"]
    sections = []
    for name in names:
        room = rooms.load("pruners", name)
        method = room.Pruner(room.Config(), CANDIDATES).method
        _, entries = told(name)
        figures = TABLE_7.match(" ".join(entries["Published"].split()))
        cells = (
            ", ".join(sorted(method.needs)) or "-",
            {"hidden": "before the projector", "projected": "after the projector"}[method.stage],
            "in spatial order" if method.ascending else "in the method's order",
            "chaotic" if method.chaotic else "exact, merging" if method.merges else "exact",
            figures[1] if figures else "-",
            ", ".join(f"`{setting.name}={setting.default}`" for setting in settings_of(name)),
        )
        table.append(f"| [`{name}`](#{name}) | {' | '.join(cells)} |")
        sections.append(section(name, "pruners", settings_of(name)))
    kinds = {
        kind: ", ".join(f"`{name}`" for name in KINDS if KINDS[name] == kind) for kind in ("features", "attention")
    }
    return "\n".join([HEAD.format(**kinds), *table, "", *sections])


def section(name: str, room: str, settings: Sequence[Setting]) -> str:
    """What a file says of its method, and its settings."""
    about, entries = told(name, room)
    listed = [f"- **{entry}**: {_indented(text)}" for entry, text in entries.items()]
    lines = ["Settings with their defaults:", "", *map(_line, settings)]
    return "\n".join([f"## {name}", "", about, "", *listed, "", *lines, ""])


def told(name: str, room: str = "pruners") -> tuple[str, dict[str, str]]:
    """What a file says of its method: the text, and the entries at its end, each under its word.

    Raises:
        ValueError: an entry is missing, or they are not in the order of `ENTRIES`.
    """
    text = ast.get_docstring(ast.parse((rooms.PACKAGE / room / f"{name}.py").read_text(encoding="utf-8"))) or ""
    about, *parts = re.split(rf"^({'|'.join(ENTRIES)}): ", text, flags=re.MULTILINE)
    if tuple(parts[::2]) != ENTRIES:
        raise ValueError(f"{room}/{name}.py: the docstring ends with {parts[::2]}, not with {list(ENTRIES)}")
    return about.strip(), dict(zip(ENTRIES, (part.strip() for part in parts[1::2]), strict=True))


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _line(setting: Setting) -> str:
    text = setting.meaning.removesuffix(".")
    return f"- `{setting.name}={setting.default}`: {text}. It must be {setting.must_be}. Default: {setting.source}."


def main() -> None:
    """Write the pages."""
    from bench import inside

    PAGE.write_text(page(), encoding="utf-8")
    inside.PAGE.write_text(inside.page(), encoding="utf-8")


if __name__ == "__main__":
    main()
