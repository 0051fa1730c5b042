"""From the tokens of several views to the one sequence that the language model reads of a picture. NumPy only.

As LLaVA-NeXT's and LLaVA-OneVision's `pack_image_features`: the tokens of the whole picture; then those of the tiles,
row by row of the picture that the tiles make together, tokens in the bars beside it dropped, and a newline vector after
each row. What these do not know, because they keep every token: a newline follows a row that kept a token, and one that
has none to keep; tokens that belong to no place, such as CLS, come after all rows, tile by tile.

Where pictures fill their canvas (InternVL, SmolVLM, Idefics3): tile by tile, the whole picture last, no vector between;
text stands around and between them, see `runtime.framing`.
"""

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vtp_export.errors import ArtefactError, ImageError, SpecError
from vtp_export.runtime.artefact import Artefact, verify_file
from vtp_export.runtime.framing import framed
from vtp_export.runtime.images import ImageLike, as_image, batched
from vtp_export.runtime.output import Kept, Run, naming
from vtp_export.runtime.positions import following
from vtp_export.runtime.preprocess import model_views, values_of
from vtp_export.runtime.tiles import Plan, plan, view_names
from vtp_export.settings import at_least, check, either, one_of
from vtp_export.spec import FileRecord, Layout, Packing, Preprocessing

NEWLINE = "newline.npy"
"""The file of the newline vector in an artefact."""

SHRUNK_ABOVE = 1.1
"""Of the edge: LLaVA-OneVision lets so much more than `anyres_max` tiles pass."""


@dataclass(frozen=True)
class PackingSettings:
    """What can be chosen of how views are joined.

    newlines: "rows", the newline vector after every row that kept a token, or "none"; of a model that has no such
        vector always "none".
    unpad: whether tokens in the bars beside the picture are dropped.
    tiles: most tiles of a picture, beside the view of the whole; None for as many as the model has.
    """

    newlines: str = one_of("rows", "rows", "none", source="Transformers")
    unpad: bool = either(True, source="Transformers")
    tiles: int | None = at_least(None, 1, source="the model")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What the language model reads of one picture, in its order.

    tokens: (m, d) float32 or float16, newline vectors among them.
    view: (m,) int64 which view a token is of: 0 the whole picture, 1 and up the tiles row by row; -1 a newline.
    kept: (m,) int64 candidate positions in that view; -1 of a newline, and of a token that belongs to none.
    views: what came out of each view, before any was dropped; the whole picture first.
    runs: lengths of the runs of tokens that no text interrupts; their sum is m.
    text: what the language model reads before the first run, between two, and after the last, as it is tokenised.
    position_ids, deepstack: see `Kept`; None where the language model takes none.
    extent: where there are positions, how far after the picture's start the text behind it stands; else None.
    """

    tokens: np.ndarray
    view: np.ndarray
    kept: np.ndarray
    views: tuple[Kept, ...]
    runs: tuple[int, ...]
    text: tuple[str, ...]
    position_ids: np.ndarray | None = None
    deepstack: np.ndarray | None = None
    extent: int | None = None

    @property
    def kept_by_view(self) -> tuple[np.ndarray, ...]:
        """Candidate positions of each view, without those that were dropped."""
        return tuple(self.kept[self.view == view] for view in range(len(self.views)))

    @property
    def newlines(self) -> int:
        """How many of the tokens are newline vectors."""
        return int((self.view == -1).sum())


@dataclass(frozen=True, kw_only=True)
class Packer:
    """Joins the views of pictures.

    layout, preprocessing: of a view.
    packing: None where a picture is one view.
    newline: (d,) the newline vector, or None where there is none.
    """

    layout: Layout
    preprocessing: Preprocessing
    packing: Packing | None = None
    newline: np.ndarray | None = None

    def picture(self, image: ImageLike, run: Run, most: int = 1, name: str = "the picture") -> Picture:
        """See a picture, run its views and join what comes out.

        Args:
            image: see `ImageLike`.
            run: what turns the pixels of views into their results.
            most: views of one run.
            name: of the picture, for messages.

        Raises:
            ImageError: the picture cannot be used, or see `refuse_shrunk`.
            OutputError: what came out of a view is not finite.
        """
        photo = as_image(image, name)
        self.refuse_shrunk(photo.size, name)
        seen = model_views(photo, self.preprocessing, [name])
        names, views = view_names(name, len(seen)), list[Kept]()
        for few in batched(range(len(seen)), most):
            with naming([names[view] for view in few]):
                views += run(values_of(seen[few], self.preprocessing))
        return self.pack(views, photo.size, name)

    def pack(self, views: Sequence[Kept], size: tuple[int, int], name: str = "the picture") -> Picture:
        """Join the views of one picture.

        Args:
            views: what came out of each, in the order of `tiles.cut`.
            size: (width, height) of the picture in pixels.
            name: of the picture, for messages.

        Raises:
            SpecError: more or fewer views than such a picture has.
            ImageError: see `refuse_shrunk`.
        """
        count = 1 if self.packing is None else self.plan(size).views
        if len(views) != count:
            raise SpecError(
                f"{name}, {size[0]} x {size[1]} pixels, has {count} views, and results of {len(views)} were given"
            )
        self.refuse_shrunk(size, name)
        whole, *tiles = views
        if self.packing is None:
            alone = _joined(views, {0: whole}, ("", ""))
            extent = None if whole.position_ids is None else following(self.layout.candidates.grid)
            return replace(alone, position_ids=whole.position_ids, deepstack=whole.deepstack, extent=extent)
        if self.preprocessing.filling != "fit":
            texts = framed(self.packing.framing, self.plan(size).grid)
            return _joined(views, {**dict(enumerate(tiles, start=1)), 0: whole}, texts)
        joined = _joined(views, dict(enumerate(tiles, start=1)), ("", ""))
        tokens, kept, view = joined.tokens, joined.kept, joined.view
        order = self._order(kept, view, size)
        if self.newline is not None:  # under the index that follows the last token's
            tokens = np.concatenate([tokens, self.newline[None].astype(tokens.dtype)])
            kept, view = np.append(kept, -1), np.append(view, -1)
        return Picture(
            tokens=np.concatenate([whole.tokens, tokens[order]]),
            view=np.concatenate([np.zeros_like(whole.kept), view[order]]),
            kept=np.concatenate([whole.kept, kept[order]]),
            views=tuple(views),
            runs=(whole.num_kept + len(order),),
            text=("", ""),
        )

    def plan(self, size: tuple[int, int]) -> Plan:
        """How a picture of (width, height) pixels is cut."""
        return plan(size, self.preprocessing)

    def _order(self, kept: np.ndarray, view: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Indices of the tiles' tokens as they are read, that of a newline being their number.

        Args:
            kept: (m,) positions in their tiles.
            view: (m,) of which tile, counted from 1.
            size: (width, height) of the picture in pixels.
        """
        assert self.packing is not None
        across, cells = self.plan(size).grid, self.layout.candidates.grid
        row = np.where(kept < 0, -1, (view - 1) // across[1] * cells[0] + kept // cells[1])
        column = (view - 1) % across[1] * cells[1] + kept % cells[1]
        grid = across[0] * cells[0], across[1] * cells[1]
        rows, columns = unpadded(grid, size) if self.packing.unpad else (range(grid[0]), range(grid[1]))
        inside = (row >= rows.start) & (row < rows.stop) & (column >= columns.start) & (column < columns.stop)
        ended = np.array(rows if not columns else np.unique(row[inside]), dtype=np.int64)
        ended = ended if self.newline is not None else ended[:0]
        index = np.concatenate([np.flatnonzero(inside), np.full(len(ended), len(kept))])
        by_row = np.concatenate([row[inside], ended])
        by_column = np.concatenate([column[inside], np.full(len(ended), columns.stop)])
        return np.concatenate([index[np.lexsort((by_column, by_row))], np.flatnonzero(kept < 0)])

    def refuse_shrunk(self, size: tuple[int, int], name: str) -> None:
        """See that the model itself would read every token of such a picture as it is.

        Args:
            size: (width, height) of the picture in pixels.
            name: of the picture.

        Raises:
            ImageError: it would shrink them, which cannot be done to pruned ones.
        """
        most = None if self.packing is None else self.packing.anyres_max
        if most is None:
            return
        across, cells = self.plan(size).grid, self.layout.candidates.grid
        rows, columns = unpadded((across[0] * cells[0], across[1] * cells[1]), size)
        if math.sqrt(len(rows) * len(columns) / (most * cells[0] ** 2)) > SHRUNK_ABOVE:
            raise ImageError(
                f"{name} has {size[0]} x {size[1]} pixels and is cut into {across[0] * across[1]} tiles, whose tokens "
                f"this model shrinks to those of {most}, which cannot be done to pruned ones; give a smaller picture, "
                f"or export with --packing tiles={most}"
            )


def _joined(views: Sequence[Kept], ordered: Mapping[int, Kept], text: tuple[str, ...]) -> Picture:
    """The tokens of views by their numbers, one after the other, in as many runs as the text leaves room for."""
    numbers, results = list(ordered), list(ordered.values())
    lengths = tuple(result.num_kept for result in results)
    return Picture(
        tokens=np.concatenate([result.tokens for result in results]),
        view=np.repeat(np.array(numbers, dtype=np.int64), lengths),
        kept=np.concatenate([result.kept for result in results]),
        views=tuple(views),
        runs=lengths if len(text) == len(lengths) + 1 else (sum(lengths),),
        text=text,
    )


def unpadded(grid: tuple[int, int], size: tuple[int, int]) -> tuple[range, range]:
    """The rows and columns of a grid in which a fitted picture stands, the bars beside it left out.

    As Transformers' `unpad_image`, which rounds so that a token that the picture only touches may be left out.

    Args:
        grid: (rows, columns) of all tiles together.
        size: (width, height) of the picture in pixels.

    Example:
        >>> unpadded((48, 48), (640, 480))
        (range(6, 42), range(0, 48))
    """
    (rows, columns), (width, height) = grid, size
    if width / height > columns / rows:
        bar = (rows - int(round(height * (columns / width), 7))) // 2
        return range(bar, rows - bar), range(columns)
    bar = (columns - int(round(width * (rows / height), 7))) // 2
    return range(rows), range(bar, columns - bar)


def newline_file(newline: np.ndarray) -> bytes:
    """What the file `NEWLINE` holds."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(newline, np.float32), allow_pickle=False)
    return file.getvalue()


def newline_record(newline: np.ndarray) -> dict[str, FileRecord]:
    """How a manifest tells of that file."""
    content = newline_file(newline)
    return {NEWLINE: FileRecord(len(content), hashlib.sha256(content).hexdigest())}


def packer_of(artefact: Artefact) -> Packer:
    """Read the newline vector of an artefact.

    Raises:
        ArtefactError: its file is missing or damaged, or holds something else.
    """
    manifest, newline = artefact.manifest, None
    if manifest.packing is not None and manifest.packing.files:
        ((name, record),) = manifest.packing.files.items()
        verify_file(artefact.folder, name, record)
        (width,) = (spec.shape[-1] for spec in manifest.outputs if spec.name == "tokens")
        try:
            with (artefact.folder / name).open("rb") as file:
                newline = np.lib.format.read_array(file, allow_pickle=False)
        except (OSError, ValueError, MemoryError, OverflowError) as error:
            raise ArtefactError(f"the newline vector of '{artefact.folder}' cannot be read: {error}") from error
        if newline.shape != (width,) or newline.dtype != np.float32 or not np.isfinite(newline).all():
            raise ArtefactError(
                f"the newline vector of '{artefact.folder}' is {newline.dtype} of shape {newline.shape}; float32 of "
                f"shape ({width},), all finite, is right; export again"
            )
    return Packer(
        layout=manifest.layout, preprocessing=manifest.preprocessing, packing=manifest.packing, newline=newline
    )
