"""Open an artefact of one grid, or of several, and give each picture to the grid that it belongs to."""

import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from vtp_export.arguments import whole
from vtp_export.errors import ArtefactError, ImageError, UnavailableError
from vtp_export.runtime import front_end
from vtp_export.runtime.artefact import Artefact
from vtp_export.runtime.formats import incapable, prepared, refuse_unknown, runnable_format
from vtp_export.runtime.front_end import PrunedArtefact, image_name
from vtp_export.runtime.grids import grids_of, refuse_exchanged
from vtp_export.runtime.hub import located
from vtp_export.runtime.images import ImageLike, as_image, as_images, batched, named
from vtp_export.runtime.output import Kept, Output, naming
from vtp_export.runtime.packing import Picture
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.runtime.resolution import placed, stretching
from vtp_export.runtime.session import UNPORTABLE
from vtp_export.settings import usable_threads
from vtp_export.spec import Manifest


class PrunedGrids:
    """An open artefact of several grids, each opened when a picture first needs it; close it, or use a `with` block.

    Args:
        artefacts: of each grid, by name.
        fmt: the format that they run in.
        opening: opens one of them.
        nearest_grid: whether pictures of other grids are stretched to the nearest, with a note, or refused.
    """

    def __init__(
        self,
        artefacts: Mapping[str, Artefact],
        fmt: str,
        opening: Callable[[Artefact], PrunedArtefact],
        nearest_grid: bool,
    ) -> None:
        self.artefacts, self.format = dict(artefacts), fmt
        self.opened: dict[str, PrunedArtefact] = {}
        """Those that a picture has needed so far."""
        self._opening, self._lock = opening, threading.Lock()
        first = next(iter(self.artefacts.values())).manifest.preprocessing
        rule = stretching(first, "stretched" if nearest_grid else "refused").any_resolution
        assert rule is not None  # the index is refused otherwise
        self._rule = rule
        self._sizes = {one.manifest.layout.image_size: name for name, one in self.artefacts.items()}

    @property
    def grids(self) -> tuple[str, ...]:
        """Their names: rows and columns of tokens, "26x46"."""
        return tuple(self.artefacts)

    def grid(self, name: str) -> PrunedArtefact:
        """The front end of one grid, opened if it is not yet.

        Raises:
            ArtefactError: no such grid, or it is damaged or was exchanged.
            UnavailableError: as `load`.
        """
        if name not in self.artefacts:
            raise ArtefactError(f"no grid '{name}'; there are: {', '.join(self.artefacts)}")
        with self._lock:
            if name not in self.opened:
                self.opened[name] = self._opening(self.artefacts[name])
            return self.opened[name]

    def placed(self, image: ImageLike, name: str) -> tuple[str, np.ndarray]:
        """The grid of an image, and its pixels (3, h, w) there.

        Args:
            image: one.
            name: for messages.

        Raises:
            ImageError: it cannot be used, or its grid was not built and it is not to be stretched.
        """
        image = as_image(image, name)
        grid = self._grid(image.size, named(image, name))
        prep = stretching(self.artefacts[grid].manifest.preprocessing)  # what is stretched has been told
        return grid, pixel_values(image, prep, [name])[0]

    def __call__(self, images: ImageLike | Iterable[ImageLike]) -> Output:
        """As of a `PrunedArtefact`: a row for each image, in their order; those of one grid run together.

        Raises:
            UnavailableError: the grids of these images keep different numbers of tokens; call `stream`.
            ImageError, OutputError: as there; or the grid of an image was not built.
        """
        most = max(one.manifest.batch.max for one in self.artefacts.values())
        rows = [row for window in batched(as_images(images), most) for row in self.rows(window)]
        if not rows:
            raise ImageError("no images were given; at least one is needed")
        if len(widths := sorted({row.kept.shape[1] for row in rows})) > 1:
            raise UnavailableError(
                f"the grids of these images keep different numbers of tokens ({', '.join(map(str, widths))}), which "
                "one array cannot hold: call stream(images), which gives one result after the other, or export with "
                "a number to keep and not a share"
            )
        return Output.joined(rows)

    def stream(
        self, images: ImageLike | Iterable[ImageLike], batch: int | None = None
    ) -> Iterator[tuple[ImageLike, Kept]]:
        """As of a `PrunedArtefact`; of so many images those of one grid run together.

        Raises:
            SpecError: the artefact takes no such batch.
            ImageError, OutputError: as in a call.
        """
        limits = next(iter(self.artefacts.values())).manifest.batch
        size = limits.opt if batch is None else whole("batch", batch, 1, limits.max)
        done = 0
        for window in batched(as_images(images), size):
            rows = self.rows(window, done)
            done += len(window)
            yield from ((image, row[0]) for image, row in zip(window, rows, strict=True))

    def rows(self, images: list[ImageLike], first: int = 0) -> list[Output]:
        """What comes out of each image, by itself.

        Args:
            images: few: the pixels of all are held.
            first: number of the first, for messages.

        Raises:
            ImageError, OutputError: as in a call.
        """
        names = [image_name(image, first + i) for i, image in enumerate(images)]
        where: dict[str, list[int]] = {}
        pixels = []
        for i, (image, name) in enumerate(zip(images, names, strict=True)):
            grid, values = self.placed(image, name)
            where.setdefault(grid, []).append(i)
            pixels.append(values)
        rows: dict[int, Output] = {}
        for grid, places in where.items():
            one = self.grid(grid)
            for few in batched(places, one.manifest.batch.max):
                with naming([names[i] for i in few]):
                    output = one.run_padded(np.stack([pixels[i] for i in few]))
                rows |= dict(zip(few, output.split(), strict=True))
        return [rows[i] for i in range(len(images))]

    def pictures(self, images: ImageLike | Iterable[ImageLike]) -> Iterator[Picture]:
        """As of a `PrunedArtefact`.

        Raises:
            ImageError, OutputError: as in a call.
        """
        for position, given in enumerate(as_images(images)):
            name = image_name(given, position)
            image = as_image(given, name)
            one = self.grid(self._grid(image.size, named(image, name)))
            packer = dataclasses.replace(one.packer, preprocessing=stretching(one.manifest.preprocessing))
            yield packer.picture(image, one.run_padded, one.manifest.batch.max, name)

    def run(self, pixels: np.ndarray) -> Output:
        """Run on (b, 3, h, w) float32 pixels, on the grid that has such.

        Raises:
            ImageError: no grid has, or as of a `PrunedArtefact`.
        """
        return self._of_pixels(pixels).run(pixels)

    def run_device(self, pixels: Any) -> dict[str, Any]:
        """As of a `PrunedArtefact`, on the grid that has such pixels."""
        return self._of_pixels(pixels).run_device(pixels)

    @property
    def device(self) -> str:
        """Where they run, for example "cpu"; one is opened to know."""
        return self._any().device

    @property
    def provider(self) -> str | None:
        """See `PrunedArtefact.provider`."""
        return self._any().provider

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how those run that are open."""
        return tuple(dict.fromkeys(note for one in self.opened.values() for note in one.notes))

    def close(self) -> None:
        """Free the runtimes' memory."""
        for one in self.opened.values():
            one.close()

    def _grid(self, size: tuple[int, int], name: str) -> str:
        if min(size) < 1:
            raise ImageError(f"{name} has {size[0]} x {size[1]} pixels; both sides must be at least 1")
        return self._sizes[placed(size, self._rule, list(self._sizes), name)]

    def _of_pixels(self, pixels: Any) -> PrunedArtefact:
        shape = front_end.shape_of(pixels) if hasattr(pixels, "shape") else ()
        if len(shape) != 4 or (grid := self._sizes.get((shape[2], shape[3]))) is None:
            sizes = ", ".join(f"{height} x {width}" for height, width in self._sizes)
            raise ImageError(f"pixels have shape {shape}; (b, 3, h, w) is right, with h x w one of {sizes}")
        return self.grid(grid)

    def _any(self) -> PrunedArtefact:
        return self.grid(next(iter(self.opened or self.artefacts)))

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise UnavailableError(UNPORTABLE)

    def __enter__(self) -> "PrunedGrids":
        """Itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()


Opened = PrunedArtefact | PrunedGrids
"""What `load` returns."""


def manifest_of(opened: Opened, grid: str | None = None) -> Manifest:
    """Of a grid where there are several; of any, where all say the same."""
    return opened.manifest if isinstance(opened, PrunedArtefact) else opened.artefacts[grid or opened.grids[0]].manifest


def load(  # noqa: PLR0913 (keywords)
    folder: str | Path,
    format: str | None = None,
    *,
    device: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    signals: bool = False,
    nearest_grid: bool = False,
) -> Opened:
    """Open an artefact, of one grid or of several.

    Args:
        folder: the artefact, or its id on the hub: "owner/name", or "owner/name@revision".
        format: one of its formats, or None for the first that this machine can run.
        device: where it runs, one of the format's `devices`, or None for its usual. Never another in its place.
        threads: CPU threads of one run, or None for as many as the process may use.
        options: of the format, see `Options` of its backend; values or texts.
        signals: also return what the pruner sees, see `PrunedArtefact.see`.
        nearest_grid: of a model of any resolution, stretch pictures that the artefact was not built for to the grid of
            nearest shape, with a note; otherwise they are refused.

    Returns:
        A `PrunedArtefact`, whose files were verified; or, of several grids, `PrunedGrids`, which verifies and opens
        each when a picture first needs it.

    Raises:
        UnknownNameError: no format runs on such a device, or the format has no such option.
        SpecError: an option, or the number of threads, is out of range.
        ArtefactError: absent, damaged, of another schema, or replaced again and again; or it lacks the format, or a
            grid of it.
        UnavailableError: the runtime for the format is not installed, or cannot run on the device.
    """
    threads, folder = usable_threads(threads), located(folder)
    how: dict[str, Any] = {"device": device, "threads": threads, "options": options, "signals": signals}
    if (artefacts := grids_of(folder)) is None:
        return front_end.load(folder, format, **how, nearest_grid=nearest_grid)
    refuse_unknown(device)
    fmt = format or _shared_format(artefacts, device)
    for artefact in artefacts.values():
        artefact.builds(fmt)
        backend, where, _ = prepared(fmt, device, options)
        if reason := incapable(backend, artefact.manifest.precision.name, where):
            raise UnavailableError(reason)

    def opening(artefact: Artefact) -> PrunedArtefact:
        opened = front_end.load(artefact.folder, fmt, **how, nearest_grid=nearest_grid)
        try:
            refuse_exchanged(opened.artefact, artefact.manifest.identity())
        except ArtefactError:
            opened.close()
            raise
        return opened

    return PrunedGrids(artefacts, fmt, opening, nearest_grid)


def _shared_format(artefacts: Mapping[str, Artefact], device: str | None) -> str:
    """The first format that runs here, which is the same for all grids."""
    formats = {name: runnable_format(artefact, device) for name, artefact in artefacts.items()}
    if len(set(formats.values())) > 1:
        told = ", ".join(f"{fmt} of {name}" for name, fmt in formats.items())
        raise ArtefactError(f"the grids would run here in different formats ({told}); name one, or build it for all")
    return next(iter(formats.values()))
