"""The laws of `models/base.py`, for every file in `models/`."""

import pytest
import torch

from vtp_export import rooms
from vtp_export.errors import ModelError
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.assembly import load_model
from vtp_export.models.base import LoadedModel

TOLERANCE = {"atol": 1e-5, "rtol": 1e-5}
ALL = set(Tokens._fields) - {"hidden"}
APART = {"cls", "keys", "following_keys", "following_saliency"}  # not where CLS is a candidate itself
VISION = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 7,
}
TEXT = {"hidden_size": 48, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 64}


def toy(folder):
    return "toy"


def llava(folder, **options):
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    config = LlavaConfig(
        vision_config=VISION, text_config={"model_type": "llama", **TEXT}, image_token_index=63, **options
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    return str(folder)


def llava_with_cls(folder):
    return llava(folder, vision_feature_select_strategy="full")


def llava_of_two_layers(folder):
    return llava(folder, vision_feature_layer=[-2, 1])


def clip(folder):
    from transformers import CLIPConfig, CLIPModel

    CLIPModel(CLIPConfig(vision_config=VISION, text_config=TEXT)).save_pretrained(folder)
    return str(folder)


def clip_vision_model(folder):
    from transformers import CLIPVisionConfig, CLIPVisionModel

    CLIPVisionModel(CLIPVisionConfig(**VISION)).save_pretrained(folder)
    return str(folder)


# Family to the writers of its variants. A writer is given an empty folder and returns what `load_model` is to load.
BUILDERS = {
    "toy": [toy],
    "llava": [llava, llava_with_cls, llava_of_two_layers],
    "clip": [clip],
    "clip_vision_model": [clip_vision_model],
}


def builder_of(family, variant):
    """The writer; a family without one fails."""
    if family not in BUILDERS:
        pytest.fail(f"models/{family}.py is under no law: add a writer of a small checkpoint for it to BUILDERS")
    return BUILDERS[family][variant]


CASES = [
    pytest.param((family, variant), id=BUILDERS[family][variant].__name__ if family in BUILDERS else family)
    for family in rooms.names("models")
    for variant in range(len(BUILDERS.get(family, [None])))
]


@pytest.fixture(scope="module", params=CASES)
def name(request, tmp_path_factory):
    """What `load_model` is to load."""
    torch.manual_seed(11)
    return builder_of(*request.param)(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def loaded(name):
    return load_model(name)


@pytest.fixture(scope="module")
def asked(loaded):
    """Every signal that the family has."""
    return ALL - APART if loaded.frontend.candidates.cls else ALL


@pytest.fixture(scope="module")
def frontend(loaded, asked):
    return loaded.frontend.serving(asked)


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
    with pytest.raises(pytest.fail.Exception, match=r"models/newcomer\.py is under no law: add a writer"):
        builder_of("newcomer", 0)


def test_every_writer_belongs_to_a_file():
    assert set(BUILDERS) <= set(rooms.names("models"))


def test_signals_have_the_declared_shapes_and_are_finite(frontend, tokens, asked):
    n = frontend.candidates.n
    assert tokens.hidden.shape[:2] == (2, n)
    assert tokens.projected.shape == (2, n, frontend.width)
    for name in asked & {"saliency", "received", "early_saliency", "early_received", "following_saliency"}:
        assert getattr(tokens, name).shape == (2, n)
    if "cls" in asked:
        assert tokens.cls.shape == (2, 1, tokens.hidden.shape[2])
        assert tokens.keys.shape[:2] == tokens.following_keys.shape[:2] == (2, n + 1)
    assert len(given(tokens)) == len(asked) + 1
    for signal in given(tokens):
        assert signal.dtype == torch.float32
        assert signal.isfinite().all()
        assert signal.std() > 0


def test_only_what_is_needed_is_given_and_it_is_the_same(frontend, pixels, tokens, asked):
    for needs in (set(), *({name} for name in asked)):
        with torch.no_grad():
            some = frontend.encode(pixels, needs)
        torch.testing.assert_close(some.hidden, tokens.hidden, **TOLERANCE)
        for signal in ALL:
            assert (getattr(some, signal) is None) == (signal not in needs)
            if signal in needs:
                torch.testing.assert_close(getattr(some, signal), getattr(tokens, signal), **TOLERANCE)


def test_a_signal_that_sets_cls_apart_is_refused_where_cls_is_a_candidate(loaded):
    if loaded.frontend.candidates.cls:
        for name in APART:
            with pytest.raises(ModelError, match=f"reads {name}, where CLS stands beside"):
                loaded.frontend.serving({name})


def test_a_tower_read_at_its_last_layer_has_none_after_it(tmp_path):
    frontend = load_model(llava(tmp_path, vision_feature_layer=-1)).frontend
    with pytest.raises(ModelError, match="come from its last layer"):
        frontend.serving({"following_keys"})


def test_serving_more_leaves_the_model_as_it_is(loaded, frontend):
    names = [name for name, _ in loaded.module.named_parameters()]
    assert not [name for name in names if "following" in name]
    assert loaded.frontend.serving({"saliency"}) is loaded.frontend
    if not loaded.frontend.candidates.cls:
        ours, theirs = dict(frontend.named_parameters()), dict(loaded.module.named_parameters())
        assert all(ours[name].data_ptr() == theirs[name].data_ptr() for name in names)
        assert {name.split(".")[1] for name in set(ours) - set(theirs)} == {"following"}


def test_the_same_pixels_give_the_same_tokens(name, frontend, pixels, tokens, asked):
    before = pixels.clone()
    with torch.no_grad():
        again = frontend.encode(pixels, asked)
        reloaded = load_model(name).frontend.serving(asked).encode(pixels, asked)
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


def test_projecting_and_gathering_commute(frontend, tokens):
    generator = torch.Generator().manual_seed(9)
    n, k = tokens.hidden.shape[1], 5
    kept = torch.stack([torch.randperm(n, generator=generator)[:k] for _ in range(2)])  # (b, k)

    def gathered(signal):
        return signal.gather(1, kept[..., None].expand(-1, -1, signal.shape[-1]))

    with torch.no_grad():
        pruned_first = frontend.project(gathered(tokens.hidden))
    assert pruned_first.shape == (2, k, frontend.width)
    torch.testing.assert_close(pruned_first, gathered(tokens.projected), **TOLERANCE)


def test_saliency_is_attention_that_is_not_renormalised(frontend, tokens):
    assert (tokens.saliency >= 0).all()
    paid = tokens.saliency.sum(-1)
    if frontend.candidates.cls:
        torch.testing.assert_close(paid, torch.ones(2), **TOLERANCE)
    else:  # what CLS pays to itself is missing
        assert (paid > 0).all()
        assert (paid < 1 - 1e-6).all()


def test_layers_that_are_not_read_do_not_exist(loaded):
    names = [name for name, _ in loaded.module.named_parameters()]
    layers = {int(name.split(".layers.")[1].split(".")[0]) for name in names if ".layers." in name}
    assert layers == {0, 1, 2}  # every model here has 4 and is read at -2
    assert not [name for name in names if "post_layernorm" in name or "language" in name or "text" in name]


def test_weights_are_ready_to_use(loaded):
    assert isinstance(loaded, LoadedModel)
    assert not loaded.module.training
    for parameter in (*loaded.module.parameters(), *loaded.module.buffers()):
        assert parameter.device.type == "cpu"
        assert parameter.dtype == torch.float32
        assert not parameter.requires_grad


def test_the_record_names_the_family(name, loaded):
    assert loaded.record.id == name
    assert loaded.record.family in rooms.names("models")
    assert len(loaded.record.weights_sha256) == 64
    assert loaded.record.weights_bytes == sum(4 * parameter.numel() for parameter in loaded.module.parameters())
    assert loaded.preprocessing.crop == loaded.frontend.image_size
