"""Pictures of whatever holds them: a folder, tar files, Parquet, a JSON list, a data set of the hub, a benchmark."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from vtp_export import rooms
from vtp_export.arguments import kind_of, path_of
from vtp_export.benchmarks._archives import Archives
from vtp_export.benchmarks._folder import Folder
from vtp_export.benchmarks._lists import NamedPictures
from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.benchmarks._parquet import ParquetPictures
from vtp_export.benchmarks._stream import PREFIX, StreamedPictures
from vtp_export.benchmarks.base import Benchmark, Example
from vtp_export.calibrations import Selection
from vtp_export.errors import SpecError
from vtp_export.runtime.images import image_endings, note

PACKED = (".tar", ".parquet")


class Pictures(Protocol):
    """A data set to be read one picture at a time."""

    @property
    def paths(self) -> Iterable[Path]:
        """The files that it is read from."""
        ...

    def __len__(self) -> int:
        """How many pictures."""
        ...

    def at(self, positions: Iterable[int]) -> Iterator[Example]:
        """Those at ascending positions, not decoded yet; each can be sent to another process."""
        ...


class Listed:
    """Pictures that are held in a list."""

    def __init__(self, examples: Sequence[Example], paths: Iterable[Path] = ()) -> None:
        self._examples, self.paths = examples, list(paths)

    def __len__(self) -> int:
        """How many."""
        return len(self._examples)

    def at(self, positions: Iterable[int]) -> Iterator[Example]:
        """Those at these positions."""
        return (self._examples[position] for position in positions)


def chosen_pictures(
    name: str | Path, start: int = 0, limit: int | None = None, image_folder: str | Path | None = None
) -> tuple[Pictures, Selection]:
    """A data set, and which of its pictures are to be read.

    Of a benchmark it is the calibration split.

    Args:
        name: a folder of pictures, of tar files or of Parquet files; one such file, or a JSON list; `hub:OWNER/NAME`;
            or what `benchmark_of` knows.
        start: how many to pass over.
        limit: how many of the rest, spread over all of it; None for all.
        image_folder: what the paths of a JSON list are relative to; None for the folder that it lies in.

    Raises:
        VtpError: there is no such data set, or it cannot be read.
        SpecError: nothing is left after `start`.
    """
    pictures = _pictures(name, start, limit, image_folder)
    selection = Selection(total=len(pictures), start=start, limit=limit)
    if not len(selection):
        raise SpecError(f"start is {start}, and '{name}' holds {len(pictures)} pictures; begin before its end")
    return pictures, selection


def _pictures(name: str | Path, start: int, limit: int | None, image_folder: str | Path | None) -> Pictures:
    path = path_of("the images", name)
    if isinstance(name, str) and name.startswith(PREFIX):
        return StreamedPictures(name, None if limit is None else start + limit)
    kind = None if isinstance(name, str) and name in rooms.names("benchmarks") else kind_of("the images", path)
    if kind == "file" and path.suffix.lower() == ".json":
        folder = path.parent if image_folder is None else path_of("the image folder", image_folder)
        return NamedPictures(path, folder)
    if image_folder is not None:
        raise SpecError(f"'{name}' is no JSON list of pictures; leave --image-folder out")
    if kind == "file" and path.suffix.lower() in (*PACKED, ".tgz", ".gz"):
        return _packed(path.parent, [path])
    if kind == "folder" and (packed := _packed_below(path)):
        return _packed(path, packed)
    benchmark = benchmark_of(name).calibration()
    if isinstance(benchmark, Folder):
        return FolderPictures(benchmark)
    drawn = type(benchmark).spread is not Benchmark.spread  # as many as are asked for, and not some of those there are
    examples, _ = benchmark.spread(limit if drawn and not start else None)
    files = (path, *(path.parent / example.name for example in examples)) if kind == "file" else ()
    return Listed(by_kind(examples), files)


def by_kind(examples: Sequence[Example]) -> list[Example]:
    """Pictures named after what is asked about them, as files in folders: MME's tasks, for one.

    As they are where a picture has questions of several kinds, or all have the same.
    """
    kinds = [{question.kind for question in example.questions} for example in examples]
    if any(len(own) != 1 for own in kinds) or len(set().union(*kinds)) < 2:
        return list(examples)
    return [
        dataclasses.replace(example, name=f"{kind}/{example.name}")
        for example, (kind,) in zip(examples, kinds, strict=True)
    ]


class FolderPictures:
    """The pictures below a folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder, self.paths = folder, folder.paths

    def __len__(self) -> int:
        """How many."""
        return len(self.paths)

    def at(self, positions: Iterable[int]) -> Iterator[Example]:
        """Those at these positions."""
        return (self._folder.example(self.paths[position]) for position in positions)


def _packed_below(folder: Path) -> list[Path]:
    """Tar or Parquet files at any depth, of one kind."""
    for ending in PACKED:
        paths = sorted(path for path in folder.rglob(f"*{ending}") if path.is_file())
        if paths:
            endings = image_endings()
            if any(path.suffix.lower() in endings for path in folder.iterdir()):
                note(f"'{folder}' holds {ending[1:]} files: the pictures in these are read, and no others")
            return paths
    return []


def _packed(folder: Path, paths: list[Path]) -> Pictures:
    if paths[0].suffix.lower() == ".parquet":
        return ParquetPictures(folder, paths)
    return Archives(folder, paths)
