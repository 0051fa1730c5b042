"""Artefacts that were damaged, edited or made up: one sentence and nothing else, and never a wrong result."""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fuzz.rule import vtp
from tests.sealing import reseal, sealed
from vtp_export.backends import base
from vtp_export.errors import ArtefactError, VtpError
from vtp_export.manifests import ALWAYS, DTYPES, manifest_from_json
from vtp_export.pipeline.check import check
from vtp_export.runtime.artefact import open_artefact
from vtp_export.runtime.front_end import load
from vtp_export.runtime.output import Output

SEED = 13
SAMPLE = 400
"""Flips of `make test`; `whole` tries every bit of every byte."""


@pytest.fixture
def copy(artefact, tmp_path):
    return Path(shutil.copytree(artefact, tmp_path / "copy"))


def refused_by_every_reader(folder, photo, *words):
    """All commands that read an artefact: one sentence, exit code 2."""
    for arguments in (
        ("run", folder, photo),
        ("inspect", folder),
        ("inspect", folder, "--json"),
        ("lint", folder),
        ("doctor", folder),
        ("bench", folder),
        ("triton", folder, "--out", folder.parent / "models"),
        ("build", folder),
        ("validate", folder),
    ):
        code, _, told = vtp(*arguments)
        assert code == 2, (arguments, told)
        assert told.startswith("error: ") and told.count("\n") == 1, (arguments, told)
        for word in words:
            assert word in told, (arguments, told)


@pytest.fixture
def photo(tmp_path):
    from PIL import Image

    path = tmp_path / "photo.png"
    Image.effect_noise((50, 50), 90).convert("RGB").save(path)
    return path


# The seal


def effect_of_flips(text, places):
    """Flip bits of a manifest, and count what is refused and what reads as the same; anything else is a failure."""
    whole, counts = manifest_from_json(text.decode()), {"refused": 0, "the same": 0}
    for place, bit in places:
        flipped = bytearray(text)
        flipped[place] ^= 1 << bit
        try:
            read = manifest_from_json(flipped.decode())
        except (VtpError, UnicodeDecodeError):
            counts["refused"] += 1
        else:
            assert read == whole, (place, bit, text[max(0, place - 30) : place + 30])
            counts["the same"] += 1
    return counts


def test_a_flipped_bit_of_the_manifest_is_refused(artefact):
    text = (artefact / "manifest.json").read_bytes()
    every = [(place, bit) for place in range(len(text)) for bit in range(8)]
    counts = effect_of_flips(text, random.Random(SEED).sample(every, SAMPLE))
    assert counts["the same"] <= SAMPLE // 100, counts  # "1e-05" and "1E-05"


@pytest.mark.whole
def test_every_flipped_bit_of_the_manifest_is_refused(artefact):
    text = (artefact / "manifest.json").read_bytes()
    counts = effect_of_flips(text, [(place, bit) for place in range(len(text)) for bit in range(8)])
    assert counts["the same"] <= len(text) // 100, counts


def test_a_manifest_that_was_cut_off_is_refused(artefact):
    text = (artefact / "manifest.json").read_text().rstrip()
    for length in random.Random(SEED).sample(range(len(text)), 60):
        with pytest.raises(VtpError):
            manifest_from_json(text[:length])


def edited(copy, old, new):
    path = copy / "manifest.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_an_edited_manifest_is_refused_by_every_command(copy, photo):
    edited(copy, '"keep": 8', '"keep": 7')
    refused_by_every_reader(copy, photo, "manifest.json", "was changed after it was written", "export again")


@pytest.mark.parametrize(("old", "new"), [("0.48145466", "0.48145467"), ('"resample": 3', '"resample": 2')])
def test_edited_preprocessing_is_refused(copy, old, new):
    edited(copy, old, new)
    with pytest.raises(ArtefactError, match="was changed after it was written: its seal does not fit"):
        load(copy)


def test_a_manifest_that_is_only_laid_out_otherwise_is_the_same(copy):
    path = copy / "manifest.json"
    before = open_artefact(copy).manifest
    path.write_text(json.dumps(json.loads(path.read_text()), indent=None, sort_keys=False))
    assert open_artefact(copy).manifest == before


def test_a_manifest_without_a_seal_is_refused(copy):
    path = copy / "manifest.json"
    keys = json.loads(path.read_text())
    del keys["seal"]
    path.write_text(json.dumps(keys))
    with pytest.raises(ArtefactError, match="the manifest has no seal; take an unchanged copy, or export again"):
        open_artefact(copy)


def test_a_lie_with_a_right_seal_is_refused_by_the_identity_in_every_format(copy):
    reseal(copy / "manifest.json", lambda keys: keys["preprocessing"].update(resample=2))
    for fmt in open_artefact(copy).manifest.formats():
        with pytest.raises(ArtefactError, match="was made for another manifest"):
            load(copy, fmt)


# Names and dtypes


def test_the_closed_list_is_that_of_the_results():
    fields = Output.__dataclass_fields__
    assert set(DTYPES) == set(fields)
    assert tuple(DTYPES)[: len(ALWAYS)] == ALWAYS


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda k: k["outputs"][3].update(name="evank"), "there is no 'evank', only tokens, kept, num_kept, erank"),
        (lambda k: k["outputs"][1].update(name="kgpt"), "there is no 'kgpt'"),
        (lambda k: k["outputs"].reverse(), "they must be tokens kept num_kept erank"),
        (lambda k: k["outputs"].pop(2), "they must be tokens kept num_kept erank"),
        (lambda k: k["outputs"].append(k["outputs"][3]), "they must be tokens kept num_kept erank"),
        (lambda k: k["outputs"][1].update(dtype="ant64"), "the output 'kept' is 'ant64'; it must be int64"),
        (
            lambda k: k["outputs"][0].update(dtype="float16"),
            "tokens are float16 among the outputs and 'float32'",
        ),
        (lambda k: k["outputs"][0].update(shape=["b", 9, 48]), "'tokens' is ('b', 9, 48), and the layout has 8 slots"),
        (lambda k: k["outputs"][3].update(shape=["b", 1]), "'erank' is ('b', 1)"),
        (lambda k: k["inputs"][0].update(name="pi|el_values"), "there must be one, pixel_values float32"),
        (lambda k: k["inputs"][0].update(shape=["b", 3, 42, 43]), "['b', 3, 42, 43]; there must be one"),
        (lambda k: k["inputs"].clear(), "the inputs are none; there must be one"),
        (lambda k: k["batch"].update(max=0), "it must be 1 <= min <= opt <= max"),
        (lambda k: k["layout"].update(slots=0), "the layout has a size below 1"),
        (
            lambda k: k["layout"]["candidates"].update(grid=[99, 6]),
            "a grid of (99, 6) with a patch of (7, 7) needs more",
        ),
        (lambda k: k["layout"].update(patch=[7, 8]), "a grid of (6, 6) with a patch of (7, 8) needs more pixels than"),
        (lambda k: k["layout"].update(patch=[0, 7]), "the layout has a size below 1"),
        (
            lambda k: k["preprocessing"].update(std=[]),
            "the std of preprocessing is (); three numbers are needed, 1e-06",
        ),
        (lambda k: k["preprocessing"].update(mean=[0.5, 0.5, 1e9]), "the mean of preprocessing is (0.5, 0.5, 1000"),
        (lambda k: k["preprocessing"].update(resample=7), "resizes with 7; it must be one of Pillow's filters"),
        (lambda k: k["preprocessing"].update(resize_shortest=2**62), "resizes to 4611686018427387904 pixels; it must"),
        (lambda k: k["preprocessing"].update(resize_exact=[42]), "resizes to (42,); it must be a height and a width"),
        (
            lambda k: k["preprocessing"].update(crop=[41, 42]),
            "crops to (41, 42), and the graph takes images of (42, 42)",
        ),
        (lambda k: k["preprocessing"].update(rescale_factor=0), "preprocessing scales by 0.0"),
        (lambda k: k["validation"].update(tensorrt={}), "validation tells of 'tensorrt', which was not built"),
        (lambda k: k["builds"][0].update(main="absent"), "which is not among its files"),
        (lambda k: k["builds"][0]["files"].update({"\ud800": {"bytes": 1, "sha256": ""}}), "half a character"),
        (lambda k: k["builds"][0]["files"].update({"a\x1b[1m": {"bytes": 1, "sha256": ""}}), "not a plain name"),
        (lambda k: k["model"].update(id="\ud800"), "half a character"),
    ],
)
def test_what_cannot_be_true_is_one_sentence(copy, change, words):
    reseal(copy / "manifest.json", change)
    code, _, told = vtp("inspect", copy)
    assert (code, told.count("\n")) == (2, 1), told
    assert words in told


def test_a_file_of_another_pruner_with_its_right_digest(copy, other_artefact, monkeypatch):
    """ONNX without the output `erank`."""
    (build,) = open_artefact(other_artefact).builds("onnx")
    shutil.copy(other_artefact / build.main, copy / build.main)
    record = vars(build.files[build.main])
    reseal(copy / "manifest.json", lambda keys: keys["builds"][0]["files"].update({build.main: record}))
    with pytest.raises(ArtefactError, match=r"model\.onnx was made for another manifest"):
        load(copy, "onnx")
    monkeypatch.setattr(base, "refuse_other_identity", lambda *_: None)  # as if it had been forged
    with pytest.raises(ArtefactError, match=r"model\.onnx has .*, and the manifest promises erank too; export again"):
        load(copy, "onnx")


# Things that are no files, and sizes


def in_time(function, seconds=5.0, megabytes=400):
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    function()
    assert time.process_time() - began < seconds
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < megabytes


def put(path, kind):
    path.unlink(missing_ok=True)
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "3 GB of nothing":
        with path.open("wb") as file:
            file.truncate(3 * 2**30)
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to(kind)


@pytest.mark.parametrize("kind", ["a pipe", "/dev/zero", "/dev/urandom", "3 GB of nothing", "a folder"])
def test_a_manifest_that_is_no_small_file(copy, photo, kind):
    put(copy / "manifest.json", kind)
    in_time(lambda: refused_by_every_reader(copy, photo, "manifest.json' cannot be read"))


@pytest.mark.parametrize("kind", ["a pipe", "/dev/zero", "3 GB of nothing", "a folder"])
def test_a_main_file_that_is_no_file(copy, kind):
    put(copy / "model.onnx", kind)
    words = "leads out of" if kind.startswith("/") else "bytes, not" if "GB" in kind else "is no regular file"

    def look():
        code, _, told = vtp("inspect", copy)
        assert (code, told.count("\n")) == (2, 1)
        assert words in told

    in_time(look)


@pytest.mark.parametrize("what", ["a million files", "a text of 100 MB", "deep"])
def test_a_manifest_that_is_too_large(copy, photo, what):
    path = copy / "manifest.json"
    if what == "deep":
        path.write_text('{"schema": 2, "model": ' + "[" * 100_000)
    else:
        text = path.read_text().rstrip().removesuffix("}")
        files = ", ".join(f'"{i}": {{"bytes": 1, "sha256": ""}}' for i in range(1_000_000))
        path.write_text(text + (f', "files": {{{files}}}}}' if "files" in what else f', "x": "{"x" * 100_000_000}"}}'))
    in_time(lambda: refused_by_every_reader(copy, photo, "manifest.json"))


def test_thousands_of_files_take_no_time(copy):
    path = copy / "manifest.json"
    keys = json.loads(path.read_text())
    keys["builds"][0]["files"].update({f"f{i}": {"bytes": 1, "sha256": "0" * 64} for i in range(5_000)})
    path.write_text(sealed(keys))

    def look():
        with pytest.raises(ArtefactError, match="is missing"):
            load(copy, "onnx")

    in_time(look)


# Another user


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("closed", ["folder", "manifest.json", "model.onnx"])
def test_what_may_not_be_read_is_one_sentence(copy, closed):
    path = copy if closed == "folder" else copy / closed
    for parent in (copy, *copy.parents[:2]):
        parent.chmod(0o755)
    path.chmod(0)
    code = (
        "import os, sys, vtp_export.cli\n"
        "from vtp_export.runtime.front_end import load\n"
        "from vtp_export.errors import ArtefactError\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: load(sys.argv[1], 'onnx')\n"
        "except ArtefactError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(copy)], capture_output=True, text=True)
    path.chmod(0o755)
    assert done.stderr == ""
    assert "cannot be read: Permission denied" in done.stdout and done.stdout.count("\n") == 1


ELSEWHERE = {
    "model": ("from vtp_export.graphs.assembly import load_model as use", "model", "model.safetensors"),
    "model's folder": ("from vtp_export.graphs.assembly import load_model as use", "model", ""),
    "benchmark's folder": ("from vtp_export.benchmarks._lookup import benchmark_of as use", "model/photo.png", ""),
    "image": ("from vtp_export.runtime.images import read_image as use", "model/photo.png", "photo.png"),
    "onnx file": ("from vtp_export.pipeline.lint import lint as use", "model/model.onnx", ""),
}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("what", ELSEWHERE)
def test_what_else_may_not_be_read_is_one_sentence_that_says_so(small_llava, tmp_path, what):
    code, argument, closed = ELSEWHERE[what]
    model = Path(shutil.copytree(small_llava, tmp_path / "model"))
    Image.new("RGB", (9, 9)).save(model / "photo.png")
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    end = (
        "import contextlib, os, sys\n"
        "from vtp_export.errors import VtpError\n"
        "with contextlib.suppress(VtpError): use(sys.argv[1])\n"  # all is imported now
        "os.chmod(sys.argv[2], 0)\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: use(sys.argv[1])\n"
        "except VtpError as error: print(error)\n"
    )
    words = [sys.executable, "-c", f"{code}\n{end}", str(tmp_path / argument), str(model / closed)]
    done = subprocess.run(words, capture_output=True, text=True)
    (model / closed).chmod(0o755)
    assert done.stderr == ""
    assert done.stdout.endswith("cannot be read: Permission denied\n") and done.stdout.count("\n") == 1


# Links


def cached(artefact, home, inside=""):
    """An artefact as the hub's client stores it: a snapshot of links to blobs that are named by their digests."""
    repository = home / "models--org--name"
    folder = repository / "snapshots" / "0123456789abcdef" / inside
    (repository / "blobs").mkdir(parents=True)
    folder.mkdir(parents=True)
    for number, path in enumerate(sorted(path for path in artefact.rglob("*") if path.is_file())):
        blob, link = repository / "blobs" / f"{number:040d}", folder / path.relative_to(artefact)
        shutil.copy(path, blob)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return folder


@pytest.mark.parametrize("inside", ["", "artefacts/llava64"])
def test_an_artefact_in_a_hub_cache_runs(artefact, tmp_path, inside):
    folder = cached(artefact, tmp_path, inside)
    pixels = np.random.default_rng(0).standard_normal((1, 3, 42, 42), dtype=np.float32)
    for fmt in open_artefact(artefact).manifest.formats():
        with load(folder, fmt) as linked, load(artefact, fmt) as plain:
            assert np.array_equal(linked.run(pixels).tokens, plain.run(pixels).tokens)
    assert check(folder, formats=("onnx",)).passed


def test_a_link_that_leaves_the_cache_is_refused(artefact, tmp_path):
    folder = cached(artefact, tmp_path)
    (folder / "model.onnx").unlink()
    (folder / "model.onnx").symlink_to(artefact / "model.onnx")
    with pytest.raises(ArtefactError, match="leads out of the artefact; copy the file itself"):
        load(folder, "onnx")
