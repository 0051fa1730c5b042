"""The laws of `backends/base.py`, for every file in `backends/`; TensorRT's also on a fake, and named so."""

import dataclasses
import importlib.util
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tensorrt_api.fake_machine import World
from tests.tensorrt_api.fake_tensorrt import RTX, VERSIONS
from vtp_export import rooms
from vtp_export.backends import base
from vtp_export.backends._torch import example_inputs
from vtp_export.errors import ArtefactError, UnavailableError
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.models._config import TowerConfig
from vtp_export.models._frontend import VisionFrontend
from vtp_export.models._projectors import TwoLayers
from vtp_export.models.toy import draw_weights
from vtp_export.progress import silent
from vtp_export.pruners import adaptive
from vtp_export.runtime.brief import Brief
from vtp_export.runtime.session import Session
from vtp_export.settings import described
from vtp_export.spec import BatchRange, Build, FileRecord, TensorSpec

ROOT = Path(__file__).parent.parent.parent
SIZES = TowerConfig(
    hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=42, patch_size=7
)
IDENTITY = "0123456789abcdef" * 4
LARGEST = 16
FAKE = " on the fake "
OLDER = [pytest.param(f"tensorrt{FAKE}{version}", marks=pytest.mark.whole) for version in VERSIONS[:-1]]
ON_A_FAKE = [*OLDER, f"tensorrt{FAKE}{VERSIONS[-1]}", f"tensorrt_rtx{FAKE}{RTX}"]


def backend(name):
    return rooms.load("backends", name).Backend()


@pytest.fixture(scope="module")
def graph():
    """36 tokens of 24 channels, and a pruner that uses every output: erank, and a count of its own."""
    frontend = VisionFrontend(SIZES, [1], projector=TwoLayers(width=24))
    draw_weights(frontend, 3)
    pruner = adaptive.Pruner(adaptive.Config(keep=8, count="adaptive", average=12.0), frontend.candidates)
    return PrunedFrontend(frontend, pruner).requires_grad_(False).eval()


@pytest.fixture(scope="module")
def names(graph):
    return tuple(spec.name for spec in graph.outputs)


@pytest.fixture(scope="module")
def brief(graph):
    return Brief(inputs=graph.inputs, outputs=graph.outputs, batch=BatchRange(1, 1, LARGEST), identity=IDENTITY)


@pytest.fixture(scope="module", params=[*rooms.names("backends"), *ON_A_FAKE])
def built(request, graph, brief, tmp_path_factory):
    """A format's name, the folder that it wrote into, and the record of what it wrote."""
    fmt, _, version = request.param.partition(FAKE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        if version:
            World(patch, version)
        if reason := backend(fmt).missing():
            pytest.skip(reason)
        source, folder = graph, tmp_path_factory.mktemp(fmt)
        if backend(fmt).source != "graph":
            place, between = tmp_path_factory.mktemp(f"source of {fmt}"), backend(backend(fmt).source)
            given = dataclasses.replace(brief, loops=backend(fmt).loops)
            source = place / between.build(graph, given, place, silent).main
        wanted = dataclasses.replace(brief, options=backend(fmt).BuildOptions())
        build = backend(fmt).build(source, wanted, folder, silent)
        if reason := unfit(fmt, build):
            pytest.skip(reason)
        yield fmt, folder, build


def unfit(fmt, build):
    """Why this machine's GPU does not run it: a format may be built for others."""
    try:
        return backend(fmt).unfit(build)
    except UnavailableError as error:
        return str(error)


@pytest.fixture
def before(request, built):
    """What another process must run before it can open the file."""
    version = request.node.callspec.params["built"].partition(FAKE)[2]
    return f"from tests.tensorrt_api.fake_machine import ForGood, World\nWorld(ForGood(), {version!r})\n" * bool(
        version
    )


def opened(built, brief, threads=None, device=None):
    fmt, folder, build = built
    of = backend(fmt)
    return of.open(folder, build, brief, of.device(device), threads, of.Options())


@pytest.fixture
def session(built, brief):
    with opened(built, brief) as session:
        yield session


def pixels(batch, seed=0):
    return {"pixel_values": np.random.default_rng(seed).standard_normal((batch, 3, 42, 42), dtype=np.float32)}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, wanted in expected.items():
        assert found[name].dtype == wanted.dtype
        assert found[name].shape == wanted.shape
        if wanted.dtype == np.int64:
            assert np.array_equal(found[name], wanted)
        else:
            assert np.allclose(found[name], wanted, atol=1e-4 * np.abs(wanted).max(), rtol=0)


@pytest.mark.parametrize("batch", [1, 2, LARGEST])
def test_a_file_agrees_with_eager(session, graph, names, batch):
    with torch.no_grad():
        eager = graph(torch.from_numpy(pixels(batch)["pixel_values"]))
    assert_same(session.run(pixels(batch)), {name: value.numpy() for name, value in zip(names, eager, strict=True)})


def test_the_images_differ_in_what_is_kept(session):
    found = session.run(pixels(LARGEST))
    assert len(set(found["num_kept"].tolist())) > 1
    assert len({tuple(row) for row in found["kept"].tolist()}) > 1


@pytest.mark.parametrize("batch", [2, 5, LARGEST])
def test_a_batch_is_its_images(session, batch):
    together, images = session.run(pixels(batch)), pixels(batch)["pixel_values"]
    alone = [session.run({"pixel_values": images[i : i + 1]}) for i in range(batch)]
    assert_same(together, {name: np.concatenate([one[name] for one in alone]) for name in together})


def test_outputs_survive_the_next_run(session):
    first = session.run(pixels(2, 0))
    copies = {name: array.copy() for name, array in first.items()}
    assert not np.array_equal(session.run(pixels(2, 1))["tokens"], copies["tokens"])
    for name, copied in copies.items():
        assert np.array_equal(first[name], copied)


def test_outputs_belong_to_the_caller(session):
    expected = {name: array.copy() for name, array in session.run(pixels(1)).items()}
    for array in session.run(pixels(1)).values():
        array[:] = 7
    assert_same(session.run(pixels(1)), expected)


def test_inputs_are_left_alone(session):
    given = pixels(2)
    session.run(given)
    assert np.array_equal(given["pixel_values"], pixels(2)["pixel_values"])


def test_eight_threads_at_once(session):
    expected = [session.run(pixels(2, seed)) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda seed: session.run(pixels(2, seed % 8)), range(32)))
    for turn, result in enumerate(found):
        assert_same(result, expected[turn % 8])


@pytest.mark.whole
def test_two_processes_at_once(built, before, brief, session):
    fmt, folder, build = built
    code = before + (
        "import sys, numpy as np; from pathlib import Path; from vtp_export import rooms\n"
        "from vtp_export.runtime.brief import Brief\n"
        "from vtp_export.spec import BatchRange, Build, EngineRecord, FileRecord, TensorSpec\n"
        "x = np.random.default_rng(0).standard_normal((2, 3, 42, 42), dtype=np.float32)\n"
        f"backend, brief, build = rooms.load('backends', {fmt!r}).Backend(), {brief!r}, {build!r}\n"
        f"folder, device = Path({str(folder)!r}), backend.device(None)\n"
        "with backend.open(folder, build, brief, device, 1, backend.Options()) as session:\n"
        "    for _ in range(5): kept = session.run({'pixel_values': x})['kept']\n"
        "print(kept.tolist())"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    printed = [child.communicate()[0].strip() for child in children]
    assert printed == [str(session.run(pixels(2))["kept"].tolist())] * 2


def test_arrays_of_the_device_go_in_and_come_out(built, session):
    """On the CPU, through the code that serves a GPU: what torch holds is read in place, what comes out is shared."""
    if "cpu" not in backend(built[0]).devices:
        pytest.skip("runs on no CPU; tests/backends/test_tensorrt.py gives it arrays of a fake GPU")
    given = torch.from_numpy(pixels(2)["pixel_values"])
    first = session.run_device({"pixel_values": given})
    assert all(value.__dlpack_device__() == (1, 0) for value in first.values())
    session.run_device({"pixel_values": torch.from_numpy(pixels(2, 1)["pixel_values"])})  # and the first ones survive
    assert_same({name: np.from_dlpack(value) for name, value in first.items()}, session.run(pixels(2)))


def test_one_thread_gives_the_same(built, brief, session):
    with opened(built, brief, threads=1) as single:
        assert_same(single.run(pixels(2)), session.run(pixels(2)))


def test_a_device_that_is_not_there_is_refused_in_one_sentence(built, brief):
    if torch.cuda.is_available() or built[0].startswith("tensorrt"):
        pytest.skip("there is a GPU, or a fake one")
    with pytest.raises(UnavailableError) as caught:
        opened(built, brief, device="cuda")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", rooms.names("backends"))
def test_a_device_that_the_format_has_not_is_refused(name):
    with pytest.raises(UnavailableError, match=f"{name} runs on {' or '.join(backend(name).devices)}, not on tpu"):
        backend(name).device("tpu")


def test_leaving_the_block_closes(built, brief):
    with opened(built, brief, 1) as session:
        session.run(pixels(1))
    session.close()  # nothing the second time
    with pytest.raises(ValueError, match="this session is closed"):
        session.run(pixels(1))
    with pytest.raises(ValueError, match="this session is closed"):
        session.run_device({"pixel_values": torch.from_numpy(pixels(1)["pixel_values"])})


def test_the_files_are_those_in_the_folder_and_carry_the_identity(built):
    fmt, folder, build = built
    assert (build.format, build.main) == (fmt, backend(fmt).main)
    assert all(name.startswith("model.") for name in build.files)
    assert set(build.files) == {path.name for path in folder.iterdir()}
    assert all(record.bytes == (folder / name).stat().st_size for name, record in build.files.items())
    # Every format so far has a place for it, and none of them compresses that place.
    assert IDENTITY.encode() in (folder / build.main).read_bytes()


def test_a_file_of_another_manifest_is_refused(built, brief):
    other = dataclasses.replace(brief, identity="f" * 64)
    expected = f"{built[2].main} was made for another manifest (0123456789ab instead of ffffffffffff); export again"
    with pytest.raises(ArtefactError, match=re.escape(expected)):
        opened(built, other)


def test_a_file_that_lacks_an_output_is_refused(built, brief):
    more = dataclasses.replace(brief, outputs=(*brief.outputs, TensorSpec("entropy", "float32", ("b",))))
    expected = r"the manifest promises .*entropy.*; export again"
    with pytest.raises(ArtefactError, match=expected) as caught, opened(built, more) as session:
        session.run(pixels(1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spec", [TensorSpec("kept", "int64", ("b", 9)), TensorSpec("kept", "int32", ("b", 12))])
def test_an_output_that_is_not_what_was_promised_is_refused(built, brief, spec):
    others = tuple(spec if output.name == "kept" else output for output in brief.outputs)
    expected = rf"'kept' as int64 .*, 12., and the manifest promises {spec.dtype} "
    with (
        pytest.raises(ArtefactError, match=expected) as caught,
        opened(built, dataclasses.replace(brief, outputs=others)) as session,
    ):
        session.run(pixels(2))
    assert "\n" not in str(caught.value)


def test_an_input_that_is_not_what_was_promised_is_refused(built, brief):
    other = dataclasses.replace(brief, inputs=(dataclasses.replace(brief.inputs[0], shape=("b", 3, 1, 1)),))
    if built[0] == "torchscript":
        pytest.skip("a trace does not tell the size of its input; its identity does")
    with pytest.raises(
        ArtefactError, match=r"'pixel_values' as float32 .*42, 42\], and the manifest promises float32 "
    ):
        opened(built, other)


def test_batches_that_a_file_does_not_take_are_refused(built, brief):
    """When it is opened; one that takes any batch runs them."""
    more = dataclasses.replace(brief, batch=BatchRange(1, 1, 10 * LARGEST))
    refused, asked = [], 10 * LARGEST
    try:
        with opened(built, more) as session:
            assert len(session.run(pixels(asked))["kept"]) == asked
    except ArtefactError as error:
        refused.append(str(error))
    expected = f"{built[2].main} takes batches of 1 to {LARGEST}, and the manifest promises 1 to {asked}; export again"
    assert refused in ([], [expected])


def test_the_example_inputs_are_not_stored(built, brief):
    _, folder, build = built
    written = b"".join((folder / name).read_bytes() for name in build.files)
    assert example_inputs(brief, 2)[0].numpy().tobytes()[:64] not in written


@pytest.mark.parametrize("content", [b"", b"garbage" * 99, None], ids=["empty", "garbage", "cut off"])
def test_a_file_that_the_runtime_refuses_is_one_sentence(built, brief, tmp_path, content):
    fmt, folder, build = built
    bad = tmp_path / build.main
    bad.write_bytes((folder / build.main).read_bytes()[:-200] if content is None else content)
    with pytest.raises(ArtefactError, match=rf"refuses {bad.name}: ") as caught:
        opened((fmt, tmp_path, build), brief)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", rooms.names("backends"))
def test_what_is_missing_is_named_with_the_command_that_helps(name, brief, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    reason = backend(name).missing()
    assert reason is not None
    assert re.search(r"is not installed: pip install '[a-z.]", reason)
    with pytest.raises(UnavailableError, match="is not installed: pip install"):
        opened((name, tmp_path, Build(name, "model", {"model": FileRecord(0, "")})), brief)


@pytest.mark.parametrize("name", rooms.names("backends"))
def test_importing_costs_nothing(name):
    heavy = {"torch", "onnx", "onnxruntime", "openvino", "executorch"}
    code = f"import sys, vtp_export.backends.{name}; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


# --- the contract itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", rooms.names("backends"))
def test_a_format_names_the_packages_that_a_check_depends_on(name):
    assert backend(name).packages, f"backends/{name}.py: a new version of its runtime must be checked anew: packages"


def test_no_two_formats_are_tried_at_the_same_time():
    ranks = [backend(name).rank for name in rooms.names("backends")]
    assert len(set(ranks)) == len(ranks)


MUST_BE_WRITTEN = [
    (base.Backend, {"devices", "rank", "source", "main", "missing", "build", "open"}),
    (Session, {"_run", "_close"}),
]


@pytest.mark.parametrize(
    ("kind", "forgotten"), [(kind, name) for kind, names in MUST_BE_WRITTEN for name in sorted(names)]
)
def test_a_class_that_forgets_something_cannot_be_used(kind, forgotten):
    names = dict(MUST_BE_WRITTEN)[kind]
    half = type("Half", (kind,), {name: lambda self, *args: None for name in names - {forgotten}})
    whole = type("Whole", (kind,), {name: lambda self, *args: None for name in names})
    arguments = ((), "cpu") if kind is Session else ()
    assert whole(*arguments)
    with pytest.raises(TypeError, match=rf"abstract .*{forgotten}"):
        half(*arguments)


@pytest.mark.parametrize("name", rooms.names("backends"))
@pytest.mark.parametrize("kind", ["Options", "BuildOptions"])
def test_options_are_frozen_and_have_defaults(name, kind):
    options = getattr(backend(name), kind)
    assert dataclasses.is_dataclass(options) and options.__dataclass_params__.frozen
    options()
    assert [setting.name for setting in described(options)] == [field.name for field in dataclasses.fields(options)]
