"""Token features of real pictures through towers of real size: what the effective rank must hold on.

    python -m bench.features            into bench/out: 1 GB of checkpoints, and Gram matrices; ten minutes
    python -m bench.features spectra    the same, and from them `tests/data/spectra.npz`

Two halves. `SEEN` are the default photographs as they are; a search of constants may look at them. `UNSEEN` are the
same mirrored or cropped, through projectors of other seeds and widths; they judge what the search came to.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

from bench import dinov2
from bench.checkpoint import TEXT_WIDTH, TEXT_WIDTH_13B, write_checkpoint
from vtp_export.benchmarks.photos import Benchmark
from vtp_export.functional.similarity import spectral_gram
from vtp_export.graphs.assembly import load_model
from vtp_export.runtime.preprocess import pixel_values

Picture = tuple[str, Image.Image]
OUT = Path("bench/out")


def seen() -> list[Picture]:
    """The default photographs."""
    return [(example.name, example.open()) for example in Benchmark().examples(None)]


def unseen() -> list[Picture]:
    """Every other one mirrored, and the middle half of each side of the rest."""
    pictures = []
    for i, (name, image) in enumerate(seen()):
        w, h = image.size
        middle = (w // 4, h // 4, w - w // 4, h - h // 4)
        changed = image.crop(middle) if i % 2 else ImageOps.mirror(image)
        pictures.append((f"{name}, {'cropped' if i % 2 else 'mirrored'}", changed))
    return pictures


def of_front_end(model: str, pictures: list[Picture]) -> Iterator[tuple[str, Tensor]]:
    """Projected tokens (n, d) of a model that `load_model` knows."""
    loaded = load_model(model)
    for name, image in pictures:
        with torch.inference_mode():
            tokens = loaded.frontend.encode(
                torch.from_numpy(pixel_values([image], loaded.preprocessing)), ("projected",)
            )
        assert tokens.projected is not None
        yield name, tokens.projected[0]


def of_dinov2(folder: Path, pictures: list[Picture]) -> Iterator[tuple[str, str, Tensor]]:
    """Patch tokens (576, 384) at 336 x 336: which picture, "hidden" (state -2), "middle" (6) or "last", and they."""

    def pixels() -> Iterator[Tensor]:
        mean, std = (torch.tensor(dinov2.PREPROCESSOR[f"image_{name}"])[:, None, None] for name in ("mean", "std"))
        for _, image in pictures:
            square = ImageOps.fit(image.convert("RGB"), (336, 336), Image.Resampling.BICUBIC)
            values = torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1) / 255
            yield ((values - mean) / std)[None]

    for (name, _), states in zip(pictures, dinov2.hidden_states(folder, pixels()), strict=True):
        for kind, state in (("hidden", states[-3]), ("middle", states[6]), ("last", states[-1])):
            yield name, kind, state[0, 1:]


def mlp(inner: int, width: int, seed: int) -> nn.Module:
    """A projector as LLaVA's, drawn: 384 to `inner` to `width`."""
    generator = torch.Generator().manual_seed(seed)
    first, second = nn.Linear(384, inner), nn.Linear(inner, width)
    for layer in (first, second):
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(first, nn.GELU(), second).requires_grad_(False)


def families(out: Path, pictures: list[Picture], new: bool) -> Iterator[tuple[str, str, Tensor]]:
    """All features of some pictures: family, picture, and (n, d) float32.

    Args:
        out: where the checkpoints lie, or are made.
        pictures: named.
        new: take the seeds and widths that no search has seen.
    """
    for family, width in (("LLaVA-1.5-7B geometry", TEXT_WIDTH), ("LLaVA-1.5-13B geometry", TEXT_WIDTH_13B)):
        folder = out / f"llava-{width}"
        if not (folder / "config.json").is_file():
            write_checkpoint(folder, width)
        yield from ((family, name, features) for name, features in of_front_end(str(folder), pictures))
    for model in ("tiny-llava", "toy"):
        yield from ((model, name, features) for name, features in of_front_end(model, pictures))
    folder = out / "dinov2-small"
    if not (folder / "config.json").is_file():
        dinov2.write_folder(folder)
    projectors = (mlp(768, 5120, 3), mlp(2048, 2048, 4), mlp(1024, 4096, 5)) if new else (mlp(1024, 4096, 0),)
    for name, kind, features in of_dinov2(folder, pictures):
        yield f"DINOv2-small {kind}", name, features
        if kind == "hidden":
            for projector in projectors:
                yield "DINOv2-small through an MLP", name, projector(features)


def singular_values(features: Tensor, center: bool) -> np.ndarray:
    """(min(n, d),) float64, descending."""
    wide = features.double()
    values: np.ndarray = torch.linalg.svdvals(wide - wide.mean(0) if center else wide).numpy()
    return values


def gram_trials(out: Path, new: bool) -> dict[str, tuple[np.ndarray, np.ndarray, bool, list[str]]]:
    """By family: Gram matrices (b, m, m) float32, singular values (b, m), whether centred, and the pictures.

    They are kept in `out`, because making them takes minutes.
    """
    path = out / f"grams-{'unseen' if new else 'seen'}.pt"
    if not path.is_file():
        rows: dict[str, list[tuple[Tensor, Tensor, bool, str]]] = {}
        for family, name, features in families(out, unseen() if new else seen(), new):
            gram, null_ones = spectral_gram(features[None], True)
            exact = torch.from_numpy(singular_values(features, True))
            rows.setdefault(family, []).append((gram[0], exact, null_ones, name))
            print(family, name, tuple(features.shape), flush=True)
        torch.save(rows, path)
    loaded = torch.load(path)
    return {
        family: (
            torch.stack([row[0] for row in rows]).numpy(),
            torch.stack([row[1] for row in rows]).numpy(),
            rows[0][2],
            [row[3] for row in rows],
        )
        for family, rows in loaded.items()
    }


def write_spectra(path: Path) -> None:
    """Singular values of the pictures that are hardest for a family, and of the median one: `family/picture` (m,)."""
    arrays: dict[str, np.ndarray] = {}
    for family, (_, singular, _, pictures) in gram_trials(OUT, new=False).items():
        energies = singular**2 / np.linalg.norm(singular**2, axis=1, keepdims=True)
        order = np.argsort((energies < 1e-6).mean(1))
        for i in (*order[-3:], order[len(order) // 2]):
            arrays[f"{family}/{pictures[i]}"] = singular[i].astype(np.float32)
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def main() -> None:
    """Make both halves, and the test data if they are asked for."""
    for new in (False, True):
        gram_trials(OUT, new)
    if sys.argv[1:] == ["spectra"]:
        write_spectra(Path(__file__).parent.parent / "tests" / "data" / "spectra.npz")


if __name__ == "__main__":
    main()
