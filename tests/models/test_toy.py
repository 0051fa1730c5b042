"""The embedded model: always the same, and lively enough to show what pruning does."""

import torch

from vtp_export.graphs.assembly import embedded_models, load_model
from vtp_export.models import toy
from vtp_export.spec import Candidates


def test_it_needs_no_checkpoint():
    assert embedded_models() == ["tiny-llava", "toy"]
    loaded = load_model("toy")
    assert loaded.core.id == loaded.core.family == "toy"
    assert loaded.core.revision is None
    assert loaded.core.weights_bytes == sum(4 * p.numel() for p in loaded.module.parameters())


def test_it_looks_like_llava():
    frontend = load_model("toy").frontend
    assert frontend.image_size == (336, 336)
    assert frontend.candidates == Candidates((24, 24))
    assert load_model("toy").preprocessing.crop == (336, 336)


def test_its_weights_are_the_same_whatever_was_drawn_before():
    torch.manual_seed(1)
    first = toy.load(None, ())
    torch.manual_seed(2)
    second = toy.load(None, ())
    assert first.core == second.core
    for one, other in zip(first.module.parameters(), second.module.parameters(), strict=True):
        assert torch.equal(one, other)


def test_loading_it_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    toy.load(None, ())
    assert torch.equal(torch.get_rng_state(), before)


def test_every_weight_is_drawn():
    one, same, other = (torch.nn.Linear(8, 8) for _ in range(3))
    for linear, seed in ((one, 1), (same, 1), (other, 2)):
        toy.draw_weights(linear, seed)
    assert torch.equal(one.weight, same.weight)
    assert torch.equal(one.bias, same.bias)
    assert not torch.equal(one.weight, other.weight)


def test_attention_differs_between_patches_and_between_images():
    frontend = load_model("toy").frontend
    pixels = torch.randn(2, 3, 336, 336, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        saliency = frontend.encode(pixels, {"saliency"}).saliency
    assert (saliency.amax(-1) > 2 * saliency.mean(-1)).all()
    assert saliency[0].argsort(descending=True)[:64].tolist() != saliency[1].argsort(descending=True)[:64].tolist()
