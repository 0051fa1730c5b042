"""Pictures of a data set of the hub, as the library `datasets` streams them: nothing is kept on the disk.

Left to itself that library ends a stream at the first picture that it cannot decode. Here it hands out bytes, and each
picture is decoded by itself.
"""

import importlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from vtp_export.benchmarks._tables import IMAGE, decoded
from vtp_export.benchmarks.base import Example
from vtp_export.errors import SpecError, UnavailableError
from vtp_export.extras import install

PREFIX = "hub:"
"""Of a data set of the hub: `hub:OWNER/NAME`, `hub:OWNER/NAME:SPLIT`, `hub:OWNER/NAME:CONFIG:SPLIT`."""


class StreamedPictures:
    """The pictures of one split, in its order.

    Args:
        name: see `PREFIX`; the split is "train" where none is named.
        limit: how many there are, where the hub does not say.

    Raises:
        SpecError: the hub does not say how many there are, and neither does the caller; or no column holds pictures.
        UnavailableError: `datasets` is not installed, or the data set cannot be reached.
    """

    def __init__(self, name: str, limit: int | None) -> None:
        """See the class."""
        if importlib.util.find_spec("datasets") is None:
            raise UnavailableError(f"'{name}' is streamed by the library datasets: {install('benchmarks')}")
        owner, *more = name.removeprefix(PREFIX).split(":")
        config, split = (None, "train") if not more else (None, more[0]) if len(more) == 1 else (more[0], more[1])
        self._set = opened(owner, config, split)
        told = (self._set.info.splits or {}).get(split)
        count = getattr(told, "num_examples", None) or limit
        if not count:
            raise SpecError(f"the hub does not say how many pictures '{name}' has; say how many to read with --limit")
        self._name, self._count, self.paths = owner, int(count), list[Path]()

    def __len__(self) -> int:
        """How many rows."""
        return self._count

    def at(self, positions: Iterable[int]) -> Iterator[Example]:
        """Those at ascending positions; rows before and between them are passed over.

        Raises:
            UnavailableError: the stream ends early.
        """
        rows: Iterator[Any] | None = None
        place = 0
        for position in positions:
            if rows is None:
                rows, place = iter(self._set.skip(position)), position
            for _ in range(position - place):
                _next(rows, self._name)
            place = position + 1
            name = f"{self._name}/{position}"
            yield Example(name, partial(decoded, _next(rows, self._name).get(IMAGE), Path(), f"'{name}'"))


def opened(path: str, config: str | None, split: str, **more: Any) -> Any:
    """A split as a stream whose pictures stay encoded.

    Raises:
        UnavailableError: it cannot be reached.
        SpecError: it has no pictures.
    """
    datasets = importlib.import_module("datasets")
    try:
        data = datasets.load_dataset(path, config, split=split, streaming=True, **more)
        if data.features is None:
            data = data._resolve_features()
    except Exception as error:  # no network, no such split: its own kinds of error are many
        raise UnavailableError(f"'{path}' cannot be streamed: {' '.join(str(error).split())}") from error
    if IMAGE not in (data.features or {}):
        raise SpecError(f"'{path}' has no column '{IMAGE}'; its columns are {', '.join(data.features or {})}")
    return data.cast_column(IMAGE, datasets.Image(decode=False)).select_columns([IMAGE])


def _next(rows: Iterator[Any], name: str) -> Any:
    try:
        return next(rows)
    except StopIteration:
        raise UnavailableError(f"'{name}' holds fewer pictures than it says; name another --limit") from None
    except Exception as error:  # as above
        raise UnavailableError(f"'{name}' cannot be read further: {' '.join(str(error).split())}") from error
