"""`vtp-export run`: images through an artefact, to an `.npz` file and to overlays."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.benchmarks.base import batched
from vtp_export.errors import ArtefactError, ImageError
from vtp_export.progress import Progress, silent
from vtp_export.reports.overlay import overlay
from vtp_export.reports.results import ImageResult, RunReport
from vtp_export.runtime.front_end import load
from vtp_export.runtime.images import read_image
from vtp_export.runtime.output import Kept, Output
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.runtime.writing import atomically, sentence


def run(
    folder: str | Path,
    images: Sequence[str | Path],
    *,
    format: str | None = None,
    out: str | Path | None = None,
    overlays: str | Path | None = None,
    device: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> RunReport:
    """Run images through an artefact; nothing is written unless all of them can be used.

    Args:
        folder: the artefact.
        images: image files.
        format: see `load`, as `device`, `threads` and `options`.
        out: an `.npz` file that receives all arrays.
        overlays: a folder that receives one picture of each image, kept patches lit.
        device: where it runs.
        threads: CPU threads of one run.
        options: of the format.
        progress: hears of every step.

    Raises:
        VtpError: the artefact or an image cannot be used.
    """
    paths = [Path(image) for image in images]
    if not paths:
        raise ImageError("no image was named; give at least one file")
    photos = [read_image(path) for path in paths]
    with load(folder, format, device=device, threads=threads, options=options) as artefact:
        for note in artefact.notes:
            progress(note)
        outputs: list[Output] = []
        for batch in batched(photos, artefact.manifest.batch.opt):
            progress("running", sum(map(len, outputs)), len(photos))
            outputs.append(artefact.run_padded(pixel_values(batch, artefact.manifest.preprocessing)))
        manifest, ran, where = artefact.manifest, artefact.format, artefact.device
    output = Output.joined(outputs)
    if out is not None:
        _save(Path(out), output, [str(path) for path in paths])
    pictures: list[Path | None] = [None] * len(photos)
    if overlays is not None:
        Path(overlays).mkdir(parents=True, exist_ok=True)
        for i, (path, photo, result) in enumerate(zip(paths, photos, output, strict=True)):
            pictures[i] = target = Path(overlays) / f"{i:03d}-{path.stem}.png"
            overlay(photo, result.kept, manifest.layout, manifest.preprocessing).save(target)
    results = tuple(map(_result, paths, output, pictures))
    return RunReport(Path(folder), ran, where, results)


def _result(path: Path, result: Kept, picture: Path | None) -> ImageResult:
    return ImageResult(
        image=str(path),
        num_kept=result.num_kept,
        kept=tuple(map(int, result.kept)),
        erank=result.erank,
        attention_entropy=result.attention_entropy,
        overlay=picture,
    )


def _save(path: Path, output: Output, images: list[str]) -> None:
    """Write the arrays whole or not at all."""
    arrays: dict[str, Any] = {"images": np.array(images), **output.arrays()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtefactError(sentence(error, path)) from error
    with atomically(path) as file:
        np.savez(file, **arrays)
