"""What runs a plan, on a real GPU: its memory, streams, copies, graphs and DLPack. TensorRT is the FAKE all the same.

Skipped where there is no GPU.
"""

import itertools
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from tests.tensorrt_api import real_cuda
from tests.tensorrt_api.fake_machine import World
from vtp_export.backends.tensorrt_rtx import Backend as RtxBackend
from vtp_export.errors import ImageError, UnavailableError
from vtp_export.pipeline.build import build
from vtp_export.pipeline.check import check
from vtp_export.runtime import cuda
from vtp_export.runtime.dlpack import CUDA, DeviceArray
from vtp_export.runtime.front_end import load

pytestmark = pytest.mark.skipif(real_cuda.why_none() is not None, reason=str(real_cuda.why_none()))


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    gpu = real_cuda.Gpu()
    yield gpu
    gpu.free()
    assert not gpu.errors


@pytest.fixture
def planned(artefact, gpu, monkeypatch, tmp_path):
    World(monkeypatch, "11.4.0", device=gpu)
    shutil.copytree(artefact, tmp_path / "artefact")
    build(tmp_path / "artefact")
    return tmp_path / "artefact"


def pixels(batch, seed=0):
    return np.random.default_rng(seed).standard_normal((batch, 3, 42, 42), dtype=np.float32)


def same(expected, found):
    for name, array in vars(expected).items():
        if array is not None:
            assert np.array_equal(array, vars(found)[name]), name


def test_the_plan_is_named_after_the_capability_that_torch_tells(planned):
    major, minor = torch.cuda.get_device_capability()
    assert (planned / f"model.sm{major}{minor}.plan").is_file()
    assert cuda.device_name() == torch.cuda.get_device_name()


def test_a_plan_passes_the_check(planned):
    report = check(planned, formats=("tensorrt",))
    assert report.passed, report.failures


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_batches_of_all_sizes_give_what_the_onnx_file_gives(planned, cuda_graphs):
    options = {"cuda_graphs": cuda_graphs}
    with load(planned, "onnx", device="cpu") as expected, load(planned, "tensorrt", options=options) as found:
        for turn, batch in itertools.product(range(4), (1, 3, 16)):
            same(expected.run(pixels(batch, turn)), found.run(pixels(batch, turn)))


def test_eight_threads_at_once(planned):
    with load(planned, "onnx", device="cpu") as expected, load(planned, "tensorrt") as found:
        wanted = [expected.run(pixels(2, seed)) for seed in range(16)]
        with ThreadPoolExecutor(8) as pool:
            for one, other in zip(wanted, pool.map(lambda seed: found.run(pixels(2, seed)), range(16)), strict=True):
                same(one, other)


@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_from_device_to_device_behind_work_that_is_still_queued(planned, cuda_graphs):
    options = {"cuda_graphs": cuda_graphs}
    with load(planned, "onnx", device="cpu") as expected, load(planned, "tensorrt", options=options) as found:
        for seed in range(4):
            wanted = expected.run(pixels(2, seed))
            with torch.cuda.stream(torch.cuda.Stream()):
                torch.cuda._sleep(200_000_000)  # cycles: about a tenth of a second
                given = torch.from_numpy(pixels(2, seed)).pin_memory().to("cuda", non_blocking=True)
                results = {name: torch.from_dlpack(one) for name, one in found.run_device(given).items()}
            assert all(one.is_cuda for one in results.values())
            assert np.array_equal(results["kept"].cpu().numpy(), wanted.kept)
            assert np.array_equal(results["tokens"].cpu().numpy(), wanted.tokens)


def test_results_on_the_device_outlive_the_session_and_then_go(planned):
    with load(planned, "tensorrt") as found:
        results = found.run_device(torch.from_numpy(pixels(2)).cuda())
        wanted = found.run(pixels(2)).tokens
        found.run(pixels(2, seed=1))
    tokens = torch.from_dlpack(results.pop("tokens"))
    del results
    assert np.array_equal(tokens.cpu().numpy(), wanted)


def test_memory_goes_with_the_last_tensor():
    size = 2**28
    before, _ = torch.cuda.mem_get_info()
    buffer = cuda.Buffer(size)
    tensor = torch.from_dlpack(DeviceArray(buffer.pointer, (size // 4,), np.dtype("float32"), (CUDA, 0), buffer))
    del buffer
    assert torch.cuda.mem_get_info()[0] <= before - size
    tensor.fill_(1.0)
    assert float(tensor[-1]) == 1.0
    del tensor
    torch.cuda.synchronize()
    assert torch.cuda.mem_get_info()[0] >= before - size // 2


def test_a_tensor_on_the_host_is_refused(planned):
    with load(planned, "tensorrt") as found, pytest.raises((ImageError, BufferError)):
        found.run_device(torch.from_numpy(pixels(1)))


def test_too_much_memory_is_one_sentence_and_the_device_is_well_afterwards():
    with pytest.raises(UnavailableError, match="out of memory"):
        cuda.Buffer(2**50)
    stream, data = cuda.Stream(), np.arange(1000.0)
    buffer, back = cuda.Buffer(data.nbytes), np.empty_like(data)
    stream.upload(data, buffer.pointer)
    stream.download(buffer.pointer, back)
    stream.wait()
    stream.destroy()
    assert np.array_equal(back, data)


def test_tensorrt_for_rtx_says_where_it_does_not_run(planned, gpu, monkeypatch):
    World(monkeypatch, "rtx-1.7.1", device=gpu)
    if cuda.compute_capability() != "9.0":
        pytest.skip("this GPU may be one of its own")
    with pytest.raises(UnavailableError, match=r"has 9\.0"):
        RtxBackend().unfit(None)
