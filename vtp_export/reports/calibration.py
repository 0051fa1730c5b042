"""How complex images are to a model."""

import shlex
from pathlib import Path

from vtp_export.calibrations import CalibrationRecord, Distribution
from vtp_export.reports.table import Summary, Table, mention

NAMES = {
    "erank": "erank",
    "erank_uncentred": "erank, not centred",
    "attention_entropy": "attention entropy",
    "distance_mean": "cosine distance, mean",
    "distance_near": "cosine distance, near",
    "distance_median": "cosine distance, median",
}
COLUMNS = ("measure", "mean", "std", "min", "25 %", "median", "75 %", "max")


def calibration_summary(record: CalibrationRecord, out: Path, page: Path | None = None) -> Summary:
    """The distribution of every measure, what was passed over, and where the record and its page are."""
    return (*calibration_tables(record), *calibration_sentences(record), *mention(page), *_next(record, out))


def calibration_tables(record: CalibrationRecord) -> tuple[Table, ...]:
    """Distributions over views, over pictures where these are several views, and what corruptions do."""
    views = "" if record.views == record.images else f", {record.views} views"
    tables = [_distributions(f"{record.images} images of {record.data}{views}", record.measures)]
    if record.per_picture:
        tables.append(_distributions("means over the views of each image", record.per_picture))
    if (deviations := deviations_table(record)) is not None:
        tables.append(deviations)
    return tuple(tables)


def deviations_table(record: CalibrationRecord) -> Table | None:
    """What each corruption does to erank, as the paper's Table 17; None where nothing was corrupted."""
    if not record.deviations:
        return None
    severities = sorted({one.severity for one in record.deviations})
    found = {(one.corruption, one.severity): one for one in record.deviations}
    kinds = list(dict.fromkeys(one.corruption for one in record.deviations))
    columns = [f"{what}, severity {s}" for s in severities for what in ("erank moves by", "of the mean", "relative")]
    table = [
        [
            number
            for severity in severities
            for number in (
                found[kind, severity].difference,
                100 * found[kind, severity].of_mean,
                100 * found[kind, severity].relative,
            )
        ]
        for kind in kinds
    ]
    means = [sum(column) / len(column) for column in zip(*table, strict=True)]
    named = [*zip(kinds, table, strict=True), ("average", means)]
    rows = [
        (name.replace("_", " "), *(f"{x:.2f}{' %' if i % 3 else ''}" for i, x in enumerate(line)))
        for name, line in named
    ]
    return Table("corruptions", ("corruption", *columns), rows)


def covariance_table(record: CalibrationRecord) -> Table:
    """Of each pair of measures."""
    rows = [(NAMES[name], *line.values()) for name, line in record.covariance.items()]
    return Table("covariance", ("covariance", *(NAMES[name] for name in record.covariance)), rows)


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
