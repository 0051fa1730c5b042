"""A calibration as a page: distributions, how measures go together, subsets, corruptions, pictures from both ends."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vtp_export.calibration.columns import Columns
from vtp_export.calibrations import CalibrationRecord, Distribution
from vtp_export.reports.calibration import (
    NAMES,
    calibration_sentences,
    calibration_tables,
    covariance_table,
    deviations_table,
)
from vtp_export.reports.environment import EAGER, environment, packages_of
from vtp_export.reports.figures import histogram, scatter, svg_uri
from vtp_export.reports.overlay import contact_sheet
from vtp_export.reports.page import Figure, Picture, embedded, withdraw_page, write_page
from vtp_export.reports.table import Table, pairs
from vtp_export.runtime.images import batched

MOST_SUBSETS = 40
SHOWN = ("erank", "attention_entropy")
"""Measures that have a histogram, and stand under a picture."""
SHEET = 5
"""Pictures in a row of corruptions."""


@dataclass(frozen=True, kw_only=True)
class End:
    """A picture of a calibration. numbers: by measure. lit: with the kept tokens, None where nothing is pruned.

    corrupted: its forms by kind and severity, of one picture of a record.
    """

    name: str
    numbers: dict[str, float]
    image: Image.Image
    lit: Image.Image | None
    corrupted: tuple[tuple[tuple[str, int], Image.Image], ...] = ()


def write_calibration(folder: Path, record: CalibrationRecord, columns: Columns, ends: Iterable[End] = ()) -> Path:
    """Write `folder/index.html`.

    Args:
        folder: see `write_page`.
        record: what is told.
        columns: the numbers of every view.
        ends: pictures that are shown, one in memory at a time.

    Raises:
        ArtefactError: the folder cannot be written.
        UnavailableError: jinja2 or matplotlib is not installed.
    """
    withdraw_page(folder)
    clean = columns.clean()
    names, means = clean.per_picture()
    pictures, sheets = _pictures(ends)
    sentences = calibration_sentences(record)
    eager = record.engine == "eager"
    engine = "PyTorch" if eager else record.engine
    keeping = "one in nine, by adaptive set by this record" if eager else "by the artefact's pruner"
    values = {
        "command": "calibrate",
        "record": record,
        "verdict": f"{record.images} images, measured with {engine} in {record.dtype}",
        "lead": "; ".join(sentences) + ("." if sentences else ""),
        "headline": _headline(record),
        "tables": calibration_tables(record)[: 1 + bool(record.per_picture)],
        "histograms": [_histogram(name, record.measures[name]) for name in SHOWN if name in means],
        "scatter": _scatter(record, means),
        "covariance": covariance_table(record),
        "subsets": subsets_table(names, means),
        "deviations": deviations_table(record),
        "corruptions_lead": f"Over {record.images} pictures, each corrupted before the model's preprocessing.",
        "sheets": sheets,
        "pictures": pictures,
        "kept_lead": f"The simplest pictures first. Beside each, lit, the tokens that are kept of it: {keeping}.",
        "broken": _broken(record),
        "environment": environment(EAGER if eager else packages_of([record.engine])),
        "digests": pairs(
            "digests",
            {
                "model": record.model_id,
                "weights, SHA-256": record.weights_sha256,
                "preprocessing, SHA-256": record.preprocessing_sha256,
                "data": record.data,
                "pictures, SHA-256": record.data_sha256,
                "numbers, SHA-256": record.columns_sha256,
            },
        ),
    }
    return write_page(folder, "calibration.html.j2", values)


def _broken(record: CalibrationRecord) -> Table | None:
    rows = [(one.position, one.name, one.reason) for one in record.listed[:100]]
    return Table(f"{record.broken} pictures, some by name", ("place", "name", "reason"), rows) if rows else None


def _headline(record: CalibrationRecord) -> list[tuple[str, str]]:
    told = [(f"{NAMES[name]}, mean", f"{record.measures[name].mean:.4g}") for name in SHOWN if name in record.measures]
    if record.correlation is not None:
        told.append(("Pearson's r of the two", f"{record.correlation:.2f}"))
    if record.tau_max is not None:
        told.append(("tau_max proposed", f"{record.tau_max:.3g}"))
    return told


def _histogram(name: str, measured: Distribution) -> Figure:
    quartiles = [measured.quantiles[share] for share in ("0.25", "0.5", "0.75")]
    said = f"quartiles {', '.join(f'{value:.4g}' for value in quartiles)}; mean {measured.mean:.4g}"
    drawn = svg_uri(histogram(measured.histogram, measured.edges, NAMES[name], quartiles))
    return Figure(drawn, f"Histogram of {NAMES[name]}: {said}", f"A histogram of {NAMES[name]} over views; {said}.")


def _scatter(record: CalibrationRecord, means: Mapping[str, "np.ndarray[Any, Any]"]) -> Figure | None:
    if record.correlation is None:
        return None
    drawn = scatter(means["attention_entropy"], means["erank"], ("attention entropy, nats", "effective rank"))
    title = f"Attention entropy against effective rank, r = {record.correlation:.2f} over views"
    return Figure(svg_uri(drawn), title, "A cloud of points, one a picture.")


def subsets_table(names: list[str], means: Mapping[str, "np.ndarray[Any, Any]"]) -> Table | None:
    """Means of each subset, by the first folder of the names; None where there is one, or very many."""
    subsets = [name.split("/")[0] if "/" in name else "" for name in names]
    kinds = sorted(set(subsets))
    if not 1 < len(kinds) <= MOST_SUBSETS:
        return None
    told = [name for name in ("erank", "attention_entropy") if name in means]
    rows: list[tuple[object, ...]] = []
    for kind in kinds:
        mine = np.array([one == kind for one in subsets])
        rows.append((kind or "(no folder)", int(mine.sum()), *(float(means[name][mine].mean()) for name in told)))
    rows.sort(key=lambda row: float(row[2]))  # type: ignore[arg-type]
    return Table("subsets", ("subset", "pictures", *(NAMES[name] for name in told)), rows)


def _pictures(ends: Iterable[End]) -> tuple[list[Picture], list[Picture]]:
    shown, sheets = [], []
    for end in ends:
        cells = [("as it is", end.image), *([] if end.lit is None else [("kept tokens", end.lit)])]
        said = ", ".join(f"{NAMES[name]} {value:.4g}" for name, value in end.numbers.items() if name in SHOWN)
        alt = f"{end.name}, and the tokens that are kept of it"
        shown.append(((next(iter(end.numbers.values()))), embedded(contact_sheet([cells]), alt, end.name, said)))
        for severity in dict.fromkeys(case[1] for case, _ in end.corrupted):
            forms = [(case[0].replace("_", " "), image) for case, image in end.corrupted if case[1] == severity]
            sheet = contact_sheet(list(batched([("clean", end.image), *forms], SHEET)))
            caption = f"{end.name} at severity {severity}"
            sheets.append(embedded(sheet, f"{caption}: {', '.join(label for label, _ in forms)}", end.name, caption))
    return [picture for _, picture in sorted(shown, key=lambda pair: pair[0])], sheets
