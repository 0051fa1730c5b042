"""`vtp-export run`: images through an artefact, to an `.npz` file and to overlays, one batch in memory at a time."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vtp_export.arguments import path_of
from vtp_export.errors import ArtefactError, ImageError, OutputError
from vtp_export.progress import Progress, silent
from vtp_export.reports.overlay import overlay_of_views
from vtp_export.reports.results import ImageResult, RunReport, Skipped, ViewResult, image_result
from vtp_export.runtime.any_grid import Opened, PrunedGrids, load, manifest_of
from vtp_export.runtime.checks import Checked, checked
from vtp_export.runtime.front_end import PrunedArtefact
from vtp_export.runtime.grids import files_of
from vtp_export.runtime.hub import located
from vtp_export.runtime.images import as_images, batched
from vtp_export.runtime.output import Kept, Output
from vtp_export.runtime.packing import Picture
from vtp_export.runtime.rows import Rows
from vtp_export.runtime.writing import (
    atomically,
    cut_name,
    refuse_overwriting,
    refuse_unwritable,
    refuse_unwritable_file,
    sentence,
)

MEASURES = ("erank", "attention_entropy")


def run(
    folder: str | Path,
    images: Sequence[str | Path],
    *,
    format: str | None = None,
    out: str | Path | None = None,
    overlays: str | Path | None = None,
    skip_bad: bool = False,
    nearest_grid: bool = False,
    device: str | None = None,
    threads: int | None = None,
    options: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> RunReport:
    """Run images through an artefact; nothing is written unless all of them can be used, or the others are skipped.

    Args:
        folder: the artefact.
        images: image files, and folders of them.
        format: see `load`, as `device`, `threads` and `options`.
        out: an `.npz` file that receives all arrays.
        overlays: a folder that receives one picture of each image, kept patches lit.
        skip_bad: leave out, and list, images that cannot be read, or of which nothing finite comes out.
        nearest_grid: see `load`.
        device: where it runs.
        threads: CPU threads of one run.
        options: of the format.
        progress: hears of every step.

    Raises:
        VtpError: the artefact, an image, or a place to write to cannot be used.
    """
    paths = [Path(str(path)) for path in as_images(images)]
    if not paths:
        raise ImageError("no image was named; give at least one file or folder")
    out = None if out is None else path_of("the file of results", out)
    overlays = None if overlays is None else path_of("the folder of overlays", overlays)
    if out is not None:
        refuse_unwritable_file(out)
    if overlays is not None:
        refuse_unwritable(overlays)
    folder = located(folder)
    read = [*paths, *files_of(folder)]
    refuse_overwriting([] if out is None else [out], read)
    results: list[ImageResult] = []
    with ExitStack() as stack:
        how = {"device": device, "threads": threads, "options": options, "nearest_grid": nearest_grid}
        artefact: Opened = load(folder, format, **how)  # type: ignore[arg-type]
        stack.callback(artefact.close)
        for note in artefact.notes:
            progress(note)
        rows = None if out is None else stack.enter_context(_rows(out))
        batches = _Batches(artefact, skip_bad, progress)
        for few, arrays in batches.of(paths) if manifest_of(artefact).packing is None else batches.pictures(paths):
            results += few
            if rows is not None and out is not None:
                with _writing(out):
                    rows.add(arrays)
            progress("running", len(results) + len(batches.skipped), len(paths))
        if not results:
            raise ImageError(f"none of {len(paths)} images can be used; of the first: {batches.skipped[0].reason}")
        drawings = [] if overlays is None else _drawings(results, overlays)
        refuse_overwriting(drawings, read)
        if rows is not None and out is not None:
            with atomically(out) as file:
                rows.save(file, _names(results))
    if overlays is not None:
        results = _drawn(results, drawings, overlays, artefact)
    return RunReport(
        folder=Path(folder),
        format=artefact.format,
        device=artefact.device,
        checked=_least_checked(artefact),
        proven=all(one.manifest.proven() for one in _opened(artefact)),
        provider=artefact.provider,
        images=tuple(results),
        skipped=tuple(batches.skipped),
    )


@dataclass(frozen=True)
class _Readable:
    """An image that can be used: its name, the grid that it goes to, where there are several, and (3, h, w) pixels."""

    name: str
    grid: str | None
    pixels: np.ndarray


@dataclass
class _Batches:
    """Batches of an artefact, and the images that were left out of them."""

    artefact: Opened
    skip_bad: bool
    progress: Progress
    skipped: list[Skipped] = field(default_factory=list)

    def of(self, paths: Sequence[Path]) -> Iterator[tuple[list[ImageResult], dict[str, np.ndarray]]]:
        """Batches of images that are one view each: their results, and all arrays. Those of one grid run together."""
        for batch in batched(self._readable(paths), manifest_of(self.artefact).batch.opt):
            rows: dict[int, Output] = {}
            for grid in dict.fromkeys(one.grid for one in batch):
                rows |= self._run(grid, {i: one for i, one in enumerate(batch) if one.grid == grid})
            if rows:
                results = [image_result(batch[i].name, rows[i][0], batch[i].grid) for i in sorted(rows)]
                yield results, _arrays([rows[i] for i in sorted(rows)], self.artefact)

    def _run(self, grid: str | None, rest: dict[int, _Readable]) -> dict[int, Output]:
        """What came out of each image, by its place in the batch; nothing of those that are left out."""
        one = self._front_end(grid)
        while rest:
            names = [image.name for image in rest.values()]
            try:
                output = one.run_padded(np.stack([image.pixels for image in rest.values()]))
            except OutputError as error:
                if not self.skip_bad:
                    raise error.named(names) from error
                bad = [list(rest)[i] for i in error.images]
                self.skipped += [Skipped(rest.pop(i).name, f"'{error.output}' is not finite") for i in bad]
            else:
                return dict(zip(rest, output.split(), strict=True))
        return {}

    def _front_end(self, grid: str | None) -> PrunedArtefact:
        if isinstance(self.artefact, PrunedArtefact):
            return self.artefact
        known = set(self.artefact.notes)
        one = self.artefact.grid(grid or "")
        for note in one.notes:
            if note not in known:
                self.progress(note)
        return one

    def pictures(self, paths: Sequence[Path]) -> Iterator[tuple[list[ImageResult], dict[str, np.ndarray]]]:
        """Images that are several views each, one after the other; arrays have a row for each token or view."""
        for path in paths:
            try:
                (picture,) = self.artefact.pictures(path)
            except (ImageError, OutputError) as error:
                if not self.skip_bad:
                    raise
                self.skipped.append(Skipped(str(path), str(error)))
            else:
                yield [_picture_result(str(path), picture)], _picture_arrays(picture)

    def _readable(self, paths: Sequence[Path]) -> Iterator[_Readable]:
        for path in paths:
            try:
                yield _Readable(str(path), *self.artefact.placed(path, str(path)))
            except ImageError as error:
                if not self.skip_bad:
                    raise
                self.skipped.append(Skipped(str(path), str(error)))


def _opened(artefact: Opened) -> list[PrunedArtefact]:
    """Those that ran."""
    return [*artefact.opened.values()] if isinstance(artefact, PrunedGrids) else [artefact]


def _least_checked(artefact: Opened) -> Checked:
    """The worst of what ran."""
    order: tuple[Checked, ...] = ("failed", "never", "passed")
    return min((checked(one.way) for one in _opened(artefact)), key=order.index)


def _names(results: Sequence[ImageResult]) -> dict[str, np.ndarray]:
    """Arrays that say which row is what."""
    names = {"images": np.array([one.image for one in results])}
    return names | ({"grids": np.array([one.grid for one in results])} if results[0].grid else {})


def _arrays(rows: Sequence[Output], artefact: Opened) -> dict[str, np.ndarray]:
    """A row for each image; where the grids keep different numbers of tokens, one for each token of each image."""
    grids = artefact.grids if isinstance(artefact, PrunedGrids) else ()
    if len({manifest_of(artefact, grid).layout.slots for grid in grids}) < 2:
        return Output.joined(rows).arrays()
    each = [_token_arrays(row[0]) for row in rows]
    return {name: np.concatenate([arrays[name] for arrays in each]) for name in each[0]}


def _token_arrays(kept: Kept) -> dict[str, np.ndarray]:
    arrays = {"tokens": kept.tokens, "kept": kept.kept, "num_tokens": np.array([kept.num_kept])}
    if kept.position_ids is not None:
        arrays["position_ids"] = kept.position_ids.T
    if kept.deepstack is not None:
        arrays["deepstack"] = kept.deepstack
    measured = {name: getattr(kept, name) for name in MEASURES}
    return arrays | {name: np.array([value], np.float32) for name, value in measured.items() if value is not None}


def _picture_result(name: str, picture: Picture) -> ImageResult:
    return dataclasses.replace(
        image_result(name, picture.views[0]),
        num_kept=len(picture.tokens),
        kept=tuple(map(int, picture.kept)),
        view=tuple(map(int, picture.view)),
        views=tuple(
            ViewResult(num_kept=view.num_kept, erank=view.erank, attention_entropy=view.attention_entropy)
            for view in picture.views
        ),
    )


def _picture_arrays(picture: Picture) -> dict[str, np.ndarray]:
    arrays = {"tokens": picture.tokens, "view": picture.view, "kept": picture.kept}
    arrays |= {"num_tokens": np.array([len(picture.tokens)]), "num_views": np.array([len(picture.views)])}
    for name in MEASURES:
        measured = [getattr(view, name) for view in picture.views]
        if None not in measured:
            arrays[name] = np.array(measured, dtype=np.float32)
    return arrays


def _drawings(results: Sequence[ImageResult], folder: Path) -> list[Path]:
    """A file for the picture of each image; a name that has no room for the number is cut."""
    stems = (cut_name(Path(result.image).stem, len(f"{i:03d}-.png")) for i, result in enumerate(results))
    return [folder / f"{i:03d}-{stem}.png" for i, stem in enumerate(stems)]


def _drawn(
    results: Sequence[ImageResult], targets: Sequence[Path], folder: Path, artefact: Opened
) -> list[ImageResult]:
    """The results, each with a picture of it in a folder; the photos are read once more, one at a time."""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for result, target in zip(results, targets, strict=True):
        kept, view = np.array(result.kept, np.int64), np.array(result.view, np.int64)
        views = [kept[view == number] for number in range(len(result.views))] or [kept]
        manifest = manifest_of(artefact, result.grid)
        picture = overlay_of_views(result.image, views, manifest.layout, manifest.preprocessing)
        with atomically(target) as file:
            picture.save(file, "PNG")
        drawn.append(dataclasses.replace(result, overlay=target))
    return drawn


@contextmanager
def _rows(out: Path) -> Iterator[Rows]:
    """Rows that wait beside the file that they become."""
    with _writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with Rows(out.parent) as rows:
        yield rows


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """What cannot be written is one sentence."""
    try:
        yield
    except OSError as error:
        raise ArtefactError(sentence(error, path)) from error
