"""How the language model is asked about the formats of an artefact, and what it answers from each."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vtp_export import rooms
from vtp_export.arguments import path_of, whole
from vtp_export.benchmarks.base import Benchmark
from vtp_export.graphs.assembly import assemble
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.packing import packer_for
from vtp_export.integrations.hosts import Whole
from vtp_export.integrations.transformers import Answerer
from vtp_export.models.base import LoadedModel
from vtp_export.parity.answer_store import AnswerStore, code_digest
from vtp_export.parity.answers import Manner
from vtp_export.parity.asking import Reply
from vtp_export.reports.answer_lines import answer_lines, write_answers
from vtp_export.runtime.artefact import Artefact
from vtp_export.runtime.front_end import PrunedArtefact
from vtp_export.runtime.versions import versions
from vtp_export.runtime.writing import refuse_unwritable
from vtp_export.spec import Packing

GRAPH = "graph"


def whole_of(model: LoadedModel, packing: Packing | None, device: str) -> Whole:
    """The unpruned front end of a model that is loaded.

    Args:
        model: of an artefact, packed.
        packing: see `graphs.packing.packed`.
        device: where it runs.

    Raises:
        VtpError: the model cannot be assembled.
    """
    assembly = assemble(model, "none", {})
    return Whole(EagerSession(assembly.graph, device), packer_for(model, assembly.layout, packing))


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


def manners_of(
    manner: Manner, cache: Path | None, artefact: Artefact, sessions: Mapping[str, PrunedArtefact], model: Answerer
) -> dict[str, Manner]:
    """For the graph and for each format, the same manner, with a store of its answers.

    Args:
        manner: how questions are asked.
        cache: folder of the stores; None for none.
        artefact: whose formats they are.
        sessions: by format, as it was opened.
        model: answers.
    """
    if cache is None:
        return dict.fromkeys((GRAPH, *sessions), manner)
    shared = {"code": code_digest(), "artefact": artefact.manifest.identity(), **model.identity()}
    heads: dict[str, dict[str, Any]] = {GRAPH: {**shared, "run": GRAPH}}
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
