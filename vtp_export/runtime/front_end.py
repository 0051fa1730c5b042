"""Open an artefact as a callable front end. Needs no torch for formats that run without it."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from vtp_export import rooms
from vtp_export.arguments import whole
from vtp_export.errors import ArtefactError, ImageError, OutputError, UnavailableError, UnknownNameError, VtpError
from vtp_export.runtime.artefact import Artefact, steadily
from vtp_export.runtime.brief import brief_of
from vtp_export.runtime.checks import way
from vtp_export.runtime.images import ImageLike, as_images, batched
from vtp_export.runtime.output import Kept, Output, naming
from vtp_export.runtime.preprocess import check_shape, checked_pixels, pixel_values
from vtp_export.runtime.session import UNPORTABLE, Session
from vtp_export.settings import from_settings, shared_out, usable_threads
from vtp_export.spec import Build, Manifest


class PrunedArtefact:
    """An open artefact: call it with images, or `run` it on pixels. Close it, or use it in a `with` block."""

    def __init__(self, artefact: Artefact, fmt: str, session: Session, way: str) -> None:
        self.artefact = artefact
        self.format = fmt
        self.way = way
        """Digest of what was opened and how, under which `checks` remembers it."""
        self._session = session

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
            ImageError, OutputError: as in a call.
        """
        size = self.manifest.batch.opt if batch is None else whole("batch", batch, 1, self.manifest.batch.max)
        return (pair for given, output in self._batches(images, size) for pair in zip(given, output, strict=True))

    def _batches(self, images: ImageLike | Iterable[ImageLike], size: int) -> Iterator[tuple[list[ImageLike], Output]]:
        """Runs of images as they were given, and what came out; none is decoded before its run."""
        done = 0
        for given in batched(as_images(images), size):
            names = [str(one) if isinstance(one, str | Path) else f"image {done + i}" for i, one in enumerate(given)]
            with naming(names):
                output = self.run_padded(pixel_values(given, self.manifest.preprocessing, names))
            yield given, output
            done += len(given)

    def run(self, pixels: np.ndarray) -> Output:
        """Run on (b, 3, h, w) float32 pixels.

        Raises:
            ImageError: wrong shape, dtype or batch, or not finite.
            OutputError: what came out of an image is not finite.
        """
        given = self.manifest.inputs[0]
        pixels = checked_pixels(pixels, given, self.manifest.batch, self.manifest.preprocessing)
        return Output.of(self._session.run({given.name: pixels}))

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
        check_shape(_shape(pixels), given, self.manifest.batch)
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


def load(
    folder: str | Path,
    format: str | None = None,
    *,
    device: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> PrunedArtefact:
    """Open an artefact, after its files were verified.

    Args:
        folder: the artefact.
        format: one of its formats, or None for the first that this machine can run.
        device: where it runs, "cpu" or "cuda", or None for the format's usual. Never another in its place.
        threads: CPU threads of one run, or None for as many as the process may use.
        options: of the format, see `Options` of its backend; values or texts.

    Raises:
        UnknownNameError: no format runs on such a device, or the format has no such option.
        SpecError: an option, or the number of threads, is out of range.
        ArtefactError: absent, damaged, of another schema, or replaced again and again; or it lacks the format.
        UnavailableError: the runtime for the format is not installed, or cannot run on the device.
    """
    threads = usable_threads(threads)

    def use(artefact: Artefact) -> PrunedArtefact:
        refuse_unknown(device)
        name = format or _runnable_format(artefact, device)
        builds = artefact.builds(name)
        backend, where, chosen = prepared(name, device, options)
        if reason := backend.unable(artefact.manifest.precision.name, where):
            raise UnavailableError(reason)
        build = _fitting(artefact, builds)
        artefact.verify(build)
        session = backend.open(artefact.folder, build, brief_of(artefact.manifest), where, threads, chosen)
        return PrunedArtefact(artefact, name, session, way(artefact.manifest, build, where, chosen))

    return steadily(folder, use, discard=PrunedArtefact.close)


def prepared(fmt: str, device: str | None, options: Mapping[str, Any] | None) -> tuple[Any, str, Any]:
    """A format's backend, the device that it is to run on, and its options.

    Raises:
        UnknownNameError, SpecError, UnavailableError: as `load`.
    """
    backend = rooms.load("backends", fmt).Backend()
    where = backend.device(device)
    chosen = from_settings(backend.Options, options or {}, f"option of {fmt}")
    if reason := backend.missing():
        raise UnavailableError(reason)
    return backend, where, chosen


def usual_way(artefact: Artefact, fmt: str) -> str:
    """The `way` of a format that can run here, where nothing is said of device and options."""
    _, where, chosen = prepared(fmt, None, None)
    return way(artefact.manifest, _fitting(artefact, artefact.builds(fmt)), where, chosen)


def options_of(formats: Sequence[str], options: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Share options out among the formats that have them, for those that `load` several.

    Raises:
        UnknownNameError: no such format, or none of them has such an option.
    """
    kinds = {name: rooms.load("backends", name).Backend.Options for name in formats}
    return shared_out(kinds, options or {}, f"option of {' or '.join(kinds)}")


def _shape(array: Any) -> tuple[int, ...]:
    """Of a tensor or an `OrtValue`, whose shape is a method."""
    shape = array.shape
    return tuple(shape() if callable(shape) else shape)


def obstacle(artefact: Artefact, fmt: str, device: str | None = None) -> str | None:
    """Why a format of an artefact cannot run here, or not on a device, or None. No file of it is read."""
    if fmt not in rooms.names("backends"):
        return f"no backend named '{fmt}'"
    backend = rooms.load("backends", fmt).Backend()
    if device is not None and device not in backend.devices:
        return f"{fmt} does not run on {device}"
    where = device or backend.devices[0]
    if reason := backend.missing() or backend.unable(artefact.manifest.precision.name, where):
        return str(reason)
    try:
        _fitting(artefact, artefact.builds(fmt))
    except VtpError as error:
        return str(error)
    return None


def _fitting(artefact: Artefact, builds: Sequence[Build]) -> Build:
    """The first of a format's builds that was made for this machine, or for any."""
    fmt = builds[0].format
    backend, reasons = rooms.load("backends", fmt).Backend(), []
    for build in builds:
        reason = backend.unfit(build)
        if reason is None:
            return build
        reasons.append(f"{build.main}: {reason}")
    again = f"build it here: vtp-export build {artefact.folder} --format {fmt}"
    raise ArtefactError(f"no {fmt} of '{artefact.folder}' is for this machine ({'; '.join(reasons)}); {again}")


def refuse_unknown(device: str | None) -> None:
    """See that a format there is runs on such a device.

    Raises:
        UnknownNameError: none does.
    """
    known = {name for fmt in rooms.names("backends") for name in rooms.load("backends", fmt).Backend.devices}
    if device is not None and device not in known:
        raise UnknownNameError("device", device, sorted(known))


def _runnable_format(artefact: Artefact, device: str | None) -> str:
    present = artefact.manifest.formats()
    reasons = []
    for name in sorted(present, key=_rank):
        reason = obstacle(artefact, name, device)
        if reason is None:
            return name
        reasons.append(reason)
    raise UnavailableError(
        f"none of the formats of {artefact.folder} ({', '.join(present) or 'it has none'}) can run here: "
        + "; ".join(reasons)
    )


def _rank(fmt: str) -> float:
    """Formats that this version does not know come last."""
    known = fmt in rooms.names("backends")
    return rooms.load("backends", fmt).Backend.rank if known else math.inf
