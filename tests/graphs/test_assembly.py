"""Names and settings in, a graph and what the manifest says of it out."""

import pytest

from vtp_export import rooms
from vtp_export.errors import ModelError
from vtp_export.graphs.assembly import assemble, calibration_for, load_model, needs_of
from vtp_export.spec import Candidates, Layout

GRID = Candidates((6, 6))


def assembled(small_llava, pruner, **settings):
    return assemble(load_model(str(small_llava), needs_of(pruner, settings)), pruner, settings)


@pytest.mark.parametrize(
    ("pruner", "settings", "layout", "words"),
    [
        ("fastervlm", {"keep": 8}, Layout(GRID, (42, 42), 8, 8), "8"),
        ("adaptive", {"keep": 10, "count": "adaptive"}, Layout(GRID, (42, 42), 10, 16), "about 10 and at most 16"),
        ("prumerge", {"keep": 8}, Layout(GRID, (42, 42), 8, 8), "8"),
        ("prumerge", {"count": "adaptive"}, Layout(GRID, (42, 42), None, 10), "at most 10"),
        ("none", {}, Layout(GRID, (42, 42), None, 36), "all"),
    ],
)
def test_the_layout_tells_the_budget_from_the_slots(small_llava, pruner, settings, layout, words):
    assembly = assembled(small_llava, pruner, **settings)
    assert assembly.layout == layout
    assert assembly.layout.budget == words
    assert assembly.graph.outputs[1].shape == ("b", layout.slots)


def test_a_budget_of_all_is_no_pruning_and_a_note_says_so(small_llava):
    assembly = assembled(small_llava, "prumerge", keep=36)
    assert assembly.pruner.name == "none"
    assert assembly.notes == ("keep is 36 and the model has 36 visual tokens: nothing is pruned",)
    assert assembly.model == load_model(str(small_llava)).core  # though more was read for the method that was named


def test_a_method_that_knows_no_budget_is_not_replaced(small_llava):
    """`keep` stays at its default, 64 of 36, and does not bind."""
    assembly = assembled(small_llava, "prumerge", count="adaptive")
    assert (assembly.pruner.name, assembly.notes) == ("prumerge", ())


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
