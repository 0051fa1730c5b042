"""Open an artefact as a callable front end. Needs no torch for formats that run without it."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from vtp_export.arguments import whole
from vtp_export.errors import ImageError, OutputError, UnavailableError
from vtp_export.runtime.artefact import Artefact, steadily
from vtp_export.runtime.brief import brief_of
from vtp_export.runtime.checks import way
from vtp_export.runtime.formats import fitting, incapable, prepared, refuse_unknown, runnable_format
from vtp_export.runtime.images import ImageLike, as_images, batched
from vtp_export.runtime.output import Kept, Output, naming
from vtp_export.runtime.packing import Packer, Picture, packer_of
from vtp_export.runtime.preprocess import check_shape, checked_pixels, pixel_values
from vtp_export.runtime.resolution import stretching
from vtp_export.runtime.session import UNPORTABLE, Session
from vtp_export.settings import usable_threads
from vtp_export.spec import Manifest, Preprocessing


class PrunedArtefact:
    """An open artefact: call it with images, or `run` it on pixels. Close it, or use it in a `with` block."""

    def __init__(
        self, artefact: Artefact, fmt: str, session: Session, way: str, preprocessing: Preprocessing | None = None
    ) -> None:
        self.artefact = artefact
        self.preprocessing = preprocessing or artefact.manifest.preprocessing
        """What is made of images: as the manifest says, but for those that may be stretched."""
        self.format = fmt
        self.way = way
        """Digest of what was opened and how, under which `checks` remembers it."""
        self._session = session

    @functools.cached_property
    def packer(self) -> Packer:
        """What joins the views of a picture.

        Raises:
            ArtefactError: the newline vector cannot be read.
        """
        return dataclasses.replace(packer_of(self.artefact), preprocessing=self.preprocessing)

    @property
    def manifest(self) -> Manifest:
        """What the artefact says about itself."""
        return self.artefact.manifest

    def __call__(self, images: ImageLike | Iterable[ImageLike]) -> Output:
        """Preprocess and run.

        Args:
            images: one, or any number: files, folders of them, Pillow images, (h, w, 3) bytes of RGB; turned upright as
                EXIF says. More than the largest batch of the artefact run as several.

        Returns:
            A row for each image.

        Raises:
            UnavailableError: an image is several views to the model; call `pictures`.
            ImageError: an image cannot be used, or there is none.
            OutputError: what came out of an image is not finite.
        """
        outputs = [output for _, output in self._batches(images, self.manifest.batch.max)]
        if not outputs:
            raise ImageError("no images were given; at least one is needed")
        return Output.joined(outputs)

    def stream(
        self, images: ImageLike | Iterable[ImageLike], batch: int | None = None
    ) -> Iterator[tuple[ImageLike, Kept]]:
        """As a call, one result after the other, for folders and cameras: memory stays that of one batch.

        Args:
            images: as in a call; an iterator is read a batch at a time.
            batch: images a run; 1 for a camera, which waits for nobody. None for the usual batch of the artefact.

        Yields:
            Each image, as it was given, with its result.

        Raises:
            SpecError: the artefact takes no such batch.
            UnavailableError, ImageError, OutputError: as in a call.
        """
        size = self.manifest.batch.opt if batch is None else whole("batch", batch, 1, self.manifest.batch.max)
        return (pair for given, output in self._batches(images, size) for pair in zip(given, output, strict=True))

    def pictures(self, images: ImageLike | Iterable[ImageLike]) -> Iterator[Picture]:
        """What the language model reads of each image: the tokens of its views, joined.

        The views of one image run together, in as few runs as the largest batch allows.

        Args:
            images: as in a call; an iterator is read one at a time.

        Raises:
            ArtefactError: the newline vector is missing or damaged.
            ImageError: as in a call, or one that the model would shrink.
            OutputError: as in a call.
        """
        for position, image in enumerate(as_images(images)):
            yield self.packer.picture(image, self.run_padded, self.manifest.batch.max, image_name(image, position))

    def placed(self, image: ImageLike, name: str) -> tuple[str | None, np.ndarray]:
        """The pixels (3, h, w) of an image that is one view; no grid is named, as there are no others.

        Raises:
            ImageError: it cannot be used.
        """
        return None, pixel_values([image], self.preprocessing, [name])[0]

    def _batches(self, images: ImageLike | Iterable[ImageLike], size: int) -> Iterator[tuple[list[ImageLike], Output]]:
        """Runs of images as they were given, and what came out; none is decoded before its run."""
        if self.manifest.packing is not None:
            raise UnavailableError(
                "an image is several views to this model, the whole of it and tiles: call pictures(images), which "
                "joins what comes out, or run(pixels) on single views"
            )
        done = 0
        for given in batched(as_images(images), size):
            names = [image_name(one, done + i) for i, one in enumerate(given)]
            with naming(names):
                output = self.run_padded(pixel_values(given, self.preprocessing, names))
            yield given, output
            done += len(given)

    def run(self, pixels: np.ndarray) -> Output:
        """Run on (b, 3, h, w) float32 pixels.

        Raises:
            ImageError: wrong shape, dtype or batch, or not finite.
            OutputError: what came out of an image is not finite.
        """
        output, _ = self.see(pixels)
        return output

    def see(self, pixels: np.ndarray) -> tuple[Output, dict[str, np.ndarray]]:
        """As `run`, and the signals of the manifest by name, (b, n) or (b, n, .); none where it was loaded without."""
        given = self.manifest.inputs[0]
        pixels = checked_pixels(pixels, given, self.manifest.batch, self.manifest.preprocessing)
        arrays = self._session.run({given.name: pixels})
        signals = {spec.name: arrays.pop(spec.name) for spec in self.manifest.signals if spec.name in arrays}
        return Output.of(arrays), signals

    def run_padded(self, pixels: np.ndarray) -> Output:
        """As `run`, and a batch too small for the artefact is filled up with its last image, and cut off again."""
        real = len(pixels)
        padding = [pixels[-1:]] * (self.manifest.batch.min - real)
        output = self.run(np.concatenate([pixels, *padding]))
        return output if len(output) == real else output.mapped(lambda array: array[:real])

    def run_device(self, pixels: Any) -> dict[str, Any]:
        """Run on pixels that are on the session's device already, and leave the outputs there.

        Args:
            pixels: (b, 3, h, w) float32, contiguous, with `__dlpack__`: a CUDA tensor, an `OrtValue` ... Its values are
                not looked at.

        Returns:
            The fields of `Output` by name, as objects with `__dlpack__` (`torch.from_dlpack(tokens)`).

        Raises:
            ImageError: wrong shape, dtype or batch, not contiguous, or on another device.
            OutputError: an image's outputs are not finite; on a device only its measures are looked at.
            UnavailableError: the format has no such way.
        """
        given = self.manifest.inputs[0]
        if not hasattr(pixels, "__dlpack__") or not hasattr(pixels, "shape"):
            raise ImageError(f"'{given.name}' is not a {type(pixels).__name__}; pass a tensor that has __dlpack__")
        check_shape(shape_of(pixels), given, self.manifest.batch)
        try:
            return self._session.run_device({given.name: pixels})
        except OutputError as error:
            raise error.of_unseen_pixels() from error

    @property
    def device(self) -> str:
        """Where it runs, for example "cpu"."""
        return self._session.device

    @property
    def provider(self) -> str | None:
        """Of a runtime that has several for a device, as ONNX Runtime has: the one that runs it."""
        return self._session.provider

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how it runs."""
        return self._session.notes

    def narrow_weights(self) -> dict[str, int] | None:
        """How many weights of matrices are in less than float32, by dtype; None where that cannot be read."""
        return self._session.narrow_weights()

    def close(self) -> None:
        """Free the runtime's memory."""
        self._session.close()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise UnavailableError(UNPORTABLE)

    def __enter__(self) -> "PrunedArtefact":
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()


def load(  # noqa: PLR0913 (keywords)
    folder: str | Path,
    format: str | None = None,
    *,
    device: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    signals: bool = False,
    nearest_grid: bool = False,
) -> PrunedArtefact:
    """Open an artefact of one grid, after its files were verified: as `any_grid.load`, which opens every artefact.

    Args, Raises: see there.
    """
    threads = usable_threads(threads)

    def use(artefact: Artefact) -> PrunedArtefact:
        refuse_unknown(device)
        name = format or runnable_format(artefact, device)
        builds = artefact.builds(name)
        backend, where, chosen = prepared(name, device, options)
        if reason := incapable(backend, artefact.manifest.precision.name, where):
            raise UnavailableError(reason)
        build = fitting(artefact, builds)
        artefact.verify(build)
        brief = brief_of(artefact.manifest)
        if signals:
            brief = dataclasses.replace(brief, outputs=(*brief.outputs, *artefact.manifest.signals))
        session = backend.open(artefact.folder, build, brief, where, threads, chosen)
        prep = artefact.manifest.preprocessing
        prep = stretching(prep, "stretched") if nearest_grid else prep
        return PrunedArtefact(artefact, name, session, way(artefact.manifest, build, where, chosen), prep)

    return steadily(folder, use, discard=PrunedArtefact.close)


def image_name(image: ImageLike, position: int) -> str:
    """What an image is called in messages, which is the one at that position of those that were given."""
    return str(image) if isinstance(image, str | Path) else f"image {position}"


def shape_of(array: Any) -> tuple[int, ...]:
    """Of a tensor or an `OrtValue`, whose shape is a method."""
    shape = array.shape
    return tuple(shape() if callable(shape) else shape)
