"""Artefacts on the hub: pushed in one commit and taken by id, by the real client, from a stand-in of the hub's API."""

import dataclasses
import json
import shutil
import sys

import pytest
from huggingface_hub import ModelCard, constants

from tests.hub_server import Hub, serving
from tests.sealing import reseal
from vtp_export.errors import ArtefactError, SpecError, UnavailableError
from vtp_export.pipeline.check import check
from vtp_export.pipeline.inspect import inspect
from vtp_export.pipeline.push import push
from vtp_export.reports.card import FILE, MARK
from vtp_export.runtime.any_grid import load
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.changing import record_validation, write_manifest
from vtp_export.runtime.grids import write_index
from vtp_export.runtime.hub import located, told_name


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The stand-in, whose owner is logged in, and an empty cache."""
    hub = Hub()
    with serving(hub) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        monkeypatch.setenv("HF_TOKEN", "hf_owner")
        monkeypatch.setenv("NO_PROXY", "*")
        yield hub


@pytest.fixture
def copy(artefact, tmp_path):
    """Of an artefact that others share, and may have validated."""
    folder = shutil.copytree(artefact, tmp_path / "llava64")
    reseal(folder / "manifest.json", lambda manifest: manifest.update(validation={}))
    return folder


def test_what_was_pushed_is_taken_by_its_id(hub, copy, photo, vtp):
    report = push(copy, "me/llava64")
    files = hub.repositories["me/llava64"].tree("main")[1]
    assert report.commit == hub.repositories["me/llava64"].branches["main"]
    assert len(hub.repositories["me/llava64"].commits) == 2  # one of its making, and one of all
    there = {path.relative_to(copy).as_posix(): path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert files == {**there, FILE: report.card.encode(), ".gitattributes": files[".gitattributes"]}
    with load("me/llava64", "onnx") as front_end:
        assert len(front_end(photo)[0].kept) == 8
    checked = check("me/llava64", formats=["onnx"])
    assert checked.passed and checked.artefact == f"me/llava64@{report.commit[:7]}"
    assert inspect("me/llava64").manifest == open_artefact(copy).manifest
    code, printed, _ = vtp("run", "me/llava64", photo, "--format", "onnx", "--json", "--revision", report.commit[:40])
    assert (code, json.loads(printed)["images"][0]["num_kept"]) == (0, 8)
    assert vtp("inspect", "me/llava64")[0] == 0


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, copy, vtp):
    first = push(copy, "me/llava64").commit
    record_validation(open_artefact(copy), "onnx", {"passed": True})
    second = push(copy, "me/llava64", revision="proved").commit
    for name, commit in (("me/llava64", first), ("me/llava64@proved", second), (f"me/llava64@{first}", first)):
        assert located(name).name == commit
        assert inspect(name).proven is (commit == second)
    assert located("me/llava64", "proved").name == second
    for name, revision, words in (
        ("me/llava64@v9", None, "'me/llava64' on the hub has no revision 'v9'"),
        ("me/llava64@proved", "v9", "names the revision 'proved', and 'v9' was asked for"),
        (str(copy), "v9", "has no revision 'v9'"),
    ):
        with pytest.raises((ArtefactError, SpecError), match=words):
            located(name, revision)


def test_a_folder_here_is_never_asked_of_the_hub(hub, copy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    for name in ("llava64", "out/llava64", "./me/llava64", "/me/llava64", "a/b/c", "me", "~/llava64"):
        assert str(located(name)) == name.removeprefix("./")
    assert hub.asked == []


def test_of_an_earlier_artefact_nothing_is_left_and_the_rest_stays(hub, copy, other_artefact):
    push(copy, "me/llava64")
    repository = hub.repositories["me/llava64"]
    repository.commit("main", {"LICENSE": b"mine", "manifest.txt": b"mine"}, [])
    report = push(other_artefact, "me/llava64")
    assert report.removed == ("model.ts",)
    tree = repository.tree("main")[1]
    assert tree["LICENSE"] == tree["manifest.txt"] == b"mine" and "model.ts" not in tree
    assert inspect("me/llava64").manifest == open_artefact(other_artefact).manifest


def test_a_card_that_somebody_wrote_is_left_alone(hub, copy):
    push(copy, "me/llava64")
    repository = hub.repositories["me/llava64"]
    assert MARK.encode() in repository.tree("main")[1][FILE]
    repository.commit("main", {FILE: b"# mine"}, [])
    assert any("README.md was written by somebody" in note for note in push(copy, "me/llava64").notes)
    assert repository.tree("main")[1][FILE] == b"# mine"
    push(copy, "me/llava64", force=True)
    assert MARK.encode() in repository.tree("main")[1][FILE]


def test_the_card_tells_what_it_is_and_whether_it_is_proved(hub, copy):
    push(copy, "me/base")  # any repository with a card
    hub.repositories["me/base"].commit("main", {FILE: b"---\nlicense: llama2\n---\n"}, [])
    manifest = open_artefact(copy).manifest
    model = dataclasses.replace(manifest.model, id="me/base", revision="ab" * 20)
    write_manifest(copy, dataclasses.replace(manifest, model=model))
    report = push(copy, "me/llava64")
    card = ModelCard(report.card)
    assert (card.data.base_model, card.data.license, card.data.library_name) == ("me/base", "llama2", "vtp-export")
    assert {"onnx", "torchscript", "adaptive", "fp32"} <= set(card.data.tags)
    assert "**Not of onnx, torchscript**" in report.card and 'front_end = load("me/llava64")' in report.card
    assert any("no validation" in note for note in report.notes)
    for fmt in ("onnx", "torchscript"):
        measured = {"passed": True, "benchmark": "photos", "images": 45, "same_tokens_kept": 45}
        record_validation(open_artefact(copy), fmt, measured)
    report = push(copy, "me/llava64")
    assert "Yes: the last validation of every format passed" in report.card
    assert "| onnx | yes | photos | 45 | 45 |" in report.card
    assert report.notes == ()


def test_the_page_of_a_validation_goes_along(hub, copy, other_artefact, tmp_path):
    check(copy, formats=["onnx"], report=tmp_path / "report")
    report = push(copy, "me/llava64", report=tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_bytes()
    assert hub.repositories["me/llava64"].tree("main")[1]["validation.html"] == page
    assert "[validation.html](validation.html)" in report.card
    with pytest.raises(ArtefactError, match="is of another artefact"):
        push(other_artefact, "me/llava64", report=tmp_path / "report")
    with pytest.raises(ArtefactError, match=r"there is no page .*validate --report"):
        push(copy, "me/llava64", report=tmp_path)


def several(copy, folder):
    """A folder of two grids: its index, and what is needed of an artefact."""
    manifest = open_artefact(copy).manifest
    manifests = {}
    for name in ("4x9", "6x6"):
        shutil.copytree(copy, folder / name)
        manifests[name] = manifest
    write_index(folder, manifests)
    return folder


def test_several_grids_are_pushed_and_taken_whole(hub, copy, tmp_path, monkeypatch):
    """A model of one resolution stands for one of any, whose export takes a minute: only the files are of interest."""
    folder = several(copy, tmp_path / "shapes")
    artefacts = {name: open_artefact(folder / name) for name in ("4x9", "6x6")}
    monkeypatch.setattr("vtp_export.pipeline.push.grids_of", lambda _: artefacts)
    report = push(folder, "me/shapes")
    tree = hub.repositories["me/shapes"].tree("main")[1]
    assert {"grids.json", "4x9/manifest.json", "6x6/golden/record.json"} <= tree.keys()
    assert "### 4x9" in report.card and "at 6x6" in report.card
    fetched = located("me/shapes")
    assert sorted(path.name for path in fetched.iterdir()) == ["4x9", "6x6", "grids.json"]
    open_artefact(fetched / "6x6").verify()
    assert told_name(fetched / "6x6") == f"me/shapes@{report.commit[:7]}/6x6"


@pytest.mark.parametrize("name", ["model.onnx", "golden/record.json", "manifest.json"])
def test_nothing_torn_is_pushed(hub, copy, name):
    with (copy / name).open("r+b") as file:
        file.seek(40)
        file.write(b"torn")
    with pytest.raises(ArtefactError, match=r"damaged|cannot be used"):
        push(copy, "me/llava64")
    assert hub.asked == []


def test_what_changes_while_it_is_pushed_is_not_pushed(hub, copy, monkeypatch):
    def change(*_):
        (copy / "model.onnx").write_bytes(b"other")
        return None

    monkeypatch.setattr("vtp_export.pipeline.push._licence", change)
    with pytest.raises(ArtefactError, match=r"'model\.onnx' was changed meanwhile"):
        push(copy, "me/llava64")
    assert len(hub.repositories["me/llava64"].commits) == 1


def test_a_file_that_the_hub_ignores_is_missed(hub, copy):
    hub.ignored = ("model.onnx",)
    with pytest.raises(ArtefactError, match=r"left 'model.onnx' out of commit .*\.gitignore"):
        push(copy, "me/llava64")


REFUSED = {
    "nobody": (None, "me/llava64", "not logged in|does not know who you are"),
    "another": ("hf_owner", "other/llava64", "may not write to 'other/llava64'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_who_may_not_push_is_told_in_a_sentence(hub, copy, monkeypatch, case, tmp_path):
    token, repository, words = REFUSED[case]
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ArtefactError, match=words) as told:
        push(copy, repository)
    assert "hf auth login" in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["llava64", "a/b/c", "me/llava64@v1", "-/x", "", 7, "me/"])
def test_what_is_no_id_is_refused(hub, copy, name):
    with pytest.raises(SpecError, match="an id of the hub is needed"):
        push(copy, name)
    assert hub.asked == []


def test_what_is_on_the_hub_and_no_artefact_is_called_so(hub, copy, monkeypatch):
    push(copy, "me/llava64", private=True)
    repository = hub.repositories["me/llava64"]
    with pytest.raises(ArtefactError, match="the hub shows no repository 'me/nothing': there is none, or it is"):
        load("me/nothing")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(ArtefactError, match="it is private and not yours to see; to see your own log in"):
        load("me/llava64")
    monkeypatch.setenv("HF_TOKEN", "hf_owner")
    repository.commit("main", {}, ["model.onnx"])
    with pytest.raises(ArtefactError, match=r"cannot be used: its manifest names 'model\.onnx', which is not there"):
        load("me/llava64")
    repository.commit("main", {"manifest.json": b'{"name": "an extension of a browser"}'}, [])
    with pytest.raises(ArtefactError, match=r"'me/llava64' on the hub cannot be used: the manifest"):
        load("me/llava64")
    repository.commit("main", {"config.json": b"{}"}, ["manifest.json"])
    with pytest.raises(ArtefactError, match=r"is no artefact: it has neither .* if it is a model, make one with"):
        load("me/llava64")
    repository.commit("main", {"grids.json": json.dumps({"grids": {"../x": "a"}, "schema": 1}).encode()}, [])
    with pytest.raises(ArtefactError, match="cannot be used"):
        load("me/llava64")


def test_without_a_network_what_is_in_the_cache_does(hub, copy, photo, monkeypatch):
    push(copy, "me/llava64")
    located("me/llava64")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with load("me/llava64", "onnx") as front_end:
        assert len(front_end(photo)[0].kept) == 8
    with pytest.raises(ArtefactError, match=r"cannot be reached for it \(HF_HUB_OFFLINE is set\), and it is not in"):
        load("me/other")
    with pytest.raises(ArtefactError, match="cannot be reached"):
        push(copy, "me/other")


def test_the_client_is_asked_for_by_its_extra(copy, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UnavailableError, match=r"there is no folder 'me/llava64' here, .* needs huggingface_hub: pip"):
        load("me/llava64")
    with pytest.raises(UnavailableError, match="to push needs huggingface_hub"):
        push(copy, "me/llava64")


def test_a_dry_run_asks_nobody(hub, copy, vtp):
    code, printed, _ = vtp("push", copy, "me/llava64", "--dry-run")
    assert code == 0 and "library_name: vtp-export" in printed and "nothing was pushed" in printed
    assert hub.asked == []
