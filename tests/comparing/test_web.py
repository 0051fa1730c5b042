"""`demo --web`: the page's requests, answered; nothing for anybody elsewhere."""

import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

from tests.browser import MISSING, browser
from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.comparing.stage import MOST_PHOTOS, Stage
from vtp_export.comparing.web import POLICY, application, serve
from vtp_export.errors import UnavailableError
from vtp_export.pipeline.export import export
from vtp_export.runtime.front_end import load

flask = pytest.importorskip("flask")

pytestmark = pytest.mark.whole  # loads a model and its language model


@pytest.fixture(scope="module")
def stage():
    return Stage("tiny-llava")


@pytest.fixture
def client(stage):
    return application(stage).test_client()


def jpeg(image):
    image.save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def asked(client, **given):
    reply = client.get("/prune", query_string={"pruner": "fastervlm", "keep": 16, "question": "", **given})
    return reply.status_code, reply.get_json()


def test_the_page_begins_with_what_there_is(client, stage):
    about = client.get("/about").get_json()
    assert (about["model"], about["tokens"], about["answers"]) == ("tiny-llava", 576, True)
    assert {"adaptive", "fastervlm"} <= set(about["pruners"]) and "none" not in about["pruners"]
    assert about["pair"] == ["adaptive", "fastervlm"] and len(about["samples"]) == 12
    page = client.get("/")
    assert page.headers["Content-Security-Policy"] == POLICY and b"<html" in page.data


def test_a_photo_is_pruned_and_asked_about(client):
    example = next(benchmark_of("shapes").examples(1))
    photo = client.post("/photo", data=jpeg(example.open())).get_json()["photo"]
    code, made = asked(client, photo=photo, question=example.questions[0].prompt)
    assert code == 200 and made["kept"] == 16 and made["image"].startswith("data:image/jpeg;base64,")
    assert made["answer"] and made["answer_ms"] > 0 and made["prune_ms"] > 0 and made["tower_ms"] > 0
    silent = asked(client, photo=photo)[1]
    assert silent["answer"] == "" and silent["answer_ms"] is None
    assert asked(client, photo=photo, pruner="none")[1]["kept"] == 576


def test_a_photo_is_pruned_as_an_artefact_prunes_it(client, tmp_path):
    example = next(benchmark_of("shapes").examples(1))
    made = asked(client, photo=client.post("/photo", data=jpeg(example.open())).get_json()["photo"])[1]
    export("tiny-llava", tmp_path / "a", pruner="fastervlm", settings={"keep": 16}, formats=["onnx"])
    with load(tmp_path / "a") as front_end:
        (output,) = front_end(example.open())
    assert made["positions"] == [np.asarray(output.kept).tolist()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep": "0"}, "keep"),
        ({"keep": "577"}, "576"),
        ({"keep": "-1"}, "keep must be a number of tokens, not '-1'"),
        ({"keep": ""}, "keep must be a number of tokens, not ''"),
        ({"pruner": "../x"}, "'../x' is no pruner of this model"),
        ({"photo": "0123"}, "that photo is not here any more"),
    ],
)
def test_what_cannot_be_shown_is_told(client, change, message):
    photo = client.post("/sample/0").get_json()["photo"]
    code, made = asked(client, **{"photo": photo, **change})
    assert code == 400 and message in made["error"]


def test_what_is_no_picture_is_told(client):
    for content in (b"", b"hello", jpeg(Image.new("RGB", (9, 9)))[:40]):
        reply = client.post("/photo", data=content)
        assert reply.status_code == 400 and reply.get_json()["error"]
    assert "number 99 is none of them" in client.post("/sample/99").get_json()["error"]
    assert client.post("/photo", data=b"0" * (65 << 20)).status_code == 413


def test_nobody_elsewhere_is_answered(client):
    for headers in ({"Host": "example.com"}, {"Origin": "http://example.com"}, {"Origin": "null"}):
        assert client.get("/about", headers=headers).status_code == 403
    assert client.get("/about", headers={"Origin": "http://localhost"}).status_code == 200


def test_few_photos_are_remembered(client, stage):
    ids = [client.post(f"/sample/{i}").get_json()["photo"] for i in range(MOST_PHOTOS + 1)]
    assert len(set(ids)) == MOST_PHOTOS + 1 and list(stage._photos) == ids[1:]


def test_a_port_that_is_taken_is_told(monkeypatch, stage):
    monkeypatch.setattr("vtp_export.comparing.web.Stage", lambda *_, **__: stage)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UnavailableError, match="cannot be listened on; name another with --port"):
            serve("tiny-llava", port=other.getsockname()[1])


AS_IN_A_TERMINAL = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
"""What is started in the background of a script is not interrupted, and these tests may have been."""


def test_the_command_serves_until_it_is_interrupted():
    code = f"{AS_IN_A_TERMINAL}; from vtp_export.__main__ import main; main()"
    command = [sys.executable, "-c", code, "demo", "--web", "--json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            address = next(line.split()[2] for line in running.stderr if "open http" in line)
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{address}about") as reply:
                assert json.load(reply)["tokens"] == 576
            running.send_signal(signal.SIGINT)
            assert running.wait(30) == 0 and json.loads(running.stdout.read())["address"] == address
        finally:
            running.kill()


WIDTHS = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
SEEN = """return [...document.querySelectorAll('section')].map(side => ({
  pruner: side.querySelector('select').value, ms: side.querySelector('.ms').textContent,
  alt: side.querySelector('img').alt, wide: side.querySelector('img').naturalWidth,
  answer: side.querySelector('.answer').textContent, at: document.body.dataset.shown,
  error: document.getElementById('error').textContent}))"""
MOVE = """const keep = document.getElementById('keep');
keep.value = arguments[0]; keep.dispatchEvent(new Event('input'))"""


def once(window, ready):
    """What both sides show, when they show it."""
    for _ in range(600):
        sides = window.ask(SEEN)
        if len(sides) == 2 and ready(sides):
            return sides
        time.sleep(0.1)
    raise AssertionError(sides)


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_in_a_browser_tokens_light_up_as_the_budget_slides(stage):
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, application(stage))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with browser() as window:
            for width in (390, 1280):
                window.open(f"http://127.0.0.1:{server.server_port}/", width=width)
                first = once(window, lambda sides: all("64 tokens" in one["ms"] for one in sides))
                assert [one["pruner"] for one in first] == ["adaptive", "fastervlm"]
                assert all(one["wide"] > 300 and one["answer"] and not one["error"] for one in first)
                window.ask(MOVE, 7)
                moved = once(window, lambda sides: all("7 tokens" in one["ms"] for one in sides))
                assert [one["alt"].split(" that ")[0] for one in moved] == ["The photo with the 7 tokens lit"] * 2
                scrolled, shown = window.ask(WIDTHS)
                assert scrolled <= shown
    finally:
        server.shutdown()
