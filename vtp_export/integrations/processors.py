"""A checkpoint's image processor, as Transformers has it: what an artefact's pixels are held against."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image, Resampling

from vtp_export.benchmarks.base import Example
from vtp_export.errors import first_line
from vtp_export.models.base import LoadedModel
from vtp_export.parity.preprocessing import IMAGES, MakePixels, PixelComparison, compare_pixels
from vtp_export.resolutions import AnyResolution
from vtp_export.runtime.images import rgb_from_image
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.runtime.resolution import stretching
from vtp_export.runtime.tiles import most_tiles
from vtp_export.spec import Filling, Manifest, Preprocessing


@dataclass(frozen=True)
class ImageProcessor:
    """A checkpoint's own image processor, as Transformers chooses its class, on Pillow.

    name: of the class.
    options: what it is called with besides.
    preprocessing: of an artefact whose model gives every picture a size of its own; else None. Of a picture of another
        size than the artefact's, it sees what Pillow makes of it at that one.
    """

    name: str
    processor: Any
    options: Mapping[str, Any]
    preprocessing: Preprocessing | None = None

    def __call__(self, image: Image) -> np.ndarray:
        """Values (v, 3, h, w) float32 of all views of one picture, the whole of it first."""
        if self.preprocessing is not None and self.preprocessing.any_resolution is not None:
            return self._of_one_size(image, self.preprocessing, self.preprocessing.any_resolution)
        made = np.asarray(self.processor(images=[image], return_tensors="np", **self.options)["pixel_values"])
        views: np.ndarray = made.reshape(-1, *made.shape[-3:])
        return np.roll(views, 1, axis=0) if _whole_is_last(self.processor) else views

    def cutting(self, prep: Preprocessing) -> "ImageProcessor":
        """The same, cutting as few tiles as a preprocessing that was limited."""
        only: dict[Filling, dict[str, Any]] = {
            "fit": {"image_grid_pinpoints": [list(canvas) for canvas in prep.pinpoints]},
            "stretch": {"max_patches": most_tiles(prep)},
            "grow": {"size": {"longest_edge": prep.resize_longest}},
        }
        return replace(self, options={**self.options, **only[prep.filling]})

    def _of_one_size(self, image: Image, prep: Preprocessing, rule: AnyResolution) -> np.ndarray:
        """(1, 3, h, w), put together of the patches that it makes, of which the frames of a still picture are equal."""
        assert prep.resize_exact is not None  # the manifest says so
        patch, merge = self.processor.patch_size, self.processor.merge_size
        bounds = {"shortest_edge": rule.min_pixels, "longest_edge": rule.max_pixels}
        height, width = prep.resize_exact
        made = self.processor(images=[image], size=bounds)
        if tuple(edge * patch for edge in made["image_grid_thw"][0][1:]) != (height, width):
            image = rgb_from_image(image, "the picture").resize((width, height), Resampling(prep.resample))
            made = self.processor(images=[image], size=bounds)
        patches = np.asarray(made["pixel_values"])
        rows, columns = height // (patch * merge), width // (patch * merge)
        frames = patches.reshape(rows, columns, merge, merge, 3, -1, patch, patch)
        if (frames != frames[:, :, :, :, :, :1]).any():
            return np.full((1, 3, height, width), np.nan)
        still = frames[:, :, :, :, :, 0].transpose(4, 0, 2, 5, 1, 3, 6)
        return still.reshape(1, 3, height, width)


def _whole_is_last(processor: Any) -> bool:
    """Of the views of a picture: in the image processors of InternVL, SmolVLM and Idefics3."""
    return hasattr(processor, "crop_to_patches") or hasattr(processor, "do_image_splitting")


def image_processor(source: str, revision: str | None = None) -> ImageProcessor | str:
    """The image processor of a checkpoint, or why there is none: the class that Transformers has for it, no other.

    Args:
        source: folder or hub id.
        revision: commit, branch or tag on the hub.
    """
    if not Path(source).is_dir() and ("/" not in source or Path(source).is_absolute()):
        return f"'{Path(source).name}' is no checkpoint of Transformers"
    try:
        import transformers
    except ImportError:
        return "transformers is not installed"
    at = {} if revision is None else {"revision": revision}
    try:
        with quiet(transformers):
            loader: Any = transformers.AutoImageProcessor
            processor = loader.from_pretrained(source, backend="pil", trust_remote_code=False, **at)
    except Exception as error:  # no such file, a class of torchvision or of the checkpoint's own code, strange settings
        return f"it has none for '{source}' ({first_line(error)})"
    if hasattr(processor, "max_num_patches"):
        return f"{type(processor).__name__} gives each picture a grid of its own shape, and this artefact has one grid"
    # InternVL's own processor, of text and images, has its image processor cut tiles, whatever the file says.
    options = {"crop_to_patches": True} if hasattr(processor, "crop_to_patches") else {}
    return ImageProcessor(type(processor).__name__, processor, options)


def compared_pixels(
    manifest: Manifest, model: LoadedModel, source: tuple[str, str | None], examples: Sequence[Example]
) -> tuple[tuple[PixelComparison, ...], list[str]]:
    """The manifest's pixels against the model's, and what kept them from being compared.

    Args:
        manifest: what is judged.
        model: what was exported.
        source: its folder or hub id, and the revision.
        examples: of the benchmark, of which the first few are looked at.
    """
    pictures = ((example.name, example.open()) for example in examples[:IMAGES])
    own, made = stretching(model.preprocessing), stretching(manifest.preprocessing)
    sources: dict[str, MakePixels] = {"the model's own files": lambda image: pixel_values(image, own)}
    notes, processor = [], image_processor(*source)
    if isinstance(processor, str):
        notes.append(f"pixels were not compared with Transformers' image processor: {processor}")
    else:
        if manifest.packing is not None and manifest.packing.tiles is not None:
            processor = processor.cutting(model.preprocessing)
        processor = replace(processor, preprocessing=own)
        sources[f"Transformers' {processor.name}"] = processor
    return compare_pixels(made, sources, pictures), notes


class quiet:
    """Transformers' progress bars and notes kept from the user while it loads."""

    def __init__(self, transformers: Any) -> None:
        self._logging = transformers.utils.logging

    def __enter__(self) -> None:
        self._before = self._logging.get_verbosity(), self._logging.is_progress_bar_enabled()
        self._logging.set_verbosity_error()
        self._logging.disable_progress_bar()

    def __exit__(self, *exc: object) -> None:
        self._logging.set_verbosity(self._before[0])
        if self._before[1]:
            self._logging.enable_progress_bar()
