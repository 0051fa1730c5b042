"""The laws of `models/base.py`, for every file in `models/`."""

import contextlib
import shutil
import typing
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.laws.families import checkpoints_of, load_family
from vtp_export import rooms
from vtp_export.errors import ModelError
from vtp_export.functional.tokens import CARRIED, KINDS, Tokens
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.models._frontend import VisionFrontend
from vtp_export.models._weights import SINGLE, Weights
from vtp_export.models.base import LoadedModel
from vtp_export.pruners.base import Method
from vtp_export.spec import Saliency

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
ALL = frozenset(Tokens._fields) - {"hidden", CARRIED}
WRITERS = Path(__file__).parent / "checkpoints"


def writers_of(family):
    """Writers of small checkpoints of a family, one of each kind; each is given an empty folder, and returns a name."""
    return checkpoints_of(family).WRITERS


def has_writers(family):
    return (WRITERS / f"{family}.py").exists()


def writer_of(family, variant):
    """The writer; a family without one fails."""
    if not has_writers(family):
        pytest.fail(f"models/{family}.py is under no law: write tests/laws/checkpoints/{family}.py")
    return writers_of(family)[variant]


CASES = [
    pytest.param((family, variant), id=f"{family}-{variant}")
    for family in rooms.names("models")
    for variant in range(len(writers_of(family)) if has_writers(family) else 1)
]


@pytest.fixture(scope="module", params=CASES)
def name(request, tmp_path_factory):
    """What `load_family` is to load."""
    torch.manual_seed(11)
    return writer_of(*request.param)(tmp_path_factory.mktemp("model"))


def givable(name):
    """Every signal that a model of that name gives, if it is loaded for it."""
    found = set()
    for signal in ALL:
        with contextlib.suppress(ModelError):
            found |= load_family(name, {signal}).frontend.gives & {signal}
    return frozenset(found)


@pytest.fixture(scope="module")
def asked(name):
    return givable(name)


@pytest.fixture(scope="module")
def loaded(name, asked):
    """Loaded for all that it can give."""
    return load_family(name, asked)


@pytest.fixture(scope="module")
def frontend(loaded):
    return loaded.frontend


@pytest.fixture(scope="module")
def pixels(frontend):
    return torch.randn(2, 3, *frontend.image_size, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def tokens(frontend, pixels, asked):
    with torch.no_grad():
        return frontend.encode(pixels, asked)


def given(tokens):
    """The signals that are there."""
    return [signal for signal in tokens if signal is not None]


def test_a_family_without_a_writer_fails_by_name():
    with pytest.raises(pytest.fail.Exception, match=r"models/newcomer\.py is under no law: write tests/laws"):
        writer_of("newcomer", 0)


def test_every_writer_belongs_to_a_file():
    assert {path.stem for path in WRITERS.glob("[!_]*.py")} <= set(rooms.names("models"))


def test_signals_have_the_declared_shapes_and_are_finite(frontend, tokens, asked):
    n = frontend.candidates.n
    assert asked <= frontend.gives
    assert tokens.hidden.shape[:2] == (2, n)
    assert tokens.projected.shape == (2, n, frontend.width)
    for name in {"hidden", *asked}:
        signal = getattr(tokens, name)
        assert signal.shape[:2] == (2, 1 if KINDS[name] == "beside" else n)
        assert signal.dim() == (2 if KINDS[name] == "attention" else 3)
        assert signal.dtype == torch.float32
        assert signal.isfinite().all()
        assert signal.std() > 0
    assert len(given(tokens)) == len(asked) + 1 + (frontend.planes > 0)
    assert (tokens.planes is not None) == (frontend.planes > 0)


def test_only_what_is_needed_is_given_and_it_is_the_same(frontend, pixels, tokens, asked):
    for needs in (set(), *({name} for name in asked)):
        with torch.no_grad():
            some = frontend.encode(pixels, needs)
        torch.testing.assert_close(some.hidden, tokens.hidden, **TOLERANCE)
        for signal in ALL:
            assert (getattr(some, signal) is None) == (signal not in needs)
            if signal in needs:
                torch.testing.assert_close(getattr(some, signal), getattr(tokens, signal), **TOLERANCE)


def test_what_a_model_cannot_give_is_refused_before_its_weights_are_read(name, asked, monkeypatch):
    monkeypatch.setattr(Weights, "read", lambda *_: pytest.fail("weights were read"))
    for signal in ALL - asked:
        with pytest.raises(ModelError, match="choose another pruner"):
            load_family(name, {signal})


def test_a_graph_asks_for_no_more_than_the_front_end_gives(name, asked):
    least = load_family(name).frontend
    for signal in asked - least.gives:
        pruner = type("Needy", (), {"method": Method(slots=1, needs=frozenset({signal}))})()
        with pytest.raises(ModelError, match=f"reads {signal}, which this model, as it was loaded, does not give"):
            PrunedFrontend(least, pruner)


@pytest.mark.whole
def test_the_digest_is_of_what_the_needs_take(name, loaded, asked):
    """More may be read than a pruner needs; the record is of what it needs, and the core is always the same."""
    least = load_family(name)
    assert least.core == loaded.core == least.record(())
    for signal in asked:
        alone = load_family(name, {signal})
        assert alone.core == least.core
        assert alone.record({signal}) == loaded.record({signal})
        assert (alone.record({signal}) == least.core) == (signal in least.frontend.gives)


def nested(tensor):
    """What stood before the layers of a tower until Transformers 5, in models and where the tower is all there is."""
    own = ("embeddings.", "encoder.", "pre_layrnorm.", "post_layernorm.", "layernorm.", "head.")
    tensor = tensor.replace("vision_tower.", "vision_tower.vision_model.")
    return f"vision_model.{tensor}" if tensor.startswith(own) else tensor


OTHER_NAMES = {
    "nested": nested,
    "of a model": lambda tensor: f"model.{tensor}",
    "nested, of a model": lambda tensor: f"model.{nested(tensor)}",
}
"""Of the tensors of a checkpoint, from what Transformers 5 writes."""


@pytest.mark.parametrize(
    "names",
    [
        pytest.param("nested", marks=pytest.mark.whole),
        pytest.param("of a model", marks=pytest.mark.whole),
        "nested, of a model",
    ],
)
def test_other_names_of_the_tensors_are_the_same_model(name, loaded, asked, tmp_path, names):
    if not Path(name).is_dir() or not isinstance(loaded.module, VisionFrontend):
        return  # no checkpoint, or a tower of its own, whose tensors never had other names
    shutil.copytree(name, tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / SINGLE)
    renamed = {OTHER_NAMES[names](tensor): value for tensor, value in tensors.items()}
    assert "vision_model" in "".join(renamed) or names == "of a model"
    save_file(renamed, tmp_path / SINGLE)
    other = load_family(tmp_path, asked)
    assert other.core.weights_sha256 == loaded.core.weights_sha256
    assert other.record(asked).weights_sha256 == loaded.record(asked).weights_sha256


def test_attention_groups_are_layers_of_their_own(loaded, frontend):
    paths = [path for group in frontend.groups for path in group.layers]
    assert len(set(paths)) == len(paths) > 0
    for group in frontend.groups:
        assert len(group.layers) in (1, 3)
        for path in group.layers:
            assert loaded.module.get_submodule(path).out_features % group.heads == 0


def test_the_same_pixels_give_the_same_tokens(name, frontend, pixels, tokens, asked):
    before = pixels.clone()
    with torch.no_grad():
        again = frontend.encode(pixels, asked)
        reloaded = load_family(name, asked).frontend.encode(pixels, asked)
    assert torch.equal(pixels, before)
    for one, two, three in zip(given(tokens), given(again), given(reloaded), strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


def test_a_batch_is_its_images(frontend, pixels, tokens, asked):
    for number in range(len(pixels)):
        with torch.no_grad():
            alone = frontend.encode(pixels[number : number + 1], asked)
        for one, all_of_them in zip(given(alone), given(tokens), strict=True):
            torch.testing.assert_close(one[0], all_of_them[number], **TOLERANCE)


def test_the_grid_ends_where_it_is_said_to_end(frontend, pixels):
    """The last pixels that it covers, down and across, move tokens; those beyond move none."""
    (rows, columns), (high, wide) = frontend.candidates.grid, frontend.patch
    with torch.no_grad():
        before = frontend.encode(pixels, ()).hidden
    for last in (1, 0):
        down, across = pixels.clone(), pixels.clone()
        down[:, :, rows * high - last :] += 3
        across[:, :, :, columns * wide - last :] += 3
        for painted in (down, across):
            with torch.no_grad():
                assert torch.equal(frontend.encode(painted, ()).hidden, before) == (not last)


def test_projecting_and_gathering_commute(frontend, tokens):
    generator = torch.Generator().manual_seed(9)
    n, k = tokens.hidden.shape[1], 5
    kept = torch.stack([torch.randperm(n, generator=generator)[:k] for _ in range(2)])  # (b, k)

    def gathered(signal):
        return signal.gather(1, kept[..., None].expand(-1, -1, signal.shape[-1]))

    with torch.no_grad():
        pruned_first = frontend.project(gathered(tokens.hidden))
        if frontend.planes:
            planes = frontend.project_planes(tokens.planes)
            assert planes.shape == (2, n, frontend.planes * frontend.width)
            torch.testing.assert_close(frontend.project_planes(gathered(tokens.planes)), gathered(planes), **TOLERANCE)
    assert pruned_first.shape == (2, k, frontend.width)
    torch.testing.assert_close(pruned_first, gathered(tokens.projected), **TOLERANCE)


def test_saliency_is_attention_that_is_not_renormalised(frontend, tokens):
    assert (tokens.saliency >= 0).all()
    total = tokens.saliency.sum(-1)
    if (
        frontend.saliency == "received" or frontend.candidates.cls
    ):  # 1, over the patches that a candidate is the mean of
        torch.testing.assert_close(1 / total, (1 / total[:1]).round().expand(2), **TOLERANCE)
    else:  # what CLS pays to itself is missing
        assert (total > 0).all()
        assert (total < 1 - 1e-6).all()
    assert frontend.saliency in typing.get_args(Saliency)


def test_blocks_are_in_the_module_and_none_is_read_in_vain(loaded, frontend, pixels, asked):
    called = set()
    for path in frontend.blocks:
        loaded.module.get_submodule(path).register_forward_hook(lambda *_, path=path: called.add(path))
    with torch.no_grad():
        frontend.encode(pixels, ())
    assert called == set(frontend.blocks)
    names = [name for name, _ in loaded.module.named_parameters()]
    assert not [name for name in names if "language" in name or "text" in name]


def test_weights_are_ready_to_use(loaded):
    assert isinstance(loaded, LoadedModel)
    assert not loaded.module.training
    for parameter in (*loaded.module.parameters(), *loaded.module.buffers()):
        assert parameter.device.type == "cpu"
        assert parameter.dtype == torch.float32 or not parameter.is_floating_point()  # a table of places
        assert not parameter.requires_grad


def test_the_record_names_the_family(name, loaded, asked):
    record = loaded.record(asked)
    assert record.id == name
    assert record.family in rooms.names("models")
    assert record.saliency == loaded.frontend.saliency
    assert len(record.weights_sha256) == 64
    newline = [loaded.tiling.newline] if loaded.tiling is not None and loaded.tiling.newline is not None else []
    assert record.weights_bytes == sum(4 * tensor.numel() for tensor in (*loaded.module.parameters(), *newline))
    size = loaded.preprocessing.crop or loaded.preprocessing.resize_exact
    assert size == loaded.frontend.image_size
