"""The data sets of a comparison, read once: what is asked, about which pictures, and what could not be used."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.benchmarks.base import Benchmark, Example
from vtp_export.comparing.looking import Asker
from vtp_export.errors import SpecError, UnavailableError
from vtp_export.json_records import as_unicode
from vtp_export.parity.asking import refuse_silent
from vtp_export.progress import Progress
from vtp_export.reports.compared import BenchmarkReport
from vtp_export.reports.tally import Entry, Seen, compared

SEED = "vtp-export swap"
"""Begins what is hashed to give questions another picture."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One data set: its name as it was asked for, and its pictures with their questions."""

    name: str
    data: Benchmark
    examples: Sequence[Example]
    left_out: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What came of it: the pictures that could be used, and what every method said about them.

    exchanged: the same questions about other pictures, where that was tried.
    """

    subject: Subject
    examples: Sequence[Example]
    seen: Sequence[Seen]
    exchanged: Sequence[tuple[Example, Seen]]
    left_out: tuple[str, ...]

    def report(self, entries: Sequence[Entry]) -> BenchmarkReport:
        """Its scores."""
        found = compared(
            name=self.subject.name,
            benchmark=self.subject.data,
            examples=self.examples,
            seen=self.seen,
            entries=entries,
            exchanged=self.exchanged,
        )
        return dataclasses.replace(found, left_out=self.left_out)


def subjects_of(names: Sequence[str | Path], limit: int | None, swap: bool) -> list[Subject]:
    """Read the data sets.

    Args:
        names: of benchmarks, or folders or files of one's own.
        limit: number of images of each, or None for all.
        swap: whether questions are to be asked about other pictures too.

    Raises:
        VtpError: one of them cannot be used.
    """
    absent, found = [], []
    for name in dict.fromkeys(map(str, names)):
        given = next(one for one in names if str(one) == name)
        try:
            found.append((name, benchmark_of(given)))
        except UnavailableError as error:
            absent.append(str(error))
    if absent:
        raise UnavailableError("; ".join(absent))
    subjects = []
    for name, data in found:
        examples = [example for example in data.examples(limit) if example.questions]
        refuse_silent(examples)
        if swap and len(examples) < 2:
            raise SpecError(f"a swap takes two pictures or more, and '{name}' has {len(examples)}; leave out --swap")
        left = tuple(data.left_out)
        subjects.append(Subject(name=as_unicode(name), data=data, examples=examples, left_out=left))
    return subjects


def asked_about(subject: Subject, asker: Asker, swap: bool, progress: Progress) -> Asked:
    """Ask everything.

    Raises:
        SpecError: no picture can be used.
    """
    asker = dataclasses.replace(asker, longest=subject.data.longest)
    shown = [(example, example.open) for example in subject.examples]
    examples, seen, faults = [], [], list(subject.left_out)
    for example, one in zip(subject.examples, asker.seen(shown, progress, f"comparing on {subject.name}"), strict=True):
        if isinstance(one, Seen):
            examples.append(example)
            seen.append(one)
        else:
            faults += [str(one)] * len(example.questions)
    if not examples:
        raise SpecError(f"no picture of '{subject.name}' can be used: {faults[0]}")
    exchanged: list[tuple[Example, Seen]] = []
    if swap and len(examples) > 1:
        partners = others([example.name for example in examples])
        pairs = [(example, examples[partners[i]].open) for i, example in enumerate(examples)]
        told = asker.seen(pairs, progress, f"about other pictures of {subject.name}")
        exchanged = [(one, seen) for one, seen in zip(examples, told, strict=True) if isinstance(seen, Seen)]
    return Asked(subject=subject, examples=examples, seen=seen, exchanged=exchanged, left_out=tuple(faults))


def others(names: Sequence[str]) -> list[int]:
    """For each of several names the number of another, no two the same: one turn of a seeded order.

    Example:
        >>> sorted(others("abcd")), [i for i, other in enumerate(others("abcd")) if i == other]
        ([0, 1, 2, 3], [])
    """
    order = sorted(range(len(names)), key=lambda i: hashlib.sha256(f"{SEED} {names[i]}".encode()).hexdigest())
    partner = dict(zip(order, [*order[1:], order[0]], strict=True))
    return [partner[i] for i in range(len(names))]
