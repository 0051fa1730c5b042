"""An artefact of several grids: each picture goes to its own, and nothing that was moved or changed is believed."""

import dataclasses
import json
import shutil

import numpy as np
import onnx_ir as ir
import pytest

from tests.laws.checkpoints.qwen2_5_vl import qwen2_5_vl
from tests.runtime.test_any_size import picture
from tests.sealing import reseal
from vtp_export import load
from vtp_export.backends import onnx
from vtp_export.backends._pool import ALIGNMENT, WeightPool, linked
from vtp_export.errors import ArtefactError, ImageError, ModelError, SpecError, UnavailableError, VtpWarning
from vtp_export.graphs.sizes import sizes_of
from vtp_export.models._sizes import SHAPES, asked_sizes, distinct, settled
from vtp_export.pipeline.bench import bench
from vtp_export.pipeline.calibrate import calibrate
from vtp_export.pipeline.export import export
from vtp_export.pipeline.run import run
from vtp_export.resolutions import AnyResolution
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.changing import record_validation
from vtp_export.runtime.grids import files_of, grids_of
from vtp_export.runtime.positions import positions_of
from vtp_export.runtime.resolution import placed, sized

WIDE, HIGH, OTHER = (48, 40), (40, 48), (100, 48)
"""Pictures of 5 x 6, of 6 x 5 and of 6 x 12 tokens."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("grids")
    qwen2_5_vl(place / "model")
    report = export(
        place / "model", place / "both", pruner="fastervlm", keep=7, formats="torchscript", grid=["5x6"],
        image_size="40x48", golden=2, batch=(1, 4, 16),
    )  # fmt: skip
    assert list(report.grids) == ["5x6", "6x5"]
    assert {one.folder for one in report.grids.values()} == {place / "both" / "5x6", place / "both" / "6x5"}
    return place


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder / "both", tmp_path / "both")


def test_each_picture_goes_to_its_own_grid_in_order(folder):
    pictures = [picture(*HIGH), picture(*WIDE), picture(50, 38), picture(39, 49)]
    with load(folder / "both") as grids:
        assert grids.opened == {}
        out = grids(pictures)
        assert list(grids.opened) == ["6x5", "5x6"]
        streamed = list(grids.stream(pictures, batch=3))
        joined = list(grids.pictures(pictures))
    alone = []
    for name, image in zip(("6x5", "5x6", "5x6", "6x5"), pictures, strict=True):
        with load(folder / "both" / name) as own:
            alone.append(own(image)[0])
    for i, kept in enumerate(alone):
        assert streamed[i][0] is pictures[i]
        for result in (out[i], streamed[i][1], joined[i]):
            assert np.array_equal(result.kept, kept.kept)
            np.testing.assert_allclose(result.tokens, kept.tokens, rtol=0, atol=1e-5)


def test_only_the_grid_of_a_picture_is_opened(folder):
    with load(folder / "both") as grids:
        grids(picture(*WIDE))
        assert list(grids.opened) == ["5x6"]
        with pytest.raises(ArtefactError, match="no grid '9x9'; there are: 5x6, 6x5"):
            grids.grid("9x9")


def test_pixels_go_to_the_grid_of_their_size(folder):
    with load(folder / "both") as grids:
        name, pixels = grids.placed(picture(*HIGH), "it")
        assert (name, pixels.shape) == ("6x5", (3, 48, 40))
        assert np.array_equal(grids.run(pixels[None]).kept, grids(picture(*HIGH)).kept)
        with pytest.raises(ImageError, match=r"\(1, 3, 48, 48\); .* one of 40 x 48, 48 x 40"):
            grids.run(np.zeros((1, 3, 48, 48), np.float32))


def test_others_are_refused_with_the_list_or_stretched_to_the_nearest_shape(folder):
    with load(folder / "both") as grids:
        for call in (grids, grids.stream, grids.pictures):
            with pytest.raises(ImageError, match=r"image 0, .* 6 x 12 tokens, .* built for 5 x 6 and 6 x 5; give"):
                list(call(picture(*OTHER)))
    with load(folder / "both", nearest_grid=True) as grids:
        for call in (grids, grids.pictures):
            with pytest.warns(VtpWarning, match="6 x 12 tokens, .* 5 x 6 and 6 x 5: it is stretched to 5 x 6"):
                (kept,) = call(picture(*OTHER))
            stretched = grids(picture(*OTHER).resize(WIDE, 3))[0]
            assert np.array_equal(kept.tokens, stretched.tokens)
        with pytest.warns(VtpWarning, match="stretched to 6 x 5"):
            grids(picture(48, 100))


RULE = AnyResolution(token=10, min_pixels=100, max_pixels=10_000, others="measured")


@pytest.mark.parametrize(
    ("size", "right"),
    [((300, 100), (20, 60)), ((100, 300), (60, 20)), ((50, 50), (40, 40)), ((90, 90), (80, 80)), ((40, 20), (20, 60))],
)
def test_nearest_is_the_shape_and_then_the_area(size, right):
    assert placed(size, RULE, [(20, 60), (60, 20), (80, 80), (40, 40)]) == right


def test_run_tells_the_grid_and_keeps_the_order(folder, tmp_path):
    paths = []
    for i, size in enumerate((WIDE, HIGH, WIDE, OTHER)):
        paths.append(tmp_path / f"{i}.png")
        picture(*size).save(paths[-1])
    report = run(folder / "both", paths, out=tmp_path / "t.npz", overlays=tmp_path / "drawn", skip_bad=True)
    assert [(one.image, one.grid) for one in report.images] == [
        (str(path), grid) for path, grid in zip(paths, ("5x6", "6x5", "5x6"), strict=False)
    ]
    assert [one.image for one in report.skipped] == [str(paths[3])]
    with np.load(tmp_path / "t.npz") as arrays:
        assert list(arrays["grids"]) == ["5x6", "6x5", "5x6"]
        assert [tuple(kept) for kept in arrays["kept"]] == [one.kept for one in report.images]
    assert len(list((tmp_path / "drawn").glob("*.png"))) == 3


def test_a_share_is_another_number_of_each_grid(folder, tmp_path):
    grids = {"grid": ["5x6", "4x4"], "golden": 0, "formats": "torchscript", "pruner": "random", "keep": "50%"}
    export(folder / "model", tmp_path / "share", **grids)
    pictures = [picture(*WIDE), picture(32, 32)]
    with load(tmp_path / "share") as opened:
        assert [kept.num_kept for _, kept in opened.stream(pictures)] == [15, 8]
        assert len(opened(pictures[1])) == 1
        with pytest.raises(UnavailableError, match=r"different numbers of tokens \(8, 15\), .* call stream"):
            opened(pictures)
    for i, one in enumerate(pictures):
        one.save(tmp_path / f"{i}.png")
    paths = [tmp_path / "0.png", tmp_path / "1.png"]
    report = run(tmp_path / "share", paths, out=tmp_path / "t.npz")
    assert [one.num_kept for one in report.images] == [15, 8]
    with np.load(tmp_path / "t.npz") as arrays:
        assert {name: len(array) for name, array in arrays.items()} == {
            **dict.fromkeys(("images", "grids", "num_tokens"), 2),
            **dict.fromkeys(("tokens", "kept", "position_ids"), 15 + 8),
        }
        assert tuple(arrays["kept"]) == report.images[0].kept + report.images[1].kept
        assert np.array_equal(arrays["position_ids"][15:].T, positions_of(arrays["kept"][15:], (4, 4)))


def damage_index(folder):
    path = folder / "grids.json"
    path.write_text(path.read_text().replace("5x6", "5x7"))


def swap(folder):
    (folder / "5x6").rename(folder / "x")
    (folder / "6x5").rename(folder / "5x6")
    (folder / "x").rename(folder / "6x5")


def exchange_one(folder):
    reseal(folder / "5x6" / "manifest.json", lambda keys: keys["versions"].update(numpy="0"))


def rename_in_both(folder):
    (folder / "5x6").rename(folder / "5x7")
    reseal(folder / "grids.json", lambda keys: keys["grids"].update({"5x7": keys["grids"].pop("5x6")}))


def folder_as_index(folder):
    (folder / "grids.json").unlink()
    (folder / "grids.json").mkdir()


WRONG = {
    "no JSON": (lambda folder: (folder / "grids.json").write_text("{"), "the index of grids is not JSON"),
    "a folder": (folder_as_index, "no regular file"),
    "no name": (
        lambda folder: reseal(folder / "grids.json", lambda keys: keys["grids"].update({"../5x6": "0"})),
        "the grid '../5x6' is missing",
    ),
    "missing": (lambda folder: shutil.rmtree(folder / "5x6"), "the grid '5x6' is missing"),
    "added": (lambda folder: shutil.copytree(folder / "5x6", folder / "more"), "'more' was added"),
    "both": (lambda folder: shutil.copy(folder / "5x6" / "manifest.json", folder), "holds both grids.json and"),
    "renamed": (swap, "it was exchanged or renamed"),
    "exchanged": (exchange_one, "it was exchanged or renamed"),
    "damaged index": (damage_index, "its seal does not fit"),
    "another grid's name": (rename_in_both, "was built for 5x6 tokens"),
    "one grid": (
        lambda folder: reseal(folder / "grids.json", lambda keys: keys["grids"].pop("5x6")),
        "fewer than two grids",
    ),
    "another schema": (lambda folder: reseal(folder / "grids.json", lambda keys: keys.update(schema=9)), "schema 9"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_folder_that_is_not_what_its_index_says_is_refused(copy, case):
    change, message = WRONG[case]
    assert list(grids_of(copy)) == ["5x6", "6x5"]
    change(copy)
    for use in (grids_of, load, files_of):
        with pytest.raises(ArtefactError, match=message):
            use(copy)


def test_a_grid_that_was_exchanged_after_loading_is_not_opened(copy):
    with load(copy) as grids:
        swap(copy)
        with pytest.raises(ArtefactError, match="it was exchanged or renamed"):
            grids(picture(*WIDE))
        assert grids.opened == {}


def test_a_folder_that_is_replaced_while_it_is_read_is_read_again(folder, copy, monkeypatch):
    from vtp_export.runtime import grids as module

    new = shutil.copytree(folder / "both", copy.parent / "new")
    exchange_one(new)
    identity = open_artefact(new / "5x6").manifest.identity()
    reseal(new / "grids.json", lambda keys: keys["grids"].update({"5x6": identity}))
    real = module.open_artefact

    def replaced_meanwhile(place):
        if new.exists():
            shutil.rmtree(copy)
            new.rename(copy)
        return real(place)

    monkeypatch.setattr(module, "open_artefact", replaced_meanwhile)
    assert grids_of(copy)["5x6"].manifest.identity() == identity


def test_a_damaged_file_of_a_grid_is_refused_when_it_is_opened(copy):
    (copy / "6x5" / "model.ts").write_bytes(b"damaged")
    with load(copy) as grids:
        grids(picture(*WIDE))
        with pytest.raises(ArtefactError, match=r"model\.ts"):
            grids(picture(*HIGH))


def test_grids_must_run_in_one_format(copy):
    def without(keys):
        keys["builds"] = []

    reseal(copy / "6x5" / "manifest.json", without)
    with pytest.raises(UnavailableError, match="it has none"):
        load(copy)
    with pytest.raises(ArtefactError, match="has no format 'torchscript'"):
        load(copy, "torchscript")


def test_commands_of_one_grid_name_the_folders(folder):
    place = folder / "both"
    for call in (open_artefact, lambda place: bench([place], rounds=1)):
        with pytest.raises(ArtefactError, match=f"several grids, .* name it: '{place}/5x6', '{place}/6x5'"):
            call(place)


def test_commands_judge_every_grid(copy, vtp):
    for words in (["check"], ["inspect"]):
        code, output, _ = vtp(*words, copy, "--json")
        data = json.loads(output)
        assert (code, list(data["grids"])) == (0, ["5x6", "6x5"])
    assert data["grids"]["6x5"]["manifest"]["layout"]["candidates"]["grid"] == [6, 5]
    golden = copy / "6x5" / "golden" / "arrays.npz"
    golden.write_bytes(golden.read_bytes()[::-1])
    assert vtp("check", copy)[0] == 2


def test_one_grid_that_fails_fails_all(copy, vtp, monkeypatch):
    from vtp_export.pipeline import check as module

    real = module._proof
    monkeypatch.setattr(module, "_proof", lambda golden, session, name: real(golden, Broken(session), name))
    code, output, _ = vtp("check", copy, "--json")
    data = json.loads(output)
    assert (code, data["passed"]) == (1, False)
    assert {name: one["passed"] for name, one in data["grids"].items()} == {"5x6": True, "6x5": False}
    assert f"2 grids of {copy}, failed: 6x5" in vtp("check", copy)[1]


class Broken:
    """A session that keeps others of the grid 6 x 5."""

    def __init__(self, session):
        self._session = session

    def __getattr__(self, name):
        return getattr(self._session, name)

    def run_padded(self, pixels):
        output = self._session.run_padded(pixels)
        return output.mapped(lambda array: array[::-1]) if pixels.shape[2] == 48 else output

    run = run_padded


def test_one_grid_is_an_artefact_as_ever(folder, tmp_path):
    """Also where several were named that are the same."""
    common = {"pruner": "random", "keep": 4, "formats": "torchscript", "golden": 0}
    export(folder / "model", tmp_path / "one", grid=["5x6", "5x6"], image_size="48x40", **common)
    assert not (tmp_path / "one" / "grids.json").exists()
    assert grids_of(tmp_path / "one") is None
    assert open_artefact(tmp_path / "one").manifest.layout.candidates.grid == (5, 6)


def test_several_replace_one_and_nothing_is_left_of_an_export_that_fails(folder, tmp_path, monkeypatch):
    from vtp_export.making import grids as module

    common = {"pruner": "random", "keep": 4, "formats": "torchscript", "golden": 0}
    out = tmp_path / "out"
    monkeypatch.setattr(module, "write_index", lambda *_: (_ for _ in ()).throw(ArtefactError("no")))
    with pytest.raises(ArtefactError, match="no"):
        export(folder / "model", out, grid=["5x6", "4x4"], **common)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    shutil.copytree(folder / "both", out)
    with pytest.raises(ArtefactError, match="already exists"):
        export(folder / "model", out, grid="4x4", **common)
    export(folder / "model", out, grid="4x4", force=True, **common)
    assert sorted(one.name for one in out.iterdir()) == ["manifest.json", "model.ts"]


def test_who_writes_into_a_grid_locks_the_whole(copy, monkeypatch):
    from vtp_export.runtime import changing

    held = []
    real = changing.locked
    monkeypatch.setattr(changing, "locked", lambda folder: (held.append(folder), real(folder))[1])
    record_validation(open_artefact(copy / "5x6"), "torchscript", {"passed": True})
    assert held == [copy.resolve(), copy / "5x6"]
    assert list(grids_of(copy)) == ["5x6", "6x5"]


def test_each_grid_takes_the_calibration_that_was_made_for_it(folder, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for width in (48, 60):
        picture(width, 40).save(photos / f"{width}.png")
    records = [tmp_path / f"{grid}.json" for grid in ("5x6", "4x4")]
    for record in records:
        with pytest.warns(VtpWarning, match="the graph is for pictures of"):
            calibrate(folder / "model", photos, record, grid=record.stem)
    common = {"keep": 7, "formats": "torchscript", "golden": 0, "calibration": records}
    report = export(folder / "model", tmp_path / "out", grid=["4x4", "5x6"], **common)
    averages = {name: one.manifest.pruner.settings["average"] for name, one in report.grids.items()}
    measured = {one.stem: json.loads(one.read_text())["measures"]["erank"]["mean"] for one in records}
    assert averages == pytest.approx(measured) and len(set(averages.values())) == 2
    with pytest.raises(SpecError, match=r"none of the calibration records .*5x6\.json', .* at 6 x 5 tokens; make one"):
        export(folder / "model", tmp_path / "other", grid=["4x4", "6x5"], **common)
    records[0].write_text("{}")
    with pytest.raises(SpecError, match=r"the calibration record '.*5x6\.json' cannot be used"):
        export(folder / "model", tmp_path / "other", grid=["4x4", "5x6"], **common)


def test_a_number_of_tokens_alone_is_seven_shapes(folder):
    """The largest of each shape: what the image processor makes of a large picture of it."""
    rule = AnyResolution(token=28, min_pixels=3136, max_pixels=12_845_056)
    sizes = distinct(asked_sizes(max_tokens=1280), rule, "it")
    grids = [settled(size, rule, "it")[0] for size in sizes]
    assert grids == [(35, 35), (30, 41), (41, 30), (29, 43), (43, 29), (26, 47), (47, 26)]
    for (width, height), (rows, columns) in zip(SHAPES, grids, strict=True):
        large = sized((2800 * width, 2800 * height), dataclasses.replace(rule, max_pixels=1280 * 28**2))
        assert large == (28 * rows, 28 * columns)
    few = sizes_of(folder / "model", None, asked_sizes(max_tokens=4))
    assert [size.image_size for size in few] == [(16, 16), (32, 24), (24, 32)]
    with pytest.raises(ModelError, match=r"max_tokens is 3, and the image processor .* makes at least 4"):
        sizes_of(folder / "model", None, asked_sizes(max_tokens=3))


def test_a_model_of_one_size_takes_no_grids():
    with pytest.raises(ModelError, match="'toy' takes pictures of one size"):
        sizes_of("toy", None, asked_sizes(grid=["4x4", "5x6"]))


def linear(place, weight, bias, external):
    """An ONNX file of one product and one sum."""
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1, len(weight)]))
    w, b = (
        ir.Value(name=name, const_value=ir.tensor(array, name=name)) for name, array in (("w", weight), ("b", bias))
    )
    product = ir.node("MatMul", [x, w])
    total = ir.node("Add", [product.outputs[0], b])
    total.outputs[0].name = "y"
    graph = ir.Graph([x], [total.outputs[0]], nodes=[product, total], initializers=[w, b], opset_imports={"": 20})
    place.mkdir()
    ir.save(ir.Model(graph, ir_version=10), place / "model.onnx", external_data=external, size_threshold_bytes=0)
    return place / "model.onnx"


@pytest.mark.parametrize("external", [None, "model.onnx.data"])
def test_a_pool_holds_equal_weights_once(tmp_path, external):
    """Whether the weights were in the file or beside it, where nobody looks for them any more."""
    onnxruntime = pytest.importorskip("onnxruntime")
    draw = np.random.default_rng(0)
    weight, small = draw.standard_normal((64, 64)).astype(np.float32), np.ones((2, 64), np.float32)
    biases = [draw.standard_normal((16, 64)).astype(np.float32) for _ in range(2)]
    mains = [linear(tmp_path / str(i), weight, bias, external) for i, bias in enumerate([*biases, small])]
    x = {"x": draw.standard_normal((1, 64)).astype(np.float32)}
    before = [onnxruntime.InferenceSession(str(main)).run(None, x)[0] for main in mains]
    with WeightPool(tmp_path / "w.data") as pool:
        for main in mains:
            pool.take(main)
    for main in mains:
        main.with_name("model.onnx.data").unlink(missing_ok=external is None)
        linked(tmp_path / "w.data", main.parent / "w.data")
    assert (tmp_path / "w.data").stat().st_size == weight.nbytes + 2 * ALIGNMENT  # two biases, a page each
    assert (tmp_path / "w.data").stat().st_nlink == 4
    for main, expected in zip(mains, before, strict=True):
        assert main.stat().st_size < 2 * small.nbytes + 1024
        assert np.array_equal(onnxruntime.InferenceSession(str(main)).run(None, x)[0], expected)
        assert sorted(one.name for one in main.parent.iterdir()) == ["model.onnx", "w.data"]


@pytest.mark.whole
@pytest.mark.parametrize("external_above", [0, 1 << 30])
def test_onnx_files_share_one_weight_file(folder, tmp_path, monkeypatch, external_above):
    """Whether each would have had a file of weights of its own or not."""
    monkeypatch.setattr(onnx, "EXTERNAL_ABOVE", external_above)
    common = {"pruner": "fastervlm", "keep": 7, "golden": 2}
    export(folder / "model", tmp_path / "both", grid=["5x6", "6x5"], **common)
    export(folder / "model", tmp_path / "own", grid="5x6", **common)
    files = [tmp_path / "both" / name / "weights.data" for name in ("5x6", "6x5")]
    assert files[0].samefile(files[1])
    names = {one.name for one in files[0].parent.iterdir()}
    assert names == {"golden", "manifest.json", "model.onnx", "weights.data"}
    assert not (tmp_path / "both" / "weights.data").exists()
    with load(tmp_path / "both", "onnx") as grids, load(tmp_path / "own") as own:
        found, expected = grids(picture(*WIDE)), own(picture(*WIDE))
    for name, array in expected.arrays().items():
        assert np.array_equal(found.arrays()[name], array)
    copied = shutil.copytree(tmp_path / "both", tmp_path / "copied")  # follows no hard link
    assert not (copied / "5x6" / "weights.data").samefile(copied / "6x5" / "weights.data")
    with load(copied) as grids:
        assert np.array_equal(grids(picture(*WIDE)).kept, expected.kept)
