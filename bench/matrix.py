"""Write docs/matrix.md: which pruner does what on which family, asked of the loaders themselves.

python -m bench.matrix

Each family is its smallest checkpoints, those that the laws of `tests/laws/` are checked on.
"""

import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.laws.families import checkpoints_of, load_family
from vtp_export import rooms
from vtp_export.errors import ModelError
from vtp_export.graphs.assembly import ANY, in_tokens, needs_of
from vtp_export.settings import from_settings

PAGE = Path(__file__).parent.parent / "docs" / "matrix.md"

HEAD = """# Pruners and families

Made by `python -m bench.matrix`, which asks the loader of every family for what every pruner reads, and held to it by a
test. Families that answer alike share a column. What runs does on each of them what its reference does
(`tests/laws/test_families.py`), and the exported file of each family what its graph does
(`tests/laws/test_family_exports.py`).

- **yes**: with the attention that CLS pays, where it reads attention at all.
- **received**: it reads attention, the tower has no CLS token, and the attention that a token receives stands for it.
- **measure first**: it goes by the complexity of an average picture, which is published for LLaVA-1.5 alone: it asks
  for a record of `vtp-export calibrate`. **received, measure first**: both.
- a number: it is refused, for the reason below.

`hiprune` and `vscan` read an early layer besides: the 9th and the 6th of 24 in their releases, in a tower of another
depth the one at three eighths and at a quarter of it, and never one past the last that is read.
"""

ATTENTION = frozenset({"saliency", "early_saliency"})
"""Signals that are another thing where there is no CLS token."""


@dataclass(frozen=True)
class Column:
    """What a checkpoint is called, and its cell for each pruner: words, or why it is refused."""

    name: str
    cells: tuple[str, ...]


def columns(pruners: list[str]) -> Iterator[Column]:
    """Every family, in every kind that the laws know of."""
    for family in rooms.names("models"):
        for writer in checkpoints_of(family).WRITERS:
            with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = writer(Path(folder))
                cells = tuple(_cell(model, pruner) for pruner in pruners)
            name = writer.__name__.replace("_", " ").replace(family.replace("_", " "), f"`{family}`")
            yield Column(name if family in name else f"`{family}`: {name}", cells)


def _cell(model: str, pruner: str) -> str:
    settings = {} if pruner == "none" else {"keep": ANY}
    needs = needs_of(pruner, settings)
    try:
        loaded = load_family(model, needs)
    except ModelError as error:
        return str(error)
    received = bool(needs & ATTENTION) and loaded.frontend.saliency == "received"
    measured = from_settings(rooms.load("pruners", pruner).Config, in_tokens(settings, ANY)).calibrated
    words = ["received"] * received + ["measure first"] * (measured and not loaded.published)
    return ", ".join(words) or "yes"


def page() -> str:
    """The whole page."""
    pruners = rooms.names("pruners")
    groups: dict[tuple[str, ...], list[str]] = {}
    for column in columns(pruners):
        groups.setdefault(column.cells, []).append(column.name)
    refusals = [cell for cells in groups for cell in cells if cell.startswith("the pruner reads")]
    numbers = {reason: str(number) for number, reason in enumerate(dict.fromkeys(refusals), start=1)}
    lines = [HEAD, f"| pruner | {' | '.join(map(_letter, range(len(groups))))} |", "|---" * (len(groups) + 1) + "|"]
    for place, pruner in enumerate(pruners):
        cells = (numbers.get(cells[place], cells[place]) for cells in groups)
        lines.append(f"| [`{pruner}`](pruners.md#{pruner}) | {' | '.join(cells)} |")
    lines += ["", *(f"- **{_letter(i)}**: {', '.join(names)}" for i, names in enumerate(groups.values()))]
    lines += ["", *(f"{number}. {reason}." for reason, number in numbers.items()), ""]
    return "\n".join(lines)


def _letter(place: int) -> str:
    return chr(ord("A") + place)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
