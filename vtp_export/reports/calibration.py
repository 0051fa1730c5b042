"""How complex images are to a model."""

from pathlib import Path

from vtp_export.calibrations import CalibrationRecord
from vtp_export.reports.table import Summary, Table


def calibration_summary(record: CalibrationRecord, model: str, out: Path) -> Summary:
    """The distribution of both measures, and where the record is."""
    measures = {"erank": record.erank, "attention entropy": record.attention_entropy}
    rows = [
        (name, d.mean, d.std, d.min, d.quantiles["0.25"], d.quantiles["0.5"], d.quantiles["0.75"], d.max)
        for name, d in measures.items()
    ]
    columns = ("measure", "mean", "std", "min", "25 %", "median", "75 %", "max")
    return (
        Table(f"{record.images} images of {record.data}", columns, rows),
        f"wrote {out}",
        f"next: vtp-export export {model} --calibration {out} --out DIR",
    )
