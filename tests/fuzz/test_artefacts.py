"""Artefacts: bits, lengths, files that were swapped, and manifests that say anything."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fuzz.hostile import SEVERAL, STRANGE, damaged, places, replaced, with_value
from tests.fuzz.rule import outcome, vtp
from tests.sealing import sealed
from vtp_export.backends import base
from vtp_export.errors import VtpError
from vtp_export.manifests import manifest_from_json
from vtp_export.reports.overlay import overlay
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.front_end import load

SEED = 13


@pytest.fixture
def copy(artefact, tmp_path):
    return Path(shutil.copytree(artefact, tmp_path / "copy"))


@pytest.fixture
def photo(tmp_path):
    Image.effect_noise((50, 40), 90).convert("RGB").save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def used(folder, photo, fmt):
    """Everything that is done with an artefact without its model: (kept, tokens) of a photo."""
    with load(folder, fmt) as front_end:
        (kept,) = front_end(str(photo))
        overlay(str(photo), kept.kept, front_end.manifest.layout, front_end.manifest.preprocessing)
        return kept.kept, kept.tokens


def used_in_every_format(folder, photo):
    return {fmt: used(folder, photo, fmt) for fmt in open_artefact(folder).manifest.formats()}


@pytest.mark.parametrize(
    "count", [pytest.param(12, id="sample"), pytest.param(1000, id="whole", marks=pytest.mark.whole)]
)
def test_damaged_files(copy, photo, count):
    """Refused, or the same answer."""
    rng, right = random.Random(SEED), used_in_every_format(copy, photo)
    files = sorted(path for path in copy.iterdir() if path.is_file())
    for _ in range(count):
        path, fmt = rng.choice(files), rng.choice(list(right))
        content = path.read_bytes()
        path.write_bytes(damaged(content, rng))
        result = outcome(used, copy, photo, fmt)
        if not isinstance(result, VtpError):
            assert all(np.array_equal(*pair) for pair in zip(result, right[fmt], strict=True))
        path.write_bytes(content)


@pytest.mark.whole
def test_swapped_files(copy, other_artefact, photo):
    """Each file in the place of each other, of this artefact and of another."""
    sources = {path: path.read_bytes() for folder in (copy, other_artefact) for path in sorted(folder.glob("*.*"))}
    right = used_in_every_format(copy, photo)
    for place in sorted(copy.glob("*.*")):
        content = place.read_bytes()
        for source in sources.values():
            place.write_bytes(source)
            for fmt in right:
                result = outcome(used, copy, photo, fmt)
                if not isinstance(result, VtpError):
                    assert place.name != "manifest.json" or source == content
                    assert all(np.array_equal(*pair) for pair in zip(result, right[fmt], strict=True))
        place.write_bytes(content)


def strange_manifests(artefact):
    keys = json.loads((artefact / "manifest.json").read_text())
    return [(keys, path, text) for path in places(keys) for text in STRANGE]


def read_strange(cases):
    for keys, path, text in cases:
        outcome(manifest_from_json, replaced(keys, path, text))


def test_a_sample_of_strange_manifests(artefact):
    read_strange(random.Random(SEED).sample(strange_manifests(artefact), 80))


@pytest.mark.whole
def test_strange_manifests(artefact):
    read_strange(strange_manifests(artefact))


def forged_manifests(artefact):
    """Manifests with another value in one place, sealed."""
    keys = json.loads((artefact / "manifest.json").read_text())
    return [sealed(with_value(keys, path, new)) for path in places(keys) if path for new in SEVERAL]


def use_forged(copy, photo, cases, monkeypatch):
    """As if their identity had been forged too: whatever is let through is used."""
    monkeypatch.setattr(base, "refuse_other_identity", lambda *_: None)
    through = 0
    for text in cases:
        (copy / "manifest.json").write_text(text)
        if isinstance(outcome(open_artefact, copy), VtpError):
            continue
        through += 1
        outcome(used, copy, photo, "onnx")
        vtp("inspect", copy, "--json")
        vtp("inspect", copy)
    assert through > len(cases) // 200


def test_a_sample_of_forged_manifests(copy, photo, artefact, monkeypatch):
    use_forged(copy, photo, random.Random(SEED).sample(forged_manifests(artefact), 40), monkeypatch)


@pytest.mark.whole
def test_forged_manifests(copy, photo, artefact, monkeypatch):
    use_forged(copy, photo, random.Random(SEED + 1).sample(forged_manifests(artefact), 2500), monkeypatch)
