"""`vtp-export run`: images through an artefact, to an `.npz` file and to overlays."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.errors import ArtefactError, ImageError
from vtp_export.progress import Progress, silent
from vtp_export.reports.overlay import overlay
from vtp_export.runtime.front_end import Output, load, run_batch
from vtp_export.runtime.preprocess import pixel_values, read_image


@dataclass(frozen=True)
class RunSpec:
    """What to run, and where; `out` receives the arrays, `overlays` one picture per image.

    options: of the format, see `Options` of its backend.
    """

    folder: Path
    images: tuple[Path, ...]
    fmt: str | None = None
    out: Path | None = None
    overlays: Path | None = None
    device: str | None = None
    threads: int | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageResult:
    """What one image gave."""

    image: str
    num_kept: int
    erank: float | None
    attention_entropy: float | None
    overlay: str | None


def run(spec: RunSpec, progress: Progress = silent) -> list[ImageResult]:
    """Run every image; nothing is written unless all of them can be used.

    Raises:
        VtpError: the artefact or an image cannot be used.
    """
    if not spec.images:
        raise ImageError("no image was named; give at least one file")
    photos = [read_image(path) for path in spec.images]
    with load(spec.folder, spec.fmt, device=spec.device, threads=spec.threads, options=spec.options) as artefact:
        for note in artefact.notes:
            progress(note)
        outputs: list[Output] = []
        size = artefact.manifest.batch.opt
        for start in range(0, len(photos), size):
            progress("running", start, len(photos))
            outputs.append(
                run_batch(artefact, pixel_values(photos[start : start + size], artefact.manifest.preprocessing))
            )
        manifest = artefact.manifest
    merged = _merged(outputs)
    if spec.out is not None:
        _save(spec.out, merged, [str(path) for path in spec.images])
    names: list[str | None] = [None] * len(photos)
    if spec.overlays is not None:
        spec.overlays.mkdir(parents=True, exist_ok=True)
        names = []
        for i, (path, photo) in enumerate(zip(spec.images, photos, strict=True)):
            target = spec.overlays / f"{i:03d}-{path.stem}.png"
            overlay(photo, merged.kept[i], manifest.layout, manifest.preprocessing).save(target)
            names.append(str(target))
    return [_result(str(path), merged, i, names[i]) for i, path in enumerate(spec.images)]


def _merged(outputs: Sequence[Output]) -> Output:
    """One batch out of several."""
    columns = {name: [vars(output)[name] for output in outputs] for name in vars(outputs[0])}
    return Output(**{name: np.concatenate(parts) for name, parts in columns.items() if parts[0] is not None})


def _save(path: Path, output: Output, images: list[str]) -> None:
    """Write the arrays whole or not at all."""
    arrays = {name: array for name, array in vars(output).items() if array is not None}
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            np.savez(file, images=np.array(images), **arrays)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ArtefactError(f"cannot write '{path}': {error.strerror or error}") from error


def _result(image: str, output: Output, i: int, picture: str | None) -> ImageResult:
    return ImageResult(
        image,
        int(output.num_kept[i]),
        None if output.erank is None else float(output.erank[i]),
        None if output.attention_entropy is None else float(output.attention_entropy[i]),
        picture,
    )
