"""An artefact inside lmms-eval: the model of its registry, and one of its tasks through its own command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.integrations.asking import expected, pruned_artefact, scenes
from vtp_export.errors import ArtefactError, SpecError, UnavailableError, VtpWarning
from vtp_export.integrations.lmms_eval import Model
from vtp_export.integrations.pruned_model import Asked, PrunedModel

pytestmark = pytest.mark.whole  # loads a model and its language model

ROOT = Path(__file__).parents[2]
WHEELHOUSE = Path(sys.prefix) / "wheelhouse"
PINNED = Path(__file__).with_name("lmms-eval.txt")
GREEDY = {"max_new_tokens": 64, "until": ["\n\n"], "do_sample": False, "temperature": 0, "num_beams": 1}


@pytest.fixture(scope="module")
def artefact(tmp_path_factory):
    return pruned_artefact(tmp_path_factory.mktemp("lmms") / "artefact")


@pytest.fixture(scope="module")
def model(artefact):
    made = Model(str(artefact), "onnx", batch_size="3")
    yield made
    made.clean()


def requests_of(asked, wanted=GREEDY, model=None):
    """What lmms-eval gives: (text, generation_kwargs, doc_to_visual, doc_id, task, split), and rows by number."""
    model.task_dict = {"task": {"test": dict(enumerate(images for images, _ in asked))}}
    return [
        SimpleNamespace(args=(text, wanted, lambda images: images, number, "task", "test"))
        for number, (_, text) in enumerate(asked)
    ]


def asked_of_scenes():
    return [([example.open()], question.prompt) for example, questions in scenes() for question in questions]


def test_answers_are_those_of_validate(model, artefact):
    wanted = expected(artefact)
    assert model.generate_until(requests_of(asked_of_scenes(), model=model)) == wanted
    assert len(set(wanted)) > 1
    truth = [question.answer for _, questions in scenes() for question in questions]
    assert wanted != truth  # so few tokens do not do: it is the artefact that is read


def test_several_pictures_and_where_an_answer_ends(model):
    first, second = (example.open() for example, _ in scenes(2))
    question = "How many shapes?"
    together = [Asked((first, second), question, 8), Asked((second, first), question, 8), Asked((first,), question, 8)]
    one_by_one = [model._model.answer([one])[0] for one in together]
    asked = [([first, second], question), ([second, first], question), ([first], question)]
    assert model.generate_until(requests_of(asked, {"max_new_tokens": 8}, model)) == one_by_one
    (whole,) = model._model.answer([Asked((first,), "Describe the image.", 64)])
    half = whole.split(",")[0]
    assert half != whole
    for until in (",", [",", "no such text"]):
        wanted = {"max_new_tokens": 64, "until": until}
        assert model.generate_until(requests_of([([first], "Describe the image.")], wanted, model)) == [half]


def test_a_picture_is_encoded_once(artefact, monkeypatch):
    runs = []
    with PrunedModel(artefact, "onnx") as model:
        pictures = model._front.pictures
        monkeypatch.setattr(model._front, "pictures", lambda image: runs.append(1) or pictures(image))
        asked = [Asked((example.open(),), question.prompt, 4) for example, both in scenes(2) for question in both]
        model.answer(asked)
        model.answer(asked[-1:])
        assert len(runs) == 2


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"do_sample": True}, "decoding is greedy, and the task asks for do_sample=True"),
        ({"num_beams": 5}, "num_beams=5"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"max_new_tokens": "16"}, "max_new_tokens is '16'"),
        ({"until": [""]}, "texts that are not empty"),
        ({"until": [7]}, "texts that are not empty"),
    ],
)
def test_what_cannot_be_done_is_refused(model, wanted, words):
    (first, *_) = asked_of_scenes()
    with pytest.raises(SpecError, match=words):
        model.generate_until(requests_of([first], {"max_new_tokens": 2, **wanted}, model))


def test_what_changes_nothing_is_told_once(model):
    few = asked_of_scenes()[:2]
    with pytest.warns(VtpWarning, match="of 'task' that change nothing here: image_aspect_ratio$") as told:
        model.generate_until(requests_of(few, {"max_new_tokens": 2, "image_aspect_ratio": "pad"}, model))
    assert len(told) == 1


@pytest.mark.parametrize(("images", "words"), [([], "no picture"), (None, "no picture"), (["a.mp4"], "a video")])
def test_a_question_without_pictures_is_refused(model, images, words):
    with pytest.raises(SpecError, match=f"question 0 of 'task' has {words}"):
        model.generate_until(requests_of([(images, "What?")], model=model))


def test_what_is_not_there(model, artefact, monkeypatch):
    for method in (model.loglikelihood, model.generate_until_multi_round):
        with pytest.raises(UnavailableError, match="cannot be run"):
            method([])
    with pytest.raises(SpecError, match="names no artefact; it takes artefact=DIR and, if you like, format, model, "):
        Model()
    with pytest.raises(SpecError, match=r"^--model_args has pretrained; it takes"):
        Model(str(artefact), pretrained="llava", device="cpu", batch_size=1, max_batch_size=None)
    with pytest.raises(ArtefactError, match="'64'"):
        Model(64)
    for size in ("auto", 0, "1.5", "²"):
        with pytest.raises(SpecError, match="batch_size is"):
            Model(str(artefact), batch_size=size)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SpecError, match="one process"):
        Model(str(artefact))


def folder_of_images(folder):
    """The questions in the columns of POPE: pictures, and a line for each question."""
    folder.mkdir(parents=True)
    rows = []
    for example, questions in scenes():
        example.open().save(folder / f"{example.name}.png")
        for question in questions:
            row = {"file_name": f"{example.name}.png", "question_id": str(len(rows)), "question": question.prompt}
            rows.append({**row, "answer": question.answer, "category": question.kind.split()[1]})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return rows


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with lmms-eval, what it imports, and this package as a wheel, whose entry point it looks for."""
    site, pip = tmp_path_factory.mktemp("site"), [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    where = ["--no-index", "--find-links", str(WHEELHOUSE), "--no-compile", "--target", str(site)]
    made = subprocess.run([*pip, *where, "-r", str(PINNED)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"lmms-eval is not in the wheelhouse, which 'make' fills: {made.stderr.splitlines()[-1]}")
    subprocess.run([*pip, "--no-build-isolation", "--target", str(site), str(ROOT)], check=True)
    return site


def test_one_of_their_tasks_through_their_command_line(installed, artefact, tmp_path):
    rows = folder_of_images(tmp_path / "scenes" / "test")
    task = [
        f"include: {installed / 'lmms_eval' / 'tasks' / 'pope' / 'pope.yaml'}",
        "task: local_pope",
        "dataset_path: imagefolder",
        f"dataset_kwargs: {{data_dir: {tmp_path / 'scenes'}}}",
        "lmms_eval_specific_kwargs: {default: {pre_prompt: '', post_prompt: ''}}",
    ]
    (tmp_path / "local_pope.yaml").write_text("\n".join(task))
    command = [sys.executable, "-m", "lmms_eval", "--include_path", tmp_path, "--tasks", "local_pope"]
    command += ["--model", "vtp_export", "--model_args", f"artefact={artefact},format=onnx", "--batch_size", "2"]
    command += ["--output_path", tmp_path / "out", "--log_samples"]
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **offline, "PYTHONPATH": str(installed), "PYTHONWARNINGS": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (samples,) = (tmp_path / "out").rglob("*samples*.jsonl")
    told = sorted(map(json.loads, samples.read_text().splitlines()), key=lambda one: one["doc_id"])
    answers = expected(artefact)
    assert [one["filtered_resps"] for one in told] == answers
    right = sum(answer == row["answer"] for answer, row in zip(answers, rows, strict=True))
    (results,) = (tmp_path / "out").rglob("*results.json")
    metrics = json.loads(results.read_text())["results"]["local_pope"]
    assert metrics["pope_accuracy,none"] == right / len(rows) and 0 < right < len(rows)
