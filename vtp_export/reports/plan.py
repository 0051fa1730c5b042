"""What stays in float32 in int8, and what each group of layers loses: a table and a picture."""

from vtp_export.precision_plans import PrecisionPlan
from vtp_export.reports.figures import bars, svg_uri
from vtp_export.reports.page import Figure
from vtp_export.reports.table import Table

TITLE = "what each group of layers loses when it alone is in int8"
COLUMNS = ("group of layers", "as good", "Jaccard", "erank error", "cosine", "share of a gate", "stays in")


def plan_tables(plan: PrecisionPlan | None) -> tuple[Table, ...]:
    """A row for each group, in the graph's order; no table where nobody had to choose."""
    if plan is None or not plan.sensitivities:
        return ()
    rows = [
        (
            one.group,
            None if one.worth is None else f"{one.worth:.4f}",
            f"{one.jaccard:.4f}",
            None if one.erank is None else f"{one.erank:.1e}",
            None if one.cosine is None else f"{one.cosine:.6f}",
            f"{one.share:.2f}",
            "float32" if one.group in plan.float32 else "int8",
        )
        for one in plan.sensitivities
    ]
    return (Table(TITLE, COLUMNS, rows),)


def draw_plan(plan: PrecisionPlan) -> Figure:
    """A bar for each group, as long as the share of a gate that it uses up.

    Args:
        plan: with sensitivities.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    lengths = {one.group.removeprefix("frontend."): one.share for one in plan.sensitivities}
    marked = [one.group in plan.float32 for one in plan.sensitivities]
    figure = bars(lengths, marked, ("stays in float32", "int8"), "share of the nearest gate that it uses up alone")
    alt = (
        f"A bar for each of {len(lengths)} groups of layers; {sum(marked)} stay in float32. The table has the numbers."
    )
    return Figure(svg_uri(figure), TITLE.capitalize(), alt)
