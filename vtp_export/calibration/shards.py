"""One record out of the shards of a calibration."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from vtp_export.calibration.columns import Columns, joined
from vtp_export.calibration.records import Origin, of_measurement, read_record, record_of
from vtp_export.calibrations import CalibrationRecord
from vtp_export.errors import SpecError

Shard = tuple[Path, CalibrationRecord, Columns]


def shard_path(folder: Path, shard: tuple[int, int]) -> Path:
    """The file of a shard.

    Example:
        >>> shard_path(Path("parts"), (2, 16)).name
        'shard-02-of-16.json'
    """
    number, shards = shard
    return folder / f"shard-{number:0{len(str(shards))}d}-of-{shards}.json"


def merged(folder: Path) -> tuple[CalibrationRecord, Columns]:
    """Join all shards below a folder, each of which must be there once.

    Raises:
        SpecError: there are none; one is damaged, missing or there twice, or belongs to another calibration.
    """
    if not folder.is_dir():
        raise SpecError(f"there is no folder '{folder}' of shards; make some with 'vtp-export calibrate --shard I/N'")
    paths = sorted(path for path in folder.rglob("*.json") if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise SpecError(f"there is no shard below '{folder}'; make some with 'vtp-export calibrate --shard I/N'")
    shards = [(path, *read_record(path)) for path in paths]
    _refuse_strangers(shards)
    first = shards[0][1]
    origin = dataclasses.replace(_origin(first), shard=None)
    columns = joined([columns for _, _, columns in shards])
    listed = [one for _, record, _ in shards for one in record.listed]
    record = record_of(origin, columns, sum(record.broken for _, record, _ in shards), listed)
    if record.images + record.broken != len(origin.selection):
        raise SpecError(
            f"the shards below '{folder}' tell of {record.images + record.broken} pictures and {len(origin.selection)} "
            "were to be measured; make them again"
        )
    return record, columns


def _refuse_strangers(shards: Sequence[Shard]) -> None:
    (first, wanted, _), seen = shards[0], dict[int, Path]()
    for path, record, _ in shards:
        if record.shard is None:
            raise SpecError(f"'{path}' is a whole record and no shard; name a folder that holds shards alone")
        one, other = (dataclasses.replace(_origin(each), shard=None).head() for each in (wanted, record))
        if one != other or record.shard[1] != wanted.shard[1]:  # type: ignore[index]
            key = next((key for key in one if one[key] != other[key]), "shard")
            was, now = (getattr(each, key, None) for each in (wanted, record))
            raise SpecError(f"'{path}' is of another calibration than '{first}': {key} is {now}, and {was} there")
        if record.shard[0] in seen:
            raise SpecError(
                f"shard {record.shard[0]} is there twice, as '{seen[record.shard[0]]}' and '{path}'; remove one"
            )
        seen[record.shard[0]] = path
    assert wanted.shard is not None
    if missing := [number for number in range(1, wanted.shard[1] + 1) if number not in seen]:
        few = ", ".join(map(str, missing[:10])) + (" ..." if len(missing) > 10 else "")
        raise SpecError(
            f"{len(missing)} of {wanted.shard[1]} shards are missing: {few}; run calibrate --shard for them"
        )


def _origin(record: CalibrationRecord) -> Origin:
    return Origin(
        **of_measurement(record),
        measures=tuple(record.measures),
        corruptions=tuple((one.corruption, one.severity) for one in record.deviations),
    )
