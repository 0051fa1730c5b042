"""How much of the range images a trial of a coarser graph takes."""

import math

import numpy as np
import pytest

from tests.laws.families import checkpoints_of, load_family
from vtp_export.graphs.assembly import assemble, load_model, needs_of
from vtp_export.graphs.eager import EagerSession
from vtp_export.parity.gates import GATES
from vtp_export.precision.images import range_images
from vtp_export.precision.policy import Precision, lower
from vtp_export.precision.search import MARGIN, Trials


@pytest.fixture(scope="module")
def graph(small_llava):
    return assemble(load_model(str(small_llava)), "fastervlm", {"keep": 8}).graph


@pytest.fixture(scope="module")
def trials(graph, small_llava):
    images = range_images("photos", 16, load_model(str(small_llava)).preprocessing)
    return Trials(graph, images, GATES["int8"], "cpu")


def test_a_trial_ends_with_the_first_images_that_use_up_too_much(graph, trials):
    session, runs = EagerSession(graph), []

    def run(pixels):
        runs.append(len(pixels))
        return session(pixels if len(runs) < 2 else np.flip(pixels, axis=-1).copy())  # another picture from then on

    quality = trials.of(run, MARGIN)
    assert (runs, quality.comparison.images) == ([4, 4], 8)
    assert quality.worst > MARGIN
    runs.clear()
    assert trials.of(run, math.inf).comparison.images == 16
    assert trials.of(session, MARGIN).comparison.images == 16, "nothing is used up"


@pytest.mark.parametrize(("groups", "numbers"), [(1, [0, 4, 8, 12]), (32, [0, 4, 8, 12]), (48, [0, 8]), (200, [0])])
def test_the_more_groups_the_fewer_images(trials, groups, numbers):
    assert [number for number, _ in trials.some(groups)] == numbers
    assert trials.few(groups) == len(numbers)


@pytest.mark.parametrize("name", ["fp16", "int8"])
def test_every_view_of_a_picture_is_tried(tmp_path, name):
    """A picture in tiles is many images of the batch, and one of those that were asked for."""
    model = load_family(checkpoints_of("smolvlm").WRITERS[0](tmp_path), needs_of("fastervlm", {"keep": 5}))
    graph, images = assemble(model, "fastervlm", {"keep": 5}).graph, range_images("photos", 2, model.preprocessing)
    views = sum(map(len, images.batches()))
    assert images.count == 2 < views == len(images.names)
    narrow = lower(graph, Precision(name=name, limit=2), model.preprocessing)
    trials = Trials(graph, images, GATES[name], "cpu")
    assert trials.of(EagerSession(narrow.graph)).comparison.images == views
    assert narrow.record.count in (2, None)
