"""Open an artefact as a callable front end. Needs no torch for formats that run without it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtp_export import rooms
from vtp_export.errors import UnavailableError, VtpError
from vtp_export.runtime.artefact import Artefact, open_artefact
from vtp_export.runtime.output import Output
from vtp_export.runtime.preprocess import check_pixels, check_shape, pixel_values
from vtp_export.runtime.session import OpenOptions, Session
from vtp_export.spec import Manifest

if TYPE_CHECKING:
    from PIL.Image import Image

PREFERENCE = ("tensorrt", "onnx", "pt2", "torchscript")
"""Formats in the order in which they are tried when none is named.

A plan first: whoever built it for this very device wants it used. One that was built for another is passed over.
"""


class PrunedArtefact:
    """An open artefact: call it with images, or `run` it on pixels. Close it, or use it in a `with` block."""

    def __init__(self, artefact: Artefact, fmt: str, session: Session) -> None:
        self.artefact = artefact
        self.format = fmt
        self._session = session

    @property
    def manifest(self) -> Manifest:
        """What the artefact says about itself."""
        return self.artefact.manifest

    def __call__(self, images: "Sequence[Image]") -> Output:
        """Preprocess and run.

        Args:
            images: between the smallest and the largest batch of the artefact.

        Raises:
            ImageError: an image cannot be used.
        """
        return self.run(pixel_values(images, self.manifest.preprocessing))

    def run(self, pixels: np.ndarray) -> Output:
        """Run on (b, 3, h, w) float32 pixels.

        Raises:
            ImageError: wrong shape, dtype or batch, or not finite.
        """
        check_pixels(pixels, self.manifest.inputs[0], self.manifest.batch)
        return Output.of(self._session.run({self.manifest.inputs[0].name: pixels}))

    def run_padded(self, pixels: np.ndarray) -> Output:
        """As `run`, and a batch too small for the artefact is filled up with its last image, and cut off again."""
        real = len(pixels)
        padding = [pixels[-1:]] * (self.manifest.batch.min - real)
        output = self.run(np.concatenate([pixels, *padding]))
        return output if len(output) == real else output.mapped(lambda array: array[:real])

    def run_device(self, pixels: Any) -> dict[str, Any]:
        """Run on pixels that are on the provider's device already, and leave the outputs there.

        Args:
            pixels: (b, 3, h, w) float32, contiguous, with `__dlpack__`: a CUDA tensor, an `OrtValue` ... Its values are
                not looked at.

        Returns:
            The fields of `Output` by name, as objects with `__dlpack__` (`torch.from_dlpack(tokens)`).

        Raises:
            ImageError: wrong shape or batch, or on another device.
            UnavailableError: the format has no such way.
        """
        check_shape(_shape(pixels), self.manifest.inputs[0], self.manifest.batch)
        return self._session.run_device({self.manifest.inputs[0].name: pixels})

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how it runs."""
        return self._session.notes

    def close(self) -> None:
        """Free the runtime's memory."""
        self._session.__exit__(None, None, None)

    def __enter__(self) -> "PrunedArtefact":
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()


def load(
    folder: str | Path,
    fmt: str | None = None,
    threads: int | None = None,
    provider: str | None = None,
    cuda_graphs: bool = False,
) -> PrunedArtefact:
    """Verify an artefact's digests and open it.

    Args:
        folder: the artefact.
        fmt: one of its formats, or None for the first that this machine can run.
        threads: CPU threads of one run, or None for the runtime's choice.
        provider: what runs it: "cpu", "cuda" or "tensorrt". Never another in its place.
        cuda_graphs: see `OpenOptions`.

    Raises:
        UnknownNameError: no such provider.
        ArtefactError: absent, damaged, or of another schema; or it lacks the format.
        UnavailableError: the runtime for the format is not installed, or has no such provider.
    """
    options = OpenOptions(threads, provider, cuda_graphs)
    artefact = open_artefact(Path(folder))
    name = fmt or _runnable_format(artefact, provider)
    backend = rooms.load("backends", name).Backend()
    artefact.model_file(name)
    if reason := backend.missing():
        raise UnavailableError(reason)
    artefact.verify(name)
    path = backend.file(artefact, name)
    outputs = tuple(spec.name for spec in artefact.manifest.outputs)
    return PrunedArtefact(artefact, name, backend.open(path, outputs, options))


def _shape(array: Any) -> tuple[int, ...]:
    """Of a tensor or an `OrtValue`, whose shape is a method."""
    shape = array.shape
    return tuple(shape() if callable(shape) else shape)


def obstacle(artefact: Artefact, fmt: str, provider: str | None = None) -> str | None:
    """Why a format of an artefact cannot run here, or not on a provider, or None. No file of it is read."""
    if fmt not in rooms.names("backends"):
        return f"no backend named '{fmt}'"
    backend = rooms.load("backends", fmt).Backend()
    if provider is not None and provider not in backend.providers:
        return f"{fmt} does not run on {provider}"
    if reason := backend.missing():
        return str(reason)
    try:
        backend.file(artefact, fmt)
    except VtpError as error:
        return str(error)
    return None


def _runnable_format(artefact: Artefact, provider: str | None) -> str:
    present = artefact.manifest.formats()
    reasons = []
    for name in sorted(present, key=lambda name: PREFERENCE.index(name) if name in PREFERENCE else len(PREFERENCE)):
        reason = obstacle(artefact, name, provider)
        if reason is None:
            return name
        reasons.append(reason)
    raise UnavailableError(
        f"none of the formats of {artefact.folder} ({', '.join(present) or 'it has none'}) can run here: "
        + "; ".join(reasons)
    )
