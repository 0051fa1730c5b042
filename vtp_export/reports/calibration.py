"""How complex images are to a model."""

import shlex
from pathlib import Path

from vtp_export.calibrations import CalibrationRecord, Distribution
from vtp_export.reports.table import Summary, Table

NAMES = {
    "erank": "erank",
    "erank_uncentred": "erank, not centred",
    "attention_entropy": "attention entropy",
    "distance_mean": "cosine distance, mean",
    "distance_near": "cosine distance, near",
    "distance_median": "cosine distance, median",
}
COLUMNS = ("measure", "mean", "std", "min", "25 %", "median", "75 %", "max")


def calibration_summary(record: CalibrationRecord, out: Path) -> Summary:
    """The distribution of every measure, what was passed over, and where the record is."""
    return (*calibration_tables(record), *calibration_sentences(record), *_next(record, out))


def calibration_tables(record: CalibrationRecord) -> tuple[Table, ...]:
    """Distributions over views, over pictures where these are several views, and what corruptions do."""
    views = "" if record.views == record.images else f", {record.views} views"
    tables = [_distributions(f"{record.images} images of {record.data}{views}", record.measures)]
    if record.per_picture:
        tables.append(_distributions("means over the views of each image", record.per_picture))
    return tuple(tables)


def calibration_sentences(record: CalibrationRecord) -> tuple[str, ...]:
    """What else the record says."""
    said = []
    if record.correlation is not None:
        said.append(f"erank and attention entropy correlate: r = {record.correlation:.2f}")
    if record.tau_max is not None:
        said.append(
            f"tau_max from these images would be {record.tau_max:.3g}: within that distance the median image's tokens "
            "have 8 others; the default, 0.25, stays unless you set it"
        )
    if record.broken:
        names = "; ".join(one.reason for one in record.listed[:3])
        said.append(f"{record.broken} images could not be read: {names}{'; ...' if record.broken > 3 else ''}")
    return tuple(said)


def _next(record: CalibrationRecord, out: Path) -> tuple[str, ...]:
    if record.shard is not None:
        number, shards = record.shard
        return (
            f"wrote shard {number} of {shards} into {out}",
            f"next, when all are there: vtp-export calibrate --merge {shlex.quote(str(out))} --out FILE",
        )
    model = shlex.quote(record.model_id)
    return (f"wrote {out}", f"next: vtp-export export {model} --calibration {shlex.quote(str(out))} --out DIR")


def _distributions(title: str, measures: dict[str, Distribution]) -> Table:
    rows = [
        (NAMES[name], d.mean, d.std, d.min, d.quantiles["0.25"], d.quantiles["0.5"], d.quantiles["0.75"], d.max)
        for name, d in measures.items()
    ]
    return Table(title, COLUMNS, rows)
