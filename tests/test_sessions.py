"""Open artefacts under use: buffers, batches, threads, processes."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from vtp_export.errors import ImageError
from vtp_export.pipeline.load import load

ROOT = Path(__file__).parent.parent
FORMATS = ("onnx", "torchscript")


def pixels(batch, seed=0):
    return np.random.default_rng(seed).standard_normal((batch, 3, 42, 42), dtype=np.float32)


@pytest.fixture(params=FORMATS)
def session(request, artefact):
    with load(artefact, request.param) as opened:
        yield opened


def test_outputs_survive_the_next_run(session):
    first = session.run(pixels(2, 0))
    copies = {name: array.copy() for name, array in vars(first).items() if array is not None}
    session.run(pixels(2, 1))
    for name, copy in copies.items():
        assert np.array_equal(vars(first)[name], copy)


def test_outputs_belong_to_the_caller(session):
    first = session.run(pixels(1))
    first.tokens[:] = 7
    assert not np.any(session.run(pixels(1)).tokens == 7)


@pytest.mark.parametrize("batch", [2, 5, 16])
def test_a_batch_equals_its_images(session, batch):
    together = session.run(pixels(batch))
    for i in range(batch):
        alone = session.run(pixels(batch)[i : i + 1])
        assert np.array_equal(alone.kept[0], together.kept[i])
        assert np.allclose(alone.tokens[0], together.tokens[i], atol=1e-4 * np.abs(together.tokens).max())
        assert np.allclose(alone.erank[0], together.erank[i], rtol=1e-4)


def test_eight_threads_at_once(session):
    expected = [session.run(pixels(2, seed)) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda seed: session.run(pixels(2, seed % 8)), range(32)))
    for seed, result in enumerate(found):
        assert np.array_equal(result.kept, expected[seed % 8].kept)
        assert np.allclose(result.tokens, expected[seed % 8].tokens, atol=1e-5)


@pytest.mark.parametrize("fmt", FORMATS)
def test_two_processes_at_once(artefact, fmt):
    code = (
        f"import numpy as np; from vtp_export import load\n"
        f"with load({str(artefact)!r}, {fmt!r}) as s:\n"
        f"    x = np.random.default_rng(0).standard_normal((2, 3, 42, 42), dtype=np.float32)\n"
        f"    for _ in range(5): out = s.run(x)\n"
        f"print(out.kept.tolist())"
    )
    children = [
        subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(2)
    ]
    printed = [child.communicate()[0] for child in children]
    with load(artefact, fmt) as session:
        expected = str(session.run(pixels(2)).kept.tolist())
    assert [text.strip() for text in printed] == [expected, expected]


def test_closed_means_closed(artefact):
    session = load(artefact)
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.run(pixels(1))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros((1, 3, 41, 42), np.float32), "42"),
        (np.zeros((1, 1, 42, 42), np.float32), "3"),
        (np.zeros((3, 42, 42), np.float32), "42"),
        (np.zeros((1, 3, 42, 42), np.float64), "float32"),
        (np.zeros((17, 3, 42, 42), np.float32), "16"),
        (np.full((1, 3, 42, 42), np.nan, np.float32), "finite|NaN|nan"),
    ],
)
def test_wrong_pixels_are_refused(session, bad, words):
    with pytest.raises(ImageError, match=words):
        session.run(bad)
