"""From the numbers of views to a record."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.calibration.columns import Columns, columns_beside, from_file, to_bytes
from vtp_export.calibration.distribution import correlation, covariance, distribution
from vtp_export.calibrations import Broken, CalibrationRecord, Deviation, Measurement, calibration_from_json
from vtp_export.errors import SpecError
from vtp_export.json_records import read_text, to_json
from vtp_export.runtime.versions import built_by
from vtp_export.runtime.writing import atomically, write_atomically

LISTED = 1000
"""Pictures that could not be read, of which a record tells the names; all are counted."""

MAX_BYTES = 64 << 20
"""Of a record: many names of pictures that could not be read."""

Corruption = tuple[str, int]
"""A kind and a severity."""


@dataclass(frozen=True, kw_only=True)
class Origin(Measurement):
    """What numbers were made from, which shards of one calibration share but `shard`."""

    measures: tuple[str, ...]
    corruptions: tuple[Corruption, ...]

    def head(self) -> dict[str, Any]:
        """As JSON has it: what must be the same when work is taken up again."""
        head: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return head


def of_measurement(one: Measurement) -> dict[str, Any]:
    """The fields that an origin and its record share."""
    return {field.name: getattr(one, field.name) for field in dataclasses.fields(Measurement)}


def record_of(origin: Origin, columns: Columns, broken: int, listed: Sequence[Broken]) -> CalibrationRecord:
    """The record of at least one view.

    Args:
        origin: what the numbers were made from.
        columns: the numbers.
        broken: how many pictures could not be read.
        listed: those of them that are known by name.
    """
    clean = columns.clean()
    names, means = clean.per_picture()
    erank, entropy = clean.numbers.get("erank"), clean.numbers.get("attention_entropy")
    near = clean.numbers.get("distance_near")
    return CalibrationRecord(
        **of_measurement(origin),
        images=len(names),
        views=len(clean),
        broken=broken,
        listed=tuple(sorted(listed, key=lambda one: one.position)[:LISTED]),
        data_sha256=clean.data_sha256(),
        measures={name: distribution(values) for name, values in clean.numbers.items()},
        per_picture={name: distribution(v) for name, v in means.items()} if len(clean) > len(names) else {},
        covariance=covariance(clean.numbers),
        correlation=None if erank is None or entropy is None else correlation(erank, entropy),
        tau_max=None if near is None else float(np.median(near)),
        deviations=tuple(_deviation(columns, i + 1, *one) for i, one in enumerate(origin.corruptions)),
        columns_sha256=hashlib.sha256(to_bytes(columns)).hexdigest(),
        versions=built_by(),
    )


def _deviation(columns: Columns, variant: int, corruption: str, severity: int) -> Deviation:
    """Rows are sorted, so that the views of both are the same views in the same order."""
    clean = columns.clean().numbers["erank"]
    moved = np.abs(columns.picked(columns.variant == variant).numbers["erank"] - clean)
    return Deviation(
        corruption=corruption,
        severity=severity,
        difference=float(moved.mean()),
        of_mean=float(moved.mean() / clean.mean()),
        relative=float((moved / clean).mean()),
    )


def write_record(out: Path, record: CalibrationRecord, columns: Columns) -> None:
    """The numbers first, then the record that names them by their digest.

    Raises:
        ArtefactError: one of them cannot be written.
    """
    with atomically(columns_beside(out)) as file:
        file.write(to_bytes(columns))
    write_atomically(out, to_json(record))


def read_record(path: Path) -> tuple[CalibrationRecord, Columns]:
    """Both files.

    Raises:
        SpecError: one cannot be read, or they do not belong together.
    """
    try:
        record = calibration_from_json(read_text(path, "the record", MAX_BYTES))
    except SpecError as error:
        raise SpecError(f"'{path}' cannot be used: {error}") from error
    return record, from_file(columns_beside(path), record.columns_sha256)
