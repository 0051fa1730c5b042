"""The rest of docs/inllm.md: what the methods in `inllm/` say of themselves, and how they spend a budget.

What stands above `MADE` on that page is written by hand. See `bench.pages`.
"""

from pathlib import Path

from bench import pages
from vtp_export import rooms
from vtp_export.inllm._budgets import mean_tokens
from vtp_export.inllm.base import Method, settings_of
from vtp_export.settings import from_settings

PAGE = Path(__file__).parent.parent / "docs" / "inllm.md"
MADE = "<!-- From here on made by `python -m bench.pages`, and held to the code by a test. -->"
TOKENS, LAYERS = 576, 32
"""Of LLaVA-1.5-7B."""

SHOWN: tuple[tuple[str, dict[str, str]], ...] = (
    ("fastv", {}),
    ("pyramiddrop", {}),
    ("sparsevlm", {}),
    ("sparsevlm", {"version": "v2"}),
    ("sparsevlm", {"lists": "released"}),
    ("sparsevlm", {"version": "v2", "lists": "released"}),
)


def page() -> str:
    """The whole page."""
    head = PAGE.read_text(encoding="utf-8").partition(MADE)[0]
    sections = [pages.section(name, "inllm", settings_of(name)) for name in rooms.names("inllm")]
    return "\n".join([head + MADE, "", "## Budgets", "", budgets(), "", *sections])


def budgets() -> str:
    """A table: what each method makes of the papers' budgets."""
    lines = ["| method | `--keep` | cuts | tokens a layer | booked |", "|---|---|---|---|---|"]
    for name, settings in SHOWN:
        label = f"{name}:{','.join(f'{key}={value}' for key, value in settings.items())}".removesuffix(":")
        for keep in (192, 128, 64):
            room = rooms.load("inllm", name)
            method = room.Method(from_settings(room.Config, {**settings, "keep": keep}))
            lines.append(f"| `{label}` | {keep} | {_spent(method)} |")
    about = (
        f"Of {TOKENS} tokens in {LAYERS} layers (LLaVA-1.5-7B). `3: 271 + 10`: after three layers 271 tokens stay and "
        "10 are merged from others."
    )
    return "\n".join([about, "", *lines])


def _spent(method: Method) -> str:
    cuts = method.cuts(TOKENS, LAYERS)
    told = ", ".join(f"{cut.before}: {cut.keep}" + (f" + {cut.merged}" if cut.merged else "") for cut in cuts)
    booked = mean_tokens(method.booked_tokens(TOKENS, LAYERS))
    return f"{told} | {method.processed(TOKENS, LAYERS):.1f} | {booked:.1f}"
