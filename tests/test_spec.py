import dataclasses
import itertools
import json

import pytest

from tests.manifests import SMALLEST
from tests.sealing import sealed
from vtp_export.calibrations import CALIBRATION_SCHEMA, calibration_from_json
from vtp_export.errors import SpecError
from vtp_export.json_records import to_json
from vtp_export.manifests import manifest_from_json
from vtp_export.spec import (
    MANIFEST_SCHEMA,
    Build,
    Candidates,
    EngineRecord,
    FileRecord,
    Layout,
    ModelRecord,
    PrecisionRecord,
    PrunerRecord,
    TensorSpec,
)

MANIFEST = dataclasses.replace(
    SMALLEST,
    model=ModelRecord(
        id="org/model", revision="abc", family="llava", weights_sha256="0" * 64, weights_bytes=8, saliency="cls"
    ),
    pruner=PrunerRecord(
        name="adaptive",
        settings={"keep": 4, "tau": 0.5, "flag": True, "note": "x", "none": None},
        origins={"tau": "paper"},
        ascending=True,
    ),
    layout=Layout(candidates=Candidates((2, 2), cls=True), image_size=(28, 28), patch=(14, 14), keep=4, slots=4),
    inputs=(TensorSpec("pixel_values", "float32", ("b", 3, 28, 28)),),
    outputs=(
        TensorSpec("tokens", "float32", ("b", 4, 2)),
        TensorSpec("kept", "int64", ("b", 4)),
        TensorSpec("num_kept", "int64", ("b",)),
        TensorSpec("erank", "float32", ("b",)),
    ),
    versions={"torch": "2"},
    builds=(
        Build(
            "onnx", "model.onnx", {"model.onnx": FileRecord(5, "1" * 64), "model.onnx.data": FileRecord(7, "3" * 64)}
        ),
        Build(
            "tensorrt", "a.plan", {"a.plan": FileRecord(5, "2" * 64)}, EngineRecord("10.3", ("8.7",), "linux", "Orin")
        ),
    ),
    validation={"onnx": {"cosine": 0.25}},
)


def changed(*path: object, value: object = None, drop: bool = False) -> str:
    """The manifest's JSON with one place changed, and sealed again."""
    raw = json.loads(to_json(MANIFEST))
    place = raw
    for key in path[:-1]:
        place = place[key]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return sealed(raw)


def test_round_trip_is_exact_and_canonical() -> None:
    text = to_json(MANIFEST)
    assert manifest_from_json(text) == MANIFEST
    assert to_json(manifest_from_json(text)) == text
    assert text.endswith("}\n")
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert MANIFEST.schema == MANIFEST_SCHEMA
    assert MANIFEST.formats() == ["onnx", "tensorrt"]
    assert MANIFEST.builds[0].size == 12


def test_scalars_keep_their_types() -> None:
    settings = manifest_from_json(to_json(MANIFEST)).pruner.settings
    assert [(key, type(value)) for key, value in sorted(settings.items())] == [
        ("flag", bool),
        ("keep", int),
        ("none", type(None)),
        ("note", str),
        ("tau", float),
    ]


def test_a_whole_number_may_stand_for_a_float() -> None:
    read = manifest_from_json(changed("preprocessing", "rescale_factor", value=1))
    assert type(read.preprocessing.rescale_factor) is float


def test_identity_is_of_the_promise_alone() -> None:
    bare = dataclasses.replace(MANIFEST, builds=(), validation={})
    assert bare.identity() == MANIFEST.identity()
    assert dataclasses.replace(MANIFEST, precision=PrecisionRecord(name="fp16")).identity() != MANIFEST.identity()
    assert manifest_from_json(to_json(MANIFEST)).identity() == MANIFEST.identity()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "manifest is nested more than 100 deep"),
        ("[]", "no 'schema' number"),
        ("{}", "no 'schema' number"),
        (changed("schema", value=1), "schema 1 and schema 2 is read here: made by an earlier version; export again"),
        (changed("schema", value=3), "schema 3 and schema 2 is read here: not made by this version; export again"),
        (changed("schema", value="1"), "schema '1'"),
        (changed("schema", value=True), "schema True"),
        (changed("extra", value=1), "manifest has the unknown key 'extra'"),
        (changed("model", "extra", value=1), r"manifest\.model has the unknown key 'extra'"),
        (changed("builds", 0, "extra", value=1), r"manifest\.builds\[0\] has the unknown key 'extra'"),
        (changed("builds", 0, "files", "model.onnx", "bytes", drop=True), r"files\.model\.onnx lacks the key 'bytes'"),
        (
            changed("builds", 1, "main", value="b.plan"),
            r"tensorrt opens 'b\.plan', which is not among its files: a\.plan",
        ),
        (changed("builds", 1, "engine", value=[]), r"manifest\.builds\[1\]\.engine is \[\]"),
        (changed("precision", drop=True), "manifest lacks the key 'precision'; export again$"),
        (changed("outputs", 1, "dtype", drop=True), r"manifest\.outputs\[1\] lacks the key 'dtype'"),
        (changed("batch", "max", value=2.0), r"manifest\.batch\.max is 2\.0"),
        (changed("batch", "max", value=True), r"manifest\.batch\.max is True"),
        (changed("layout", "candidates", "cls", value=1), r"manifest\.layout\.candidates\.cls is 1"),
        (changed("layout", "candidates", "grid", value=[2, "2"]), r"manifest\.layout\.candidates\.grid\[1\] is '2'"),
        (changed("layout", "image_size", value=[28]), r"manifest\.layout\.image_size is \[28\]"),
        (changed("inputs", value={}), r"manifest\.inputs is {}"),
        (changed("model", value=[]), r"manifest\.model is \[\]"),
        (changed("versions", "torch", value=None), r"manifest\.versions\.torch is None"),
        (changed("pruner", "settings", "tau", value=[1]), r"manifest\.pruner\.settings\.tau is \[1\]"),
        (changed("preprocessing", "rescale_factor", value=float("nan")), r"preprocessing\.rescale_factor is nan"),
        (changed("preprocessing", "rescale_factor", value=float("-inf")), r"preprocessing\.rescale_factor is -inf"),
        (changed("preprocessing", "rescale_factor", value=10**400), "its seal does not fit"),
        (changed("pruner", "settings", "tau", value=float("inf")), r"pruner\.settings\.tau is inf"),
        (changed("builds", 0, "files", "model.onnx", "bytes", value=10**400), "its seal does not fit"),
        (changed("model", "id", value="\ud800"), r"lone surrogate\) at 'model\.id'"),
        (to_json(MANIFEST).replace('"id":', '"id": "other", "id":'), "manifest has the key 'id' twice in one object"),
    ],
    ids=itertools.count(),
)
def test_strange_manifests_are_refused_by_place(text: str, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        manifest_from_json(text)


def test_values_are_frozen() -> None:
    for value in (MANIFEST, MANIFEST.model, MANIFEST.layout, MANIFEST.batch, MANIFEST.preprocessing):
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.anything = 1


def test_not_a_number_is_never_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(dataclasses.replace(MANIFEST, validation={"onnx": {"cosine": float("nan")}}))


def test_a_calibration_record_has_a_schema_of_its_own() -> None:
    with pytest.raises(
        SpecError, match="schema 99 and schema 2 is read here: not made by this version; calibrate again"
    ):
        calibration_from_json(sealed({"schema": 99}))
    assert CALIBRATION_SCHEMA == 2
