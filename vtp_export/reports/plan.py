"""What stays in float32 in int8, and what each group of layers loses: a table and a picture."""

from pathlib import Path

from vtp_export.errors import ArtefactError
from vtp_export.precision_plans import PrecisionPlan
from vtp_export.reports.figures import bars, save_figure
from vtp_export.reports.table import Table
from vtp_export.runtime.writing import sentence

PICTURE = "precision-plan.svg"
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


def draw_plan(plan: PrecisionPlan, folder: Path) -> str:
    """Write the picture: a bar for each group, as long as the share of a gate that it uses up.

    Args:
        plan: with sensitivities.
        folder: made if absent.

    Returns:
        Name of the file.

    Raises:
        UnavailableError: matplotlib is not installed.
        ArtefactError: the file cannot be written.
    """
    lengths = {one.group.removeprefix("frontend."): one.share for one in plan.sensitivities}
    marked = [one.group in plan.float32 for one in plan.sensitivities]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtefactError(sentence(error, folder)) from error
    figure = bars(lengths, marked, ("stays in float32", "int8"), "share of the nearest gate that it uses up alone")
    save_figure(figure, folder / PICTURE)
    return PICTURE
