"""The script that makes the embedded model: its own scenes only, resumed alike, and loadable by plain Transformers."""

import dataclasses
import itertools
import math

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from training import batches, train
from training.start import new_model, position_grid
from vtp_export.benchmarks.shapes import scene_of

SMALL = {name: dataclasses.replace(stage, steps=2, batch=2) for name, stage in train.STAGES.items()}


def test_stages_see_no_scene_twice():
    seen = [range(s.first_scene, s.first_scene + s.steps * s.batch) for s in train.STAGES.values()]
    for before, after in itertools.pairwise(seen):
        assert before.stop <= after.start


@pytest.mark.whole
def test_the_test_split_is_never_trained_on(monkeypatch, tmp_path):
    read = []

    def recorded(split, number, size):
        read.append((split, number))
        return scene_of(split, number, size)

    monkeypatch.setattr(batches, "scene_of", recorded)
    monkeypatch.setattr(train, "STAGES", SMALL)
    train.train("look", tmp_path)
    train.train("coarse", tmp_path)
    assert {split for split, _ in read} == {"train", "calibration"}
    # What is looked at on the way lies beyond what `calibrate` reads by default.
    assert min(number for split, number in read if split == "calibration") > 100_000


def test_a_stage_resumes_where_it_stopped(monkeypatch, tmp_path):
    monkeypatch.setattr(train, "STAGES", SMALL)
    for name in ("whole", "torn"):
        (tmp_path / name).mkdir()
    train.train("look", tmp_path / "whole")
    monkeypatch.setattr(train, "STAGES", {**SMALL, "look": dataclasses.replace(SMALL["look"], steps=1)})
    train.train("look", tmp_path / "torn")
    monkeypatch.setattr(train, "STAGES", SMALL)
    train.train("look", tmp_path / "torn")
    whole, torn = (torch.load(tmp_path / name / "look.pt", weights_only=True)["student"] for name in ("whole", "torn"))
    assert all(torch.equal(whole[name], torn[name]) for name in whole)


def test_the_folder_loads_in_plain_transformers(monkeypatch, tmp_path):
    last = train.LAST
    student = train.Student(new_model(train.STAGES[last].size))
    torch.save({"student": student.state_dict()}, tmp_path / f"{last}.pt")
    train.write(tmp_path, tmp_path / "model")
    model = LlavaForConditionalGeneration.from_pretrained(tmp_path / "model")
    assert model.config.vision_config.image_size // model.config.vision_config.patch_size == 24
    ours = dict(student.llava.named_parameters())
    for name, value in model.named_parameters():
        assert torch.equal(value, ours[name].half().float()), name


def test_unevenness_is_small_for_a_cloud_and_large_for_a_line():
    generator = torch.Generator().manual_seed(0)
    # Along one axis: in another direction rounding gives the seven empty ones an energy that depends on the draw.
    line = torch.randn(2, 50, 1, generator=generator) * torch.eye(8)[0]
    assert train.unevenness(torch.randn(2, 4000, 8, generator=generator)).item() == pytest.approx(1 / 8, rel=0.05)
    assert train.unevenness(line).item() == pytest.approx(1 + 7 / 8 * math.log(1e4) / 3, abs=1e-4)


def test_positions_turn_with_distance():
    """A patch's sines and those of its right neighbour are as alike as any other such pair."""
    grid = position_grid(24).reshape(24, 24, -1)
    alike = (grid[:, :-1] * grid[:, 1:]).sum(-1)
    assert torch.allclose(alike, alike[0, 0].expand_as(alike), atol=1e-3)
