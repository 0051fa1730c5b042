"""A folder of OpenVINO GenAI takes our vision model; one that does not fit is refused in a sentence.

What needs the pipeline itself is run where openvino-genai is installed, and VTP_GENAI_FOLDER names what
`optimum-cli export openvino --task image-text-to-text` wrote of `tiny-llava`.
"""

import importlib.util
import json
import os
import shutil

import numpy as np
import pytest

from vtp_export.benchmarks.shapes import Benchmark
from vtp_export.cli import main
from vtp_export.errors import ArtefactError, ModelError, SpecError, UnavailableError
from vtp_export.integrations.openvino_folder import (
    INPUT,
    LANGUAGE,
    OUTPUT,
    VISION,
    WORDS,
    open_folder,
    refuse_family,
    refuse_unfit,
    write_vision,
)
from vtp_export.pipeline.export import export
from vtp_export.pipeline.genai import genai
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.front_end import load
from vtp_export.runtime.preprocess import pixel_values

GIVEN = os.environ.get("VTP_GENAI_FOLDER")
real = pytest.mark.skipif(
    importlib.util.find_spec("openvino_genai") is None or GIVEN is None,
    reason="needs openvino-genai, and VTP_GENAI_FOLDER: what optimum-cli wrote of tiny-llava",
)


def written(path, given, shape, width):
    """An IR of one input and one output of so many channels."""
    import openvino
    from openvino import opset13 as ops

    source = ops.parameter(shape, np.float32, name=given)
    source.output(0).get_tensor().set_names({given})
    rows = ops.reshape(source, np.array([1, -1, width]), False)
    openvino.save_model(openvino.Model([ops.result(rows)], [source], "stub"), path, compress_to_fp16=False)


@pytest.fixture
def folder(artefact, tmp_path):
    """What a folder of the small LLaVA holds besides weights."""
    place = tmp_path / "given"
    place.mkdir()
    written(place / LANGUAGE, "inputs_embeds", [-1, -1, 48], 48)
    written(place / WORDS, "input", [-1, 48], 48)
    written(place / VISION, INPUT, [-1, 3, 42, 42], 48)
    for name in ("openvino_tokenizer.xml", "openvino_detokenizer.xml"):
        (place / name).touch()
    (place / "config.json").write_text(json.dumps({"model_type": "llava"}))
    prep = open_artefact(artefact).manifest.preprocessing
    said = {"size": {"shortest_edge": 42}, "crop_size": {"height": 42, "width": 42}}
    (place / "preprocessor_config.json").write_text(
        json.dumps({**said, "image_mean": prep.mean, "image_std": prep.std})
    )
    return place


def compiled(path):
    import openvino

    return openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def test_the_vision_model_gives_the_artefacts_tokens(artefact, folder):
    write_vision(artefact / "model.onnx", "an identity", folder)
    assert open_folder(folder).identity == "an identity"
    run = compiled(folder / VISION)
    assert [port.get_any_name() for port in (*run.inputs, *run.outputs)] == [INPUT, OUTPUT]
    with load(artefact, "onnx") as front_end:
        for scene in Benchmark().examples(2):
            pixels = pixel_values(scene.open(), front_end.preprocessing)
            expected = front_end.run(pixels)[0].tokens
            found = run(pixels)[0]
            assert found.shape == (1, 8, 48)
            np.testing.assert_allclose(found[0], expected, atol=2e-4)


@pytest.mark.whole
def test_empty_slots_are_cut_off(tmp_path):
    export("tiny-llava", tmp_path / "merged", keep=48, settings={"count": "adaptive"})
    write_vision(tmp_path / "merged" / "model.onnx", "x", tmp_path)
    run, counts = compiled(tmp_path / VISION), set()
    with load(tmp_path / "merged", "onnx") as front_end:
        for scene in Benchmark().examples(8):
            pixels = pixel_values(scene.open(), front_end.preprocessing)
            (kept,) = front_end.run(pixels)
            counts.add(kept.num_kept)
            np.testing.assert_allclose(run(pixels)[0], kept.tokens[None], atol=2e-4)
    assert len(counts) > 1


def test_a_folder_that_fits_passes(artefact, folder):
    refuse_unfit(open_folder(folder), open_artefact(artefact).manifest)


@pytest.mark.parametrize("name", [LANGUAGE, VISION, "openvino_tokenizer.xml", "config.json"])
def test_a_folder_without_a_file_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f"has no {name}; name a folder that optimum-cli"):
        open_folder(folder)


def test_a_file_that_is_no_model_is_refused(folder):
    (folder / LANGUAGE).write_text("nothing")
    with pytest.raises(ModelError, match=f"OpenVINO refuses '.*{LANGUAGE}'"):
        open_folder(folder)


@pytest.mark.parametrize(
    ("family", "why"),
    [("qwen2_5_vl", "by the grid of patches"), ("llava_next", "whole grid"), (7, "nobody has looked")],
)
def test_another_family_is_refused_with_the_reason(folder, family, why):
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    with pytest.raises(ModelError, match=why):
        open_folder(folder)


def test_a_config_that_is_no_object_is_refused(folder):
    (folder / "config.json").write_text("[]")
    with pytest.raises(ModelError, match="no JSON object"):
        open_folder(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(SpecError, match="not JSON"):
        open_folder(folder)


def test_another_width_is_refused(artefact, folder):
    for name in (LANGUAGE, WORDS):
        written(folder / name, "inputs_embeds", [-1, -1, 40], 40)
    with pytest.raises(ModelError, match=r"48 channels, and the language model of '.*' reads 40; it is not that of"):
        refuse_unfit(open_folder(folder), open_artefact(artefact).manifest)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("size", {"shortest_edge": 43}, "shortest edge is 42, and in '.*' 43"),
        ("size", {"height": 42, "width": 42}, "shortest edge is 42, and in '.*' None"),
        ("crop_size", {"height": 42, "width": 41}, "crop is"),
        ("crop_size", 41, "crop is"),
        ("image_mean", [0.5, 0.5, 0.5], "mean is"),
        ("image_std", "half", "standard deviation is"),
    ],
)
def test_pictures_prepared_in_another_way_are_refused(artefact, folder, key, value, told):
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(ModelError, match=told):
        refuse_unfit(open_folder(folder), open_artefact(artefact).manifest)


def test_a_folder_that_says_nothing_of_pictures_is_refused(artefact, folder):
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"no preprocessor_config\.json"):
        refuse_unfit(open_folder(folder), open_artefact(artefact).manifest)


def test_an_artefact_of_another_family_is_refused(artefact):
    manifest = open_artefact(artefact).manifest
    object.__setattr__(manifest.model, "family", "gemma3")
    with pytest.raises(UnavailableError, match="pruned tokens of gemma3: its language model attends both ways"):
        refuse_family(manifest)


def test_what_does_not_fit_leaves_nothing_behind(artefact, folder, tmp_path):
    written(folder / LANGUAGE, "inputs_embeds", [-1, -1, 40], 40)
    with pytest.raises(ModelError, match="do not fit: text has 48 channels, and 40 are read"):
        genai(artefact, folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_not_replaced(artefact, folder):
    before = (folder / VISION).read_bytes()
    with pytest.raises(ArtefactError, match="not written by vtp-export"):
        genai(artefact, folder, folder, force=True)
    assert (folder / VISION).read_bytes() == before


@real
@pytest.mark.whole
def test_the_pipeline_answers_as_the_checkpoint_does(embedded_artefact, tmp_path, monkeypatch, capsys):
    report = genai(embedded_artefact, GIVEN, tmp_path / "out", limit=6, unpruned=False)
    assert report.passed, report.failures
    (pruned,) = report.answers
    assert pruned.identical == pruned.questions
    assert "apply_chat_template=False" in report.notes[0]
    monkeypatch.setattr(
        "sys.argv", ["vtp-export", "genai", str(embedded_artefact), GIVEN, "--out", str(tmp_path / "b")]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0 and "48 of 576" in capsys.readouterr().out


@real
@pytest.mark.whole
def test_a_language_model_of_another_checkpoint_is_found_out(embedded_artefact, tmp_path):
    """Of the same shape, so that nothing but its answers tells."""
    shutil.copytree(GIVEN, tmp_path / "given")
    weights = (tmp_path / "given" / LANGUAGE).with_suffix(".bin")
    content = np.fromfile(weights, np.uint8)
    halves = content[: len(content) // 2 * 2].view(np.float16)
    middle = slice(len(halves) // 4, len(halves) // 2)
    halves[middle] = halves[middle][::-1].copy()
    content.tofile(weights)
    report = genai(embedded_artefact, tmp_path / "given", tmp_path / "out", limit=6)
    assert not report.passed
    assert "language model of the folder is not the checkpoint's" in report.failures[-1]
