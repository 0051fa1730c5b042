"""Names and settings in, a graph and what the manifest says of it out."""

import shutil
from pathlib import Path

import pytest

from vtp_export import rooms
from vtp_export.errors import ModelError, SpecError
from vtp_export.graphs.assembly import assemble, calibration_for, load_model, needs_of, source_of
from vtp_export.settings import from_settings
from vtp_export.spec import Candidates, Layout

GRID = Candidates((6, 6))


def layout(keep, slots):
    return Layout(candidates=GRID, image_size=(42, 42), patch=(7, 7), keep=keep, slots=slots)


def assembled(small_llava, pruner, **settings):
    return assemble(load_model(str(small_llava), needs_of(pruner, settings)), pruner, settings)


@pytest.mark.parametrize(
    ("pruner", "settings", "expected", "words"),
    [
        ("fastervlm", {"keep": 8}, layout(8, 8), "8"),
        ("adaptive", {"keep": 10, "count": "adaptive"}, layout(10, 16), "about 10 and at most 16"),
        ("prumerge", {"keep": 8}, layout(8, 8), "8"),
        ("prumerge", {"count": "adaptive"}, layout(None, 10), "at most 10"),
        ("none", {}, layout(None, 36), "all"),
    ],
)
def test_the_layout_tells_the_budget_from_the_slots(small_llava, pruner, settings, expected, words):
    assembly = assembled(small_llava, pruner, **settings)
    assert assembly.layout == expected
    assert assembly.layout.budget == words
    assert assembly.graph.outputs[1].shape == ("b", expected.slots)


def test_a_budget_of_all_is_no_pruning_and_a_note_says_so(small_llava):
    assembly = assembled(small_llava, "prumerge", keep=36)
    assert assembly.pruner.name == "none"
    assert assembly.notes == ("keep is 36 and the model has 36 visual tokens: nothing is pruned",)
    assert assembly.model == load_model(str(small_llava)).core  # though more was read for the method that was named


def test_a_method_that_knows_no_budget_is_not_replaced(small_llava):
    """`keep` stays at its default, 64 of 36, and does not bind."""
    assembly = assembled(small_llava, "prumerge", count="adaptive")
    assert (assembly.pruner.name, assembly.notes) == ("prumerge", ())


@pytest.mark.parametrize(("pruner", "more"), [("none", {}), ("prumerge", {"count": "adaptive"})])
def test_a_budget_that_decides_nothing_is_told(small_llava, pruner, more):
    assert "keep, 8, decides nothing" in assembled(small_llava, pruner, keep=8, **more).notes[0]


@pytest.mark.parametrize(("share", "keep"), [("25%", 9), (" 10 %", 4), ("0.1%", 1), ("100%", None)])
def test_a_budget_may_be_a_share(small_llava, share, keep):
    assert assembled(small_llava, "fastervlm", keep=share).layout.keep == keep


@pytest.mark.parametrize("share", ["0%", "101%", "-3%", "nan%", "ten%", "%"])
def test_a_share_that_is_none(small_llava, share):
    with pytest.raises(SpecError, match="a share must be above 0% and at most 100%"):
        assembled(small_llava, "fastervlm", keep=share)


@pytest.mark.parametrize(("settings", "count"), [({}, 1), ({"complexity": "entropy"}, 1), ({"average": 20.0}, 0)])
def test_numbers_of_another_geometry_are_told(small_llava, settings, count):
    notes = assembled(small_llava, "adaptive", keep=8, **settings).notes
    assert (
        sum("published for LLaVA-1.5 with 576 visual tokens, and this model has 36" in note for note in notes) == count
    )


def test_the_manifest_says_which_order_and_which_attention(small_llava):
    assert assembled(small_llava, "fastervlm", keep=8).pruner.ascending
    assert not assembled(small_llava, "prumerge", keep=8).pruner.ascending
    assert assembled(small_llava, "fastervlm", keep=8).model.saliency == "cls"


def test_the_record_is_of_all_that_the_method_reads(small_llava):
    core, more = assembled(small_llava, "fastervlm", keep=8).model, assembled(small_llava, "prumerge", keep=8).model
    assert core == load_model(str(small_llava)).core
    assert more.weights_sha256 != core.weights_sha256
    assert more.weights_bytes > core.weights_bytes


def test_a_model_that_was_loaded_for_less_is_refused(small_llava):
    with pytest.raises(
        ModelError, match="reads following_keys, following_saliency, which this model, as it was loaded"
    ):
        assemble(load_model(str(small_llava)), "prumerge", {"keep": 8})


@pytest.mark.parametrize("pruner", rooms.names("pruners"))
def test_the_record_beside_the_embedded_weights_fits_whatever_is_read(pruner):
    model = load_model("tiny-llava", needs_of(pruner, {}))
    record, notes = calibration_for(model, model.folder / "calibration.json", pruner, {})
    assert (record.weights_sha256, notes) == (model.core.weights_sha256, ())


# Which model a name means


@pytest.fixture
def home(small_llava, tmp_path, monkeypatch):
    """A working directory in which folders have the names of embedded models."""
    for name in ("tiny-llava", "toy", "plain"):
        shutil.copytree(small_llava, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["./tiny-llava", "./tiny-llava/", "./toy", Path("tiny-llava"), Path("toy"), "plain"])
def test_a_path_is_a_path(home, small_llava, name):
    loaded = load_model(name)
    assert loaded.core.weights_sha256 == load_model(str(small_llava)).core.weights_sha256
    again = load_model(loaded.core.id)  # as the manifest has it
    assert again.core == loaded.core
    assert loaded.folder == Path(source_of(name))


@pytest.mark.parametrize("name", ["tiny-llava", "toy"])
def test_a_bare_name_is_the_embedded_model(home, name):
    assert not Path(source_of(name)).is_relative_to(home) and Path(source_of(name)).is_absolute()
    (home / name / "calibration.json").write_text("another program's")
    assert load_model(name).core.id == name
    assert load_model(name).core.family == {"tiny-llava": "llava", "toy": "toy"}[name]
    assert calibration_for(load_model(name), None, "adaptive", {})[1] == ()


@pytest.mark.parametrize("name", ["./tiny-llava", "tiny-llava", "toy", "plain", "."])
def test_only_the_hub_has_revisions(home, small_llava, name):
    if name == ".":
        name = str(small_llava)
    with pytest.raises(
        ModelError, match=rf"'{name}' is no model of the hub and has no revision 'v1'; leave --revision"
    ):
        load_model(name, revision="v1")


@pytest.mark.parametrize("name", ["no-such\udcff", "./\ud800", "owner/\ud800"])
def test_a_name_that_no_manifest_can_hold_is_refused(name):
    with pytest.raises(ModelError, match="is no UTF-8 text; rename the folder") as caught:
        load_model(name)
    str(caught.value).encode()


# A calibration record beside the weights


@pytest.fixture
def beside(small_llava, tmp_path):
    """A copy of the model, and where its record is looked for."""
    folder = shutil.copytree(small_llava, tmp_path / "model")
    return folder, folder / "calibration.json"


def test_a_stale_record_matters_to_its_readers_only(beside):
    folder, path = beside
    shutil.copy(Path(source_of("tiny-llava")) / "calibration.json", path)
    model = load_model(folder)
    for pruner, settings in [
        ("none", {}),
        ("fastervlm", {}),
        ("adaptive", {"average": 90}),
        ("vispruner", {}),
        ("vispruner", {"ratio": "adaptive", "low": 1, "high": 2}),
    ]:
        assert calibration_for(model, None, pruner, settings) == (None, ())
    for pruner, settings in [
        ("adaptive", {}),
        ("bat", {"ratio": "adaptive"}),
        ("bat", {"ratio": "adaptive", "low": 1}),
    ]:
        with pytest.raises(SpecError, match=r"was made for tiny-llava .*, not for"):
            calibration_for(model, None, pruner, settings)
    with pytest.raises(SpecError, match=r"was made for tiny-llava .*, not for"):
        calibration_for(model, path, "none", {})  # the user's own word


@pytest.mark.parametrize("text", [b"", b"{}", b'{"bits": 4}', b"[" * 10_000, b"\xff", b'{"a": "\\ud800"}'])
def test_a_record_of_another_program_is_passed_over_and_told(beside, text):
    folder, path = beside
    path.write_bytes(text)
    model = load_model(folder)
    assert calibration_for(model, None, "fastervlm", {}) == (None, ())
    record, (note,) = calibration_for(model, None, "adaptive", {})
    assert record is None
    assert note.startswith(f"the calibration record '{path}' cannot be ")
    assert note.endswith("; it is passed over, and published numbers are used instead")
    with pytest.raises(SpecError, match=r"^the calibration record '.*' cannot be "):
        calibration_for(model, path, "adaptive", {})


def test_what_reads_a_record_says_so():
    """`calibrated` is true where a record changes what is resolved, and only there."""
    record = calibration_for(load_model("tiny-llava"), None, "adaptive", {})[0]
    for pruner in rooms.names("pruners"):
        kind = rooms.load("pruners", pruner).Config
        cases = [{}, {"average": 1.0}, {"ratio": "adaptive"}, {"ratio": "adaptive", "low": 1.0, "high": 2.0}]
        for settings in cases:
            if set(settings) <= set(kind.__dataclass_fields__):
                config = from_settings(kind, settings)
                assert config.calibrated == (config.resolved(record) != config.resolved(None)), (pruner, settings)
