"""Statistics are exact, and the same to the last bit however the work was shared out."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vtp_export.calibration.columns import Block, Row, columns_of, from_file, joined, to_bytes
from vtp_export.calibration.distribution import correlation, covariance, distribution
from vtp_export.calibration.records import Origin, record_of
from vtp_export.calibrations import Broken, Selection
from vtp_export.errors import SpecError

MEASURES = ("erank", "attention_entropy")
ORIGIN = Origin(
    model_id="m",
    weights_sha256="0",
    preprocessing_sha256="1",
    engine="eager",
    dtype="float32",
    data="d",
    selection=Selection(total=100),
    batch=4,
    shard=None,
    measures=MEASURES,
    corruptions=(),
)


def blocks(count, seed, views=1):
    """Blocks of up to four pictures, each of some views, of numbers of every magnitude."""
    generator = np.random.default_rng(seed)
    made = []
    for number in range(count):
        rows = tuple(
            Row(
                position=4 * number + picture,
                name=f"{number}-{picture}.jpg",
                view=view,
                variant=0,
                digest=f"{number:032x}{picture:032x}",
                numbers=tuple(generator.lognormal(4, 3, 2).tolist()),
            )
            for picture in range(int(generator.integers(0, 5)))
            for view in range(views)
        )
        broken = (Broken(4 * number + 3, "x", "damaged"),) if len(rows) < 4 * views else ()
        made.append(Block(number=number, rows=rows, broken=broken))
    return made


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(3, 20),
    seed=st.integers(0, 99),
    views=st.integers(1, 3),
    parts=st.integers(1, 6),
    order=st.randoms(use_true_random=False),
)
def test_any_split_in_any_order_gives_the_same_record(count, seed, views, parts, order):
    every = blocks(count, seed, views)
    assume(any(block.rows for block in every))
    whole = columns_of(MEASURES, every)
    shuffled = list(every)
    order.shuffle(shuffled)
    pieces = [shuffled[part::parts] for part in range(parts)]
    columns = [columns_of(MEASURES, piece) for piece in pieces if any(block.rows for block in piece)]
    order.shuffle(columns)
    left = joined(columns)
    right = columns[0]
    for more in columns[1:]:
        right = joined([more, right])  # another order, another grouping
    assert to_bytes(left) == to_bytes(right) == to_bytes(whole)
    assert record_of(ORIGIN, left, 0, ()) == record_of(ORIGIN, whole, 0, ())
    assert len(left) == sum(len(block.rows) for block in every)


def test_a_view_is_counted_once():
    one = columns_of(MEASURES, blocks(5, 3))
    with pytest.raises(SpecError, match="is in two of the shards; each picture must be counted once"):
        joined([one, one])


def test_columns_are_read_as_they_were_written(tmp_path):
    whole = columns_of(MEASURES, blocks(6, 3, views=2))
    path = tmp_path / "c.npz"
    path.write_bytes(to_bytes(whole))
    found = from_file(path, record_of(ORIGIN, whole, 0, ()).columns_sha256)
    assert to_bytes(found) == to_bytes(whole) and found.names == whole.names
    path.write_bytes(to_bytes(whole)[:-9] + b"123456789")
    with pytest.raises(SpecError, match="was changed after it was written"):
        from_file(path, record_of(ORIGIN, whole, 0, ()).columns_sha256)


def test_views_and_pictures_are_told_apart():
    whole = columns_of(MEASURES, blocks(6, 3, views=3))
    record = record_of(ORIGIN, whole, 2, (Broken(7, "b", "r"), Broken(3, "a", "r")))
    assert record.views == 3 * record.images == record.measures["erank"].count
    assert record.per_picture["erank"].count == record.images
    assert record.per_picture["erank"].mean == pytest.approx(record.measures["erank"].mean)
    assert record.per_picture["erank"].std < record.measures["erank"].std
    assert [one.name for one in record.listed] == ["a", "b"]


def test_covariance_is_that_of_numpy():
    columns = columns_of(MEASURES, blocks(9, 4)).numbers
    found = covariance(columns)
    np.testing.assert_allclose(
        [[found[a][b] for b in MEASURES] for a in MEASURES], np.cov([columns[name] for name in MEASURES]), rtol=1e-12
    )


def test_distribution_by_hand():
    found = distribution([1.0, 2.0, 3.0, 10.0])
    assert (found.count, found.mean, found.min, found.max) == (4, 4.0, 1.0, 10.0)
    assert found.std == pytest.approx(np.std([1, 2, 3, 10], ddof=1))
    assert found.quantiles["0.5"] == 2.5
    assert sum(found.histogram) == 4
    assert len(found.edges) == len(found.histogram) + 1
    assert correlation([1, 2, 3], [3, 2, 1]) == -1.0
    assert correlation([1, 1], [1, 2]) is None
