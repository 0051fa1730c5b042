"""A method, a family and a format of our own, put into a copy of the package as CONTRIBUTING tells."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from vtp_export.runtime.artefact import open_artefact

ROOT = Path(__file__).parent.parent
VTP = ("-W", "ignore", "-m", "vtp_export")
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")

NOBODY = '''

Source: nobody.
Licence: none needed.
Differs: from nothing.
Cost: none.
Published: none.
Use it when: never.
"""
'''

PRUNER = (
    '"""Corners: the tokens farthest from the middle of the picture.'
    + NOBODY
    + '''

from dataclasses import dataclass

import torch

from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import descending_rank, positions
from vtp_export.functional.tokens import Selection
from vtp_export.pruners import base
from vtp_export.settings import between


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of Corners.

    tilt: how much attention counts beside the distance.
    """

    tilt: float = between(0.0, 0, 1, source="nobody")


def needs(config):
    """What `forward` reads."""
    return frozenset({"saliency"})


class Pruner(base.Pruner):
    """Far from the middle."""

    def __init__(self, config, candidates):
        super().__init__(config, candidates)
        self.method = base.Method(slots=self.keep, needs=needs(config), by_place=True)
        rows, columns = base.grid_of(candidates, "corners")
        down, across = torch.arange(rows) * 2 - rows + 1, torch.arange(columns) * 2 - columns + 1
        self.register_buffer("far", (down[:, None] ** 2 + across**2).flatten().double(), persistent=False)

    def forward(self, tokens):
        """Choose from `saliency` (b, n)."""
        saliency = at_least_float32(tokens.saliency)
        score = self.far.to(saliency.dtype) + self.config.tilt * saliency
        return Selection(positions(descending_rank(score) < self.keep, self.keep))
'''
)

TWIN = '''"""Corners, literally."""

import numpy as np

from vtp_export.reference.base import Outcome, descending, taken


MAXIMISES = ()  # where a token lies decides


def select(signals, settings):
    """Far from the middle."""
    rows, columns = signals.candidates.grid
    far = [(2 * (i // columns) - rows + 1) ** 2 + (2 * (i % columns) - columns + 1) ** 2 for i in range(signals.n)]
    score = np.array(far) + settings["tilt"] * signals.saliency
    best = descending(score)[: settings["keep"]]
    return Outcome(np.array(sorted(best)), choices=taken("distance from the middle", best, score))
'''

FAMILY = '''"""A tower of one layer without CLS, whose picture is wider than high, and whose attention is one layer."""

import torch
from torch import nn
from torch.nn import functional as F

from vtp_export.errors import ModelError
from vtp_export.functional.attention import attention_received
from vtp_export.functional.tokens import Tokens
from vtp_export.models._fingerprint import Fingerprint
from vtp_export.models._weights import Weights
from vtp_export.models.base import AttentionGroup, LoadedModel
from vtp_export.spec import Candidates, ModelRecord, Preprocessing


class Block(nn.Module):
    """Attention of two heads; what each token received of it, beside."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(16, 48)

    def forward(self, x):
        """Of (b, n, 16)."""
        query, key, value = (part.unflatten(-1, (2, 8)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return x + mixed, attention_received(query, key, 8**-0.5)


class Wide(nn.Module):
    """28 x 42 pixels, 4 x 6 tokens."""

    image_size, candidates, patch, width = (28, 42), Candidates((4, 6)), (7, 7), 20
    blocks, groups = ("block",), (AttentionGroup(("block.qkv",), 2),)
    gives, saliency, positions, planes = frozenset({"projected", "saliency"}), "received", None, 0

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 7, 7)
        self.block = Block()
        self.projector = nn.Linear(16, 20)

    def encode(self, pixel_values, needs):
        """To signals."""
        hidden, received = self.block(self.patches(pixel_values).flatten(2).transpose(1, 2))
        return Tokens(
            hidden,
            projected=self.project(hidden) if "projected" in needs else None,
            saliency=received if "saliency" in needs else None,
        )

    def project(self, features):
        """Each token alone."""
        return self.projector(features)


def load(checkpoint, needs):
    """Everything, whatever is needed."""
    if missing := sorted(set(needs) - Wide.gives):
        raise ModelError(f"a model of the family 'wide' gives no {', '.join(missing)}; choose another pruner")
    with torch.device("meta"):
        module = Wide()
    tensors = dict(Weights(checkpoint).read({name: name for name in module.state_dict()}))
    module.load_state_dict(tensors, assign=True)
    fingerprint = Fingerprint(tensors)
    record = ModelRecord(
        id=checkpoint.id,
        revision=checkpoint.revision,
        family="wide",
        weights_sha256=fingerprint.sha256,
        weights_bytes=fingerprint.bytes,
        saliency=module.saliency,
    )
    half = (0.5, 0.5, 0.5)
    preprocessing = Preprocessing(
        resize_shortest=None, resize_exact=(28, 42), resample=3, crop=None, rescale_factor=1 / 255, mean=half, std=half
    )
    return LoadedModel(module=module.requires_grad_(False).eval(), preprocessing=preprocessing, core=record)
'''


WRITER = '''"""A checkpoint of the family, small."""

import torch
from safetensors.torch import save_file


def wide(folder):
    generator = torch.Generator().manual_seed(0)
    shapes = {"patches": (16, 3, 7, 7), "block.qkv": (48, 16), "projector": (20, 16)}
    tensors = {f"{name}.weight": torch.randn(shape, generator=generator) / 4 for name, shape in shapes.items()}
    tensors |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text('{"model_type": "wide"}')
    return str(folder)


WRITERS = [wide]
'''


ZIPPED = '''"""The ONNX file, zipped."""

import gzip
import tempfile
from dataclasses import dataclass
from pathlib import Path

from vtp_export import rooms
from vtp_export.backends import base
from vtp_export.errors import ArtefactError, UnavailableError
from vtp_export.settings import between


@dataclass(frozen=True)
class ZipOptions(base.FormatOptions):
    """How it is zipped.

    level: how hard it tries.
    """

    level: int = between(0, 0, 9, source="gzip")


def plain():
    """What is inside."""
    return rooms.load("backends", "onnx").Backend()


class Backend(base.Backend):
    devices = ("cpu",)
    rank = 15
    source = "onnx"
    main = "model.zipped"
    packages = ("onnxruntime",)
    BuildOptions = ZipOptions

    def missing(self):
        return plain().missing()

    def build(self, source, brief, folder, progress):
        progress("zipping")
        (folder / self.main).write_bytes(gzip.compress(source.read_bytes(), brief.options.level))
        return self.built(folder)

    def open(self, folder, build, brief, device, threads, options):
        if reason := self.missing():
            raise UnavailableError(reason)
        try:
            content = gzip.decompress((folder / build.main).read_bytes())
        except (OSError, EOFError) as error:
            raise ArtefactError(f"gzip refuses {build.main}: {error}") from error
        with tempfile.TemporaryDirectory() as place:
            (Path(place) / build.main).write_bytes(content)
            return plain().open(Path(place), build, brief, device, threads, plain().Options())
'''


INSIDE = (
    '"""Loudest: the tokens that one head looks at most.'
    + NOBODY
    + '''

from dataclasses import dataclass

from vtp_export.inllm import base
from vtp_export.inllm._budgets import Cut, nearest
from vtp_export.inllm._cutting import Cutting
from vtp_export.inllm._depths import depths


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of Loudest: the budget alone."""


class Method(Cutting):
    """One cut."""

    def _cuts(self, n, layers):
        (place,) = depths((4,), layers)
        return nearest(self.config.keep, n, layers, lambda keep: (Cut(before=place, ranks=place - 1, keep=keep),))

    def scores(self, attention):
        """Of the loudest head."""
        return attention.weights.amax(0).mean(0)
'''
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the package and of the laws, with a method, a family and a format more; runs Python there."""
    home, ignored = tmp_path_factory.mktemp("extended"), shutil.ignore_patterns("tiny-llava", "__pycache__", "out")
    for folder in ("vtp_export", "tests/laws", "tests/inllm", "tests/tensorrt_api", "bench", "docs"):
        shutil.copytree(ROOT / folder, home / folder, ignore=ignored)
    for file in ("pyproject.toml", "tests/conftest.py", "tests/formats.py", "tests/test_pages.py"):
        shutil.copy(ROOT / file, home / file)
    (home / "vtp_export/pruners/corners.py").write_text(PRUNER)
    (home / "vtp_export/reference/corners.py").write_text(TWIN)
    (home / "vtp_export/inllm/loudest.py").write_text(INSIDE)
    (home / "vtp_export/models/wide.py").write_text(FAMILY)
    (home / "tests/laws/checkpoints/wide.py").write_text(WRITER)
    (home / "vtp_export/backends/zipped.py").write_text(ZIPPED)

    def run(*arguments, code=0):
        environment = {**os.environ, "PYTHONPATH": str(home), "COLUMNS": "300", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def wide(copy, tmp_path_factory):
    """A checkpoint of the family."""
    folder = tmp_path_factory.mktemp("wide")
    written = f"from pathlib import Path; from tests.laws.checkpoints.wide import wide; wide(Path({str(folder)!r}))"
    copy("-c", written)
    return folder


@pytest.mark.whole
def test_a_pruner_is_under_the_laws_the_moment_it_exists(copy):
    laws = [f"tests/laws/test_pruner_{part}.py" for part in ("laws", "exports")]
    assert "passed" in copy(*PYTEST, *laws, "-m", "not whole", "-k", "corners")
    assert "run: python -m bench.pages" in copy(*PYTEST, "tests/test_pages.py", code=1)
    copy("-m", "bench.pages")
    copy(*PYTEST, "tests/test_pages.py", "-k", "up or corners")


@pytest.mark.whole
def test_a_method_inside_the_language_model_is_under_the_laws_the_moment_it_exists(copy):
    assert " passed" in copy(*PYTEST, "tests/inllm/test_laws.py", "-k", "loudest")
    assert "loudest" in copy(*VTP, "list", "inllm")
    refused = copy(*VTP, "export", "toy", "--pruner", "loudest", "--out", "a", code=2)
    assert "'loudest' prunes inside the language model" in refused


def test_a_family_is_under_the_laws_as_soon_as_a_checkpoint_of_it_can_be_written(copy):
    assert " passed" in copy(*PYTEST, "tests/laws/test_model_laws.py", "-k", "wide")


@pytest.mark.whole
def test_a_family_is_exported_and_validated_with_it(copy, wide, tmp_path):
    told = copy(*VTP, "export", wide, "--pruner", "corners", "--keep", 4, "-f", "torchscript", "--out", tmp_path / "a")
    assert "keeps 4 of 24 visual tokens with corners" in told
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["layout"] == {
        "candidates": {"cls": False, "grid": [4, 6]},
        "image_size": [28, 42],
        "keep": 4,
        "patch": [7, 7],
        "slots": 4,
    }
    assert manifest["model"]["saliency"] == "received"
    assert manifest["inputs"][0]["shape"] == ["b", 3, 28, 42]
    copy(*VTP, "validate", tmp_path / "a", "--limit", 2)
    refused = copy(*VTP, "export", wide, "--pruner", "prumerge", "--keep", 8, "--out", tmp_path / "b", "--json", code=2)
    assert "gives no following_keys, following_saliency; choose another pruner" in refused


@pytest.mark.whole
def test_a_format_is_under_the_laws_the_moment_it_exists(copy):
    assert " passed" in copy(*PYTEST, "tests/laws/test_backend_laws.py", "-k", "zipped")


@pytest.mark.whole
def test_a_format_is_one_file(copy, artefact, small_llava, tmp_path):

    def vtp(*arguments, code=0):
        return copy(*VTP, *arguments, code=code)

    folder, picture = tmp_path / "artefact", tmp_path / "picture.png"
    shutil.copytree(artefact, folder)
    Image.effect_noise((60, 50), 90).convert("RGB").save(picture)
    assert "The ONNX file, zipped." in vtp("list", "backends")
    assert "did you mean 'level'" in vtp("build", folder, "--format", "zipped", "--option", "levl=9", code=2)
    vtp("build", folder, "--format", "zipped", "--option", "level=9")
    kept = [
        json.loads(vtp("run", folder, picture, *given, "--json", "-q"))["images"]
        for given in ((), ("--format", "zipped"), ("--format", "onnx"))  # it ranks before onnx
    ]
    assert kept[0] == kept[1] == kept[2]
    assert "zipped runs on cpu, not on cuda" in vtp("run", folder, picture, "-f", "zipped", "--device", "cuda", code=2)
    assert "model.zipped" in vtp("inspect", folder)
    out = tmp_path / "both"
    vtp("export", small_llava, "--keep", 4, "-f", "onnx", "-f", "zipped", "--option", "level=1", "--out", out)
    assert open_artefact(out).manifest.formats() == ["onnx", "zipped"]
    assert sorted(path.name for path in out.iterdir()) == ["golden", "manifest.json", "model.onnx", "model.zipped"]
