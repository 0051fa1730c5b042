"""A language model in ONNX Runtime alone answers as Transformers does, and one that cannot be exported says so."""

import json
import subprocess
import sys

import numpy as np
import pytest
from transformers import AutoTokenizer

from tests.integrations.asking import say_the_same
from tests.integrations.test_positions import IMAGE, photos_of, picture_of
from tests.models.test_grid_towers import WRITERS, calm
from vtp_export.benchmarks.shapes import Benchmark
from vtp_export.errors import ArtefactError, ModelError
from vtp_export.graphs.assembly import source_of
from vtp_export.integrations.onnxruntime import EMBEDDINGS, MODEL, Answerer
from vtp_export.integrations.transformers import Answerer as InTransformers
from vtp_export.pipeline.bench import bench
from vtp_export.pipeline.decoder import decoder
from vtp_export.runtime.front_end import load

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("decoder") / "tiny"
    decoder("tiny-llava", out)
    return out


def test_answers_and_gaps_are_those_of_transformers(folder, embedded_artefact):
    alone, plain = Answerer(folder, threads=1), InTransformers(source_of("tiny-llava"))
    say_the_same(alone, plain, embedded_artefact, gap=1e-3)


ALONE = """
import sys
from vtp_export import load
from vtp_export.integrations.onnxruntime import Answerer
with load(sys.argv[1], "onnx") as front_end:
    (picture,) = front_end.pictures(sys.argv[2])
(answer,) = Answerer(sys.argv[3], threads=1).answer(picture, ["Describe the image."])
assert not {"torch", "transformers", "safetensors", "onnx"} & set(sys.modules), sys.modules
print(answer.text)
"""


def test_bench_asks_it_about_the_golden_pictures(folder, embedded_artefact):
    report = bench([embedded_artefact], formats=["onnx"], rounds=1, check=True, decoder=folder)
    assert report.passed and (report.formats[0].answers.same, report.formats[0].answers.asked) == (32, 32)


def test_it_answers_without_torch_and_without_transformers(folder, embedded_artefact, tmp_path):
    scene = next(Benchmark().examples(1))
    scene.open().save(tmp_path / "scene.png")
    words = [sys.executable, "-c", ALONE, str(embedded_artefact), str(tmp_path / "scene.png"), str(folder)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    with load(embedded_artefact, "onnx") as front_end:
        (picture,) = front_end.pictures(scene.open())
    (wanted,) = InTransformers(source_of("tiny-llava")).answer(picture, ["Describe the image."])
    assert said.strip() == wanted.text


def test_a_model_of_rows_and_columns_reads_tokens_where_they_stood(tmp_path):
    """At every step, pruned: Qwen's, whose words are those of the embedded model here."""
    source = tmp_path / "qwen"
    WRITERS["qwen2_5_vl"](source)
    calm(source)
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "image_token_id": IMAGE}))
    AutoTokenizer.from_pretrained(source_of("tiny-llava")).save_pretrained(source)
    decoder(source, tmp_path / "out")
    alone, plain = Answerer(tmp_path / "out", threads=1), InTransformers(str(source))
    for pruner, settings in (("none", {}), ("fastervlm", {"keep": 3})):
        picture = picture_of(source, photos_of((2, 3))[0], pruner, **settings)
        (own,), (wanted,) = (one.answer(picture, ["Is there a red cross?"], 8) for one in (alone, plain))
        assert own.ids == wanted.ids
        np.testing.assert_allclose(own.gaps, wanted.gaps, atol=1e-4 * max(wanted.gaps))


def test_planes_inside_the_language_model_cannot_be_exported(tmp_path):
    source = tmp_path / "qwen"
    WRITERS["qwen3_vl"](source)
    AutoTokenizer.from_pretrained(source_of("tiny-llava")).save_pretrained(source)
    with pytest.raises(ModelError, match="qwen3_vl adds visual planes inside"):
        decoder(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_whole_is_refused(folder, tmp_path):
    for name in ("words.json", "tokenizer.json", EMBEDDINGS):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ModelError, match=r"the language model in '.*' cannot be opened"):
        Answerer(tmp_path)
    (tmp_path / MODEL).write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"the language model in '.*' cannot be opened"):
        Answerer(tmp_path)
    for name in (MODEL, f"{MODEL}.data"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    np.save(tmp_path / EMBEDDINGS, np.zeros((47, 40), np.float32))
    with pytest.raises(ModelError, match=r"has shape \(47, 40\), and not \(words, 128\)"):
        Answerer(tmp_path)


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ArtefactError, match="not a folder of a language model"):
        decoder("tiny-llava", tmp_path, force=True)
    assert (tmp_path / "letter.txt").is_file()


def test_a_tower_has_no_language_model(small_llava, tmp_path):
    with pytest.raises(ModelError, match="no language model that can be exported"):
        decoder(small_llava, tmp_path / "out")
    assert not (tmp_path / "out").exists()
