"""Rows on disk end as what `numpy.savez` writes."""

import io

import numpy as np

from vtp_export.runtime.rows import Rows


def test_it_is_what_numpy_writes(tmp_path):
    noise = np.random.default_rng(0)
    batches = [
        {
            "tokens": noise.random((b, 3, 4)).astype(np.float16),
            "kept": noise.integers(0, 9, (b, 3)),
            "erank": noise.random(b),
        }
        for b in (2, 1, 3)
    ]
    whole = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    first = {"images": np.array(["a.jpg", "ü.png"])}
    with Rows(tmp_path) as rows:
        for batch in batches:
            rows.add({name: np.asfortranarray(array) for name, array in batch.items()})
        file = io.BytesIO()
        rows.save(file, first)
        assert not list(tmp_path.iterdir())
    expected = io.BytesIO()
    np.savez(expected, **first, **whole)
    with np.load(io.BytesIO(file.getvalue())) as mine, np.load(io.BytesIO(expected.getvalue())) as theirs:
        assert list(mine) == list(theirs)
        for name in theirs:
            assert mine[name].dtype == theirs[name].dtype
            assert np.array_equal(mine[name], theirs[name])
