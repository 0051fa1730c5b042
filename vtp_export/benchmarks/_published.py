"""What the published data sets have in common: where they come from, which rows are taken, what is left out.

A picture stands with all questions about it, so that whatever counts pictures counts clusters, and rows that are only
right together stay together. A limit takes pictures in proportion to their kinds, in an order that depends on nothing
but their names: the pictures of a small limit are among those of a larger one.
"""

import hashlib
import os
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import PIL.Image

from vtp_export.arguments import whole
from vtp_export.benchmarks import base
from vtp_export.benchmarks._tables import Row, can_fetch, file_rows, files_of, hub_rows
from vtp_export.errors import ImageError, SpecError, UnavailableError
from vtp_export.extras import install
from vtp_export.runtime.images import note

WORD = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."
"""What LLaVA's evaluation puts behind a question."""

SEED = "vtp-export"
"""Begins what is hashed to put pictures in an order."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a data set comes from.

    hub: its id; config, split: which part. revision: a commit, None where none was ever noted: the newest.
    pictures: the configuration that holds them, where they stand apart.
    columns: those that are read, besides the picture. public: whether the answers of the split are.
    """

    hub: str
    config: str | None = None
    split: str
    revision: str | None = None
    columns: tuple[str, ...]
    pictures: str | None = None
    public: bool = True


@dataclass(frozen=True, kw_only=True)
class Asked(base.Question):
    """A question of a published data set.

    references: all answers that count. options: the texts of A, B, C and so on. id: of the row, where it has one.
    """

    references: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    id: str = ""


@dataclass
class _Group:
    """One picture and what is asked about it."""

    name: str
    open: Callable[[], PIL.Image.Image]
    questions: list[Asked] = field(default_factory=list)


class Published(base.Benchmark):
    """A data set of the literature.

    Args:
        folder: where its files are; None for the folder of its name in `home()`, and the hub where there is none.
    """

    source: ClassVar[Source]
    longest: ClassVar[int] = 128
    """As in LLaVA's evaluation of short answers, which ends at the model's end mark and at nothing else."""
    by_kind: ClassVar[bool] = False
    """Whether scores of each kind of question are told too."""

    def __init__(self, folder: Path | None = None) -> None:
        """See the class."""
        self.name = type(self).__module__.rpartition(".")[2]
        self.folder = home() / self.name if folder is None else Path(folder)

    @abstractmethod
    def question(self, cells: Mapping[str, Any]) -> Asked:
        """What a row asks.

        Raises:
            SpecError: the row is malformed.
        """

    def picture(self, cells: Mapping[str, Any]) -> str | None:
        """The name of a row's picture, which other rows may share; None where every row has its own."""
        return None

    def incomplete(self, questions: Sequence[Asked]) -> str | None:
        """Why questions about a picture cannot be scored together, or None."""
        return None

    @abstractmethod
    def credit(self, answered: base.Answered) -> float:
        """From 0 (wrong) to 1 (right)."""

    def is_right(self, answered: base.Answered) -> bool:
        """Whether an answer earns at least half of the credit."""
        return self.credit(answered) >= 0.5

    def score(self, asked: Sequence[base.Answered]) -> dict[str, float]:
        """Mean credit, and that of each kind where these are told."""
        groups: dict[str, list[float]] = defaultdict(list)
        for answered in asked:
            groups["accuracy"].append(self.credit(answered))
            if self.by_kind:
                groups[f"accuracy {answered.question.kind}"].append(groups["accuracy"][-1])
        return {name: sum(values) / len(values) for name, values in groups.items()}

    def missing(self) -> str | None:
        """What to fetch and where to put it, or None."""
        parts = {self.source.config, self.source.pictures or self.source.config}
        if can_fetch() or all(self._files(part) for part in parts):
            return None
        configs = [name for name in (self.source.config, self.source.pictures) if name]
        part = " and ".join(f"{name}/{self.source.split}" for name in configs) or self.source.split
        return (
            f"the benchmark '{self.name}' is not here: fetch {part} of the data set {self.source.hub} from the hub "
            f"into '{self.folder}', as Parquet or JSON lines, or install what fetches it: {install('benchmarks')}"
        )

    def examples(self, limit: int | None) -> Iterator[base.Example]:
        """Yield the pictures in the order of the files; what cannot be used is left out, with a note that counts it.

        Args:
            limit: so many pictures of all kinds, at least 1; None yields all.

        Raises:
            SpecError: the limit is below 1, a file cannot be read, or nothing in it can be used.
            UnavailableError: the data set is not here.
        """
        if limit is not None:
            whole("limit", limit, 1)
        if reason := self.missing():
            raise UnavailableError(reason)
        groups, faults = self._groups()
        sound = self._sound(groups, limit, faults)
        self.left_out = faults
        if not sound:
            raise SpecError(f"nothing in the benchmark '{self.name}' can be used: {faults[0] if faults else 'no rows'}")
        if faults:
            note(f"{len(faults)} questions of '{self.name}' are left out, the first because {faults[0]}")
        for number in sound:
            yield base.Example(groups[number].name, groups[number].open, tuple(groups[number].questions))

    def rows(self) -> Iterator[Row]:
        """The rows of the split, one in memory at a time."""
        return self.table(self.source.config)

    def table(self, config: str | None) -> Iterator[Row]:
        """The rows of the split in one configuration, from files where there are any."""
        source = self.source
        files = self._files(config)
        for path in files:
            yield from file_rows(path, source.columns)
        if not files:
            yield from hub_rows(source.hub, config, source.split, source.revision)

    def _files(self, config: str | None) -> list[Path]:
        return files_of(self.folder, self.source.split, config) if self.folder.is_dir() else []

    def _groups(self) -> tuple[list[_Group], list[str]]:
        """The pictures with their questions, none decoded, and what is wrong with each question that is left out."""
        groups: dict[str, _Group] = {}
        faults = []
        for number, row in enumerate(self.rows()):
            try:
                if row.fault is not None:
                    raise SpecError(row.fault)
                name = self.picture(row.cells) or f"{self.source.split}-{number:06d}"
                question = self.question(row.cells)
            except SpecError as error:
                faults.append(str(error) if row.fault else f"{row.where}: {error}")
            else:
                groups.setdefault(name, _Group(name, row.open)).questions.append(question)
        for group in list(groups.values()):
            if reason := self.incomplete(group.questions):
                faults += [f"{reason} ('{group.name}')"] * len(groups.pop(group.name).questions)
        return list(groups.values()), faults

    def _sound(self, groups: Sequence[_Group], limit: int | None, faults: list[str]) -> list[int]:
        """Numbers of the pictures that are taken, all of which can be decoded; others are added to the faults."""
        order = iter(stratified([(group.name, group.questions[0].kind) for group in groups]))
        sound: list[int] = []
        wanted = len(groups) if limit is None else limit
        while chosen := sorted(islice(order, min(wanted - len(sound), len(groups)))):
            for number in chosen:
                try:
                    groups[number].open()
                except ImageError as error:
                    faults += [str(error)] * len(groups[number].questions)
                else:
                    sound.append(number)
        return sorted(sound)


def home() -> Path:
    """The folder of all data sets, in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vtp-export" / "benchmarks"


def stratified(items: Iterable[tuple[str, str]]) -> list[int]:
    """An order of named things whose every beginning has the kinds in the proportion of the whole.

    Args:
        items: name and kind of each.

    Returns:
        Their numbers.

    Example:
        >>> kinds = "aaaaaabbb"
        >>> "".join(sorted(kinds[i] for i in stratified((str(n), kind) for n, kind in enumerate(kinds))[:3]))
        'aab'
    """
    strata: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for number, (name, kind) in enumerate(items):
        strata[kind].append((hashlib.sha256(f"{SEED} {name}".encode()).hexdigest(), number))
    placed = []
    for members in strata.values():
        for rank, (digest, number) in enumerate(sorted(members)):
            placed.append(((rank + 0.5) / len(members), digest, number))
    return [number for _, _, number in sorted(placed)]


def text(cells: Mapping[str, Any], column: str) -> str:
    """A cell that must be a text with something in it; a number is taken as it is written.

    Raises:
        SpecError: it is something else.
    """
    value = cells.get(column)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise SpecError(f"{column} must be a text that is not empty")
    return value


def texts(cells: Mapping[str, Any], column: str) -> tuple[str, ...]:
    """A cell that must be a list of texts, at least one.

    Raises:
        SpecError: it is something else.
    """
    value = cells.get(column)
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise SpecError(f"{column} must be a list of texts that is not empty")
    return tuple(value)


def lettered(options: Sequence[str]) -> str:
    """Options as lines: A. first, B. second."""
    return "".join(f"\n{chr(ord('A') + number)}. {option}" for number, option in enumerate(options))


def asked_of(answered: base.Answered) -> Asked:
    """The question of an answer, with its references."""
    assert isinstance(answered.question, Asked)
    return answered.question
