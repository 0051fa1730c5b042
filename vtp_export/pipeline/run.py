"""`vtp-export run`: images through an artefact, to an `.npz` file and to overlays."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.benchmarks.base import batched
from vtp_export.errors import ArtefactError, ImageError
from vtp_export.progress import Progress, silent
from vtp_export.reports.overlay import overlay
from vtp_export.runtime.front_end import load
from vtp_export.runtime.output import Output
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
        for batch in batched(photos, artefact.manifest.batch.opt):
            progress("running", sum(map(len, outputs)), len(photos))
            outputs.append(artefact.run_padded(pixel_values(batch, artefact.manifest.preprocessing)))
        manifest = artefact.manifest
    output = Output.joined(outputs)
    if spec.out is not None:
        _save(spec.out, output, [str(path) for path in spec.images])
    pictures: list[str | None] = [None] * len(photos)
    if spec.overlays is not None:
        spec.overlays.mkdir(parents=True, exist_ok=True)
        for i, (path, photo, result) in enumerate(zip(spec.images, photos, output, strict=True)):
            target = spec.overlays / f"{i:03d}-{path.stem}.png"
            overlay(photo, result.kept, manifest.layout, manifest.preprocessing).save(target)
            pictures[i] = str(target)
    return [
        ImageResult(str(path), result.num_kept, result.erank, result.attention_entropy, picture)
        for path, result, picture in zip(spec.images, output, pictures, strict=True)
    ]


def _save(path: Path, output: Output, images: list[str]) -> None:
    """Write the arrays whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            arrays: dict[str, Any] = dict(output.arrays())
            np.savez(file, images=np.array(images), **arrays)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ArtefactError(f"cannot write '{path}': {error.strerror or error}") from error
