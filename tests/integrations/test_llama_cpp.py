"""llama.cpp reads tokens of a picture; what it would abort on is refused. Where llama-cpp-python and gguf are."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from tests.integrations.asking import say_the_same
from tests.integrations.test_words import OF_TINY, in_runs
from vtp_export.benchmarks.shapes import Benchmark
from vtp_export.errors import ModelError
from vtp_export.graphs.assembly import source_of
from vtp_export.integrations.transformers import Answerer as InTransformers
from vtp_export.integrations.words import SCHEMA, Wording, Words, write_words
from vtp_export.parity.asking import Prompt
from vtp_export.pipeline.validate import validate
from vtp_export.runtime.front_end import load

llama_cpp = pytest.importorskip("llama_cpp", reason="needs llama-cpp-python, which is built for no test")
pytest.importorskip("gguf", reason="needs gguf, which writes the model of the tests")

from tests.integrations.gguf_of import write_gguf  # noqa: E402
from vtp_export.integrations.llama_cpp import Answerer, embed, read  # noqa: E402

SOURCE = source_of("tiny-llava")
HEADERS = Path(llama_cpp.__file__).parent.parent / "include"
LIBRARIES = Path(llama_cpp.__file__).parent / "lib"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama")
    wording = Wording(schema=SCHEMA, model="tiny-llava", width=128, layers=4, **OF_TINY)
    write_words(folder, wording, AutoTokenizer.from_pretrained(SOURCE))
    write_gguf(SOURCE, folder / "tiny.gguf")
    return folder / "tiny.gguf"


@pytest.fixture
def context(model):
    """In batches of 32."""
    loaded = llama_cpp.llama_model_load_from_file(str(model).encode(), llama_cpp.llama_model_default_params())
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx, settings.n_batch, settings.n_ubatch, settings.n_threads = 96, 32, 32, 1
    opened = llama_cpp.llama_init_from_model(loaded, settings)
    yield opened
    llama_cpp.llama_free(opened)
    llama_cpp.llama_model_free(loaded)


def test_answers_are_those_of_transformers(model, embedded_artefact):
    """Its cache is in half precision, so the gaps are near and not the same."""
    alone, plain = Answerer(model, threads=1), InTransformers(SOURCE)
    say_the_same(alone, plain, embedded_artefact, gap=0.05)


def test_tokens_wider_than_a_batch_are_read_in_pieces(context, model):
    """What llama.cpp itself would abort on; the logits are those of small steps."""
    tokens = in_runs(70).tokens
    whole = embed(context, (1,), tokens, (9, 12))
    steps = [[1], *(tokens[i : i + 7] for i in range(0, 70, 7)), [9], [12]]
    np.testing.assert_allclose(read(context, steps), whole, atol=0.02)
    assert abs(embed(context, (1,), tokens[::-1], (9, 12)) - whole).max() > 0.1
    assert Answerer(model, threads=1).layers == 4


def test_what_would_abort_is_refused(context):
    with pytest.raises(ModelError, match=r"tokens and the context holds .*; open it with a larger n_ctx"):
        embed(context, [1] * (llama_cpp.llama_n_ctx(context) - 64), in_runs(64).tokens, [9])
    with pytest.raises(ModelError, match=r"shape \(4, 48\), and this language model reads rows of 128"):
        embed(context, [1], in_runs(4, width=48).tokens, [9])
    with pytest.raises(ModelError, match=r"shape \(128,\)"):
        embed(context, [1], in_runs(4).tokens[0], [9])
    with pytest.raises(ModelError, match="counts tokens alone"):
        embed(context, [1], in_runs(4).tokens, [9], np.zeros((3, 6), np.int64))


def test_a_file_that_is_no_gguf_is_refused(model, tmp_path):
    for name in ("words.json", "tokenizer.json"):
        shutil.copy(model.parent / name, tmp_path)
    with pytest.raises(ModelError, match="no file"):
        Answerer(tmp_path / "model.gguf")
    (tmp_path / "model.gguf").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="no GGUF, or of an architecture"):
        Answerer(tmp_path / "model.gguf")
    content = model.read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lxama", 1)
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(ModelError, match="no GGUF, or of an architecture"):
        Answerer(tmp_path / "model.gguf")


@pytest.mark.whole
def test_validate_asks_it(embedded_artefact, model, tmp_path):
    shutil.copytree(embedded_artefact, tmp_path / "artefact")
    asked = {"benchmark": "shapes", "limit": 4, "answers": True, "through": "llama-cpp", "decoder": model}
    report = validate(tmp_path / "artefact", **asked)
    assert report.passed and report.answers[0].identical == report.answers[0].questions > 30
    assert json.dumps(report.as_dict())


@pytest.mark.whole
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_a_quantised_model_is_told_apart_from_the_artefact(embedded_artefact, model, tmp_path, kind):
    """What it says of whole pictures is told; from the tokens of the artefact it answers as from the graph's."""
    for name in ("words.json", "tokenizer.json"):
        shutil.copy(model.parent / name, tmp_path)
    write_gguf(SOURCE, tmp_path / "tiny.gguf", kind)
    shutil.copytree(embedded_artefact, tmp_path / "artefact")
    asked = {"benchmark": "shapes", "limit": 4, "answers": True, "through": "llama-cpp"}
    report = validate(tmp_path / "artefact", **asked, decoder=tmp_path / "tiny.gguf", quantised=True)
    unpruned, graph, own = report.answers
    assert report.passed and own.identical == own.questions > 30
    assert "unpruned graph through" in unpruned.name and not unpruned.held_to and not graph.held_to


@pytest.mark.whole
@pytest.mark.skipif(shutil.which("g++") is None or not HEADERS.is_dir(), reason="needs g++ and llama.cpp's headers")
def test_the_example_in_c_compiles_and_says_the_same_word(model, embedded_artefact, tmp_path):
    source = Path(__file__).parents[2] / "docs" / "embed.cpp"
    built = tmp_path / "embed"
    libraries = ["-L", LIBRARIES, f"-Wl,-rpath,{LIBRARIES}", "-Wl,--allow-shlib-undefined", "-lllama"]
    command = ["g++", "-std=c++17", "-Wall", "-Werror", "-I", HEADERS, source, "-o", built, *libraries]
    subprocess.run(list(map(str, command)), check=True)
    words = Words(model.parent)
    with load(embedded_artefact, "onnx") as front_end:
        (picture,) = front_end.pictures(next(Benchmark().examples(1)).open())
    picture.tokens.tofile(tmp_path / "tokens.f32")
    asked = words.split(Prompt((picture,), "Is there a red cross?"))
    before, after = (",".join(map(str, ids)) for ids in (asked.before[0], asked.after))
    said = subprocess.run(
        [str(built), str(model), str(tmp_path / "tokens.f32"), before, after],
        capture_output=True,
        text=True,
        check=True,
    )
    (wanted,) = InTransformers(SOURCE).answer(picture, ["Is there a red cross?"])
    assert int(said.stdout) == wanted.ids[0]
    (tmp_path / "tokens.f32").write_bytes(b"odd")
    failed = subprocess.run([str(built), str(model), str(tmp_path / "tokens.f32"), before, after], capture_output=True)
    assert failed.returncode == 2 and b"no rows of 128 floats" in failed.stderr
