"""A manifest as small as one can be, for tests that change what they look at."""

from vtp_export.spec import (
    BatchRange,
    Candidates,
    Layout,
    Manifest,
    ModelRecord,
    PrecisionRecord,
    Preprocessing,
    PrunerRecord,
    TensorSpec,
)

SMALLEST = Manifest(
    model=ModelRecord(
        id="tiny", revision=None, family="llava", weights_sha256="0" * 64, weights_bytes=8, saliency="cls"
    ),
    pruner=PrunerRecord("none", {"keep": 4}, {}, ascending=True),
    layout=Layout(candidates=Candidates((2, 2)), image_size=(28, 28), patch=(14, 14), keep=4, slots=4),
    inputs=(TensorSpec("pixel_values", "float32", ("b", 3, 28, 28)),),
    outputs=(
        TensorSpec("tokens", "float32", ("b", 4, 2)),
        TensorSpec("kept", "int64", ("b", 4)),
        TensorSpec("num_kept", "int64", ("b",)),
    ),
    preprocessing=Preprocessing(
        resize_shortest=28,
        resize_exact=None,
        resample=3,
        crop=(28, 28),
        rescale_factor=1 / 255,
        mean=(0.48145466, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    ),
    precision=PrecisionRecord(),
    batch=BatchRange(1, 1, 2),
    versions={"vtp_export": "0"},
    builds=(),
)
