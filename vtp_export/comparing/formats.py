"""How the language model is asked about the formats of an artefact, and what it answers from each."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtp_export import rooms
from vtp_export.arguments import path_of, whole
from vtp_export.benchmarks._lookup import benchmark_of
from vtp_export.benchmarks.base import Benchmark, Example
from vtp_export.graphs.assembly import assemble
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.packing import packer_for
from vtp_export.integrations.hosts import UNPRUNED, Encoder, Speakers
from vtp_export.integrations.transformers import Answerer
from vtp_export.json_records import as_unicode
from vtp_export.models.base import LoadedModel
from vtp_export.parity.answer_store import AnswerStore, code_digest
from vtp_export.parity.answers import AnswerComparison, Manner
from vtp_export.parity.asking import Reply
from vtp_export.parity.gates import GATES
from vtp_export.progress import Progress
from vtp_export.reports.answer_lines import answer_lines, write_answers
from vtp_export.runtime.artefact import Artefact
from vtp_export.runtime.front_end import PrunedArtefact
from vtp_export.runtime.output import Run
from vtp_export.runtime.packing import Packer
from vtp_export.runtime.versions import versions
from vtp_export.runtime.writing import refuse_unwritable
from vtp_export.spec import Manifest

GRAPH = "graph"


def kept_in(cache: str | Path | None, batch: int) -> Path | None:
    """The folder where answers are kept, if any, seen to be writable; and the batch to be a number.

    Raises:
        ArtefactError: it cannot be written.
        SpecError: no path, or a batch below 1.
    """
    whole("batch", batch, 1)
    if cache is None:
        return None
    refuse_unwritable(folder := path_of("the cache", cache))
    return folder


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What the language model is asked, and of which model it is.

    benchmark: as it was named. asked: its pictures, with questions. batch: so many are answered together at most.
    graph: the eager graph. model: that it was made of, packed. own: what the model itself says of the artefact.
    apart: whether what the runtime's language model changes by itself is told apart, see `Speakers`.
    """

    benchmark: str | Path
    asked: Sequence[Example]
    batch: int
    graph: EagerSession
    model: LoadedModel
    own: Manifest
    apart: bool

    @property
    def packer(self) -> Packer:
        """Of the model."""
        return packer_for(self.model, self.own.layout, self.own.packing)

    def whole(self) -> Encoder | None:
        """The unpruned front end, where it is asked for."""
        if not self.apart:
            return None
        assembly = assemble(self.model, "none", {})
        packer = packer_for(self.model, assembly.layout, self.own.packing)
        return Encoder(EagerSession(assembly.graph, self.graph.device), packer)


def replies_of(
    speakers: Speakers | None,
    asking: Asking,
    sessions: Mapping[str, PrunedArtefact],
    cache: Path | None,
    page: Path | None,
    progress: Progress,
) -> tuple[AnswerComparison, ...]:
    """Answers from the graph's tokens, and from those of every format, held against each other.

    Args:
        speakers: who answers; None for nobody.
        asking: what.
        sessions: the formats of one artefact.
        cache: see `manners_of`.
        page: folder of the report, see `write_told`.
        progress: hears of every picture.

    Raises:
        VtpError: the answers cannot be kept or written, or a model cannot read the tokens.
    """
    if speakers is None:
        return ()
    artefact, data = next(iter(sessions.values())).artefact, benchmark_of(asking.benchmark)
    manner, share = Manner(longest=data.longest, batch=asking.batch), GATES[asking.own.precision.name].answers
    graphs = (GRAPH, UNPRUNED) if asking.apart else (GRAPH,)
    manners = manners_of(manner, cache, artefact, graphs, sessions, speakers.plain)
    speaking = speakers.in_manner(manners, asking.whole())
    runs: dict[str, Run] = {GRAPH: asking.graph, **{fmt: session.run_padded for fmt, session in sessions.items()}}
    replies = speaking.compare(data, asking.asked, runs, asking.packer, share, progress)
    write_told(page, as_unicode(str(asking.benchmark)), data, speaking.told)
    return replies


def manners_of(
    manner: Manner,
    cache: Path | None,
    artefact: Artefact,
    graphs: Sequence[str],
    sessions: Mapping[str, PrunedArtefact],
    model: Answerer,
) -> dict[str, Manner]:
    """For the graphs, whole and pruned, and for each format, the same manner, with a store of its answers.

    Args:
        manner: how questions are asked.
        cache: folder of the stores; None for none.
        artefact: whose formats they are.
        graphs: what they are held against, `GRAPH` and what else is asked about.
        sessions: by format, as it was opened.
        model: answers.
    """
    if cache is None:
        return dict.fromkeys((*graphs, *sessions), manner)
    shared = {"code": code_digest(), "artefact": artefact.manifest.identity(), **model.identity()}
    heads: dict[str, dict[str, Any]] = {name: {**shared, "run": name} for name in graphs}
    for fmt, session in sessions.items():
        packages = versions(rooms.load("backends", fmt).Backend.packages)
        heads[fmt] = {**shared, "run": [fmt, session.device, session.provider, packages]}
    return {name: dataclasses.replace(manner, store=AnswerStore(cache, head)) for name, head in heads.items()}


def write_told(folder: Path | None, name: str, data: Benchmark, told: Mapping[str, Sequence[Reply]]) -> None:
    """Every answer, as `compare` writes them.

    Args:
        folder: of the report; None writes none.
        name: of the benchmark.
        data: whose questions they are.
        told: by what it was answered from.

    Raises:
        ArtefactError: it cannot be written.
    """
    if folder is None:
        return
    lines = {run: [reply.answered for reply in replies] for run, replies in told.items()}
    write_answers(folder, answer_lines(name, data, lines))
