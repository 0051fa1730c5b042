"""Who reads an artefact's tokens besides Transformers, by name."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vtp_export.arguments import path_of
from vtp_export.benchmarks.base import Benchmark, Example
from vtp_export.errors import ModelError, SpecError, UnknownNameError
from vtp_export.integrations import llama_cpp, onnxruntime
from vtp_export.integrations.greedy import GreedyAnswerer
from vtp_export.integrations.openvino_folder import open_folder
from vtp_export.integrations.openvino_genai import Pipeline
from vtp_export.integrations.transformers import Answerer
from vtp_export.parity.answers import AnswerComparison, Manner, answers_of, compare_answers
from vtp_export.parity.asking import Reply, refuse_silent
from vtp_export.parity.hosts import answers_from_sight
from vtp_export.progress import Progress
from vtp_export.runtime.output import Run
from vtp_export.runtime.packing import Packer
from vtp_export.settings import usable_threads
from vtp_export.spec import Manifest

TRANSFORMERS, GENAI, ONNXRUNTIME, LLAMA = "transformers", "openvino-genai", "onnxruntime", "llama-cpp"
FILES = {
    GENAI: "the folder that vtp-export genai wrote",
    ONNXRUNTIME: "the folder that vtp-export decoder wrote",
    LLAMA: "a GGUF file, with the words that vtp-export decoder wrote beside it,",
}
"""What each reads the language model from; Transformers has the checkpoint."""

RUNTIMES = (TRANSFORMERS, *FILES)

ANSWERS = "answers of "
"""How a comparison of answers is called: this, and the format; behind it a runtime that is not Transformers."""

UNPRUNED = "unpruned"
"""The manner in which Transformers is asked about all tokens of a picture."""

Host = GreedyAnswerer | Pipeline


@dataclass(frozen=True)
class Encoder:
    """A front end as a graph, and what packs its views."""

    run: Run
    packer: Packer


@dataclass(frozen=True, kw_only=True)
class Speakers:
    """Who answers from the graph's tokens, and who from an artefact's: `host`, or Transformers too.

    manners: how each is asked; stores are for the answers of Transformers alone. told: what was answered so far.
    whole: where the host's language model is a quantised one, what gives it all tokens of a picture: then what that
    changes is told apart, and formats are held against the host's own answers from the graph's tokens.
    """

    plain: Answerer
    host: Host | None
    manners: Mapping[str, Manner] = field(default_factory=dict)
    told: dict[str, list[Reply]] = field(default_factory=dict)
    whole: Encoder | None = None

    def in_manner(self, manners: Mapping[str, Manner], whole: Encoder | None = None) -> "Speakers":
        """The same, who have not said anything, asked in another manner."""
        return replace(self, manners=manners, told={}, whole=whole)

    def compare(
        self,
        benchmark: Benchmark,
        examples: Sequence[Example],
        runs: Mapping[str, Run],
        packer: Packer,
        asked: float,
        progress: Progress,
    ) -> tuple[AnswerComparison, ...]:
        """Of each format against those of the graph; of a runtime that sees the picture, its own.

        Args:
            benchmark: scores the answers.
            examples: pictures with their questions.
            runs: what runs the front end: "graph", and the formats by name.
            packer: of the model.
            asked: share of answers that must be the same.
            progress: hears of every picture.
        """
        host, longest = self.host, benchmark.longest
        usual = Manner(longest=longest)
        graph = answers_of(self.plain, examples, runs["graph"], packer, progress, self.manners.get("graph", usual))
        self.told["graph"] = graph
        if isinstance(host, Pipeline):
            own = self.told[GENAI] = answers_from_sight(host, examples, packer.preprocessing, progress, longest)
            return (_timed(compare_answers(f"{ANSWERS}{GENAI}", benchmark, graph, own, asked), host),)
        found: list[AnswerComparison] = []
        if host is not None and self.whole is not None:
            whole = self.whole
            manner = self.manners.get(UNPRUNED, usual)
            full = self.told[UNPRUNED] = answers_of(self.plain, examples, whole.run, whole.packer, progress, manner)
            for name, encoder, plain in ((UNPRUNED, whole, full), ("pruned", Encoder(runs["graph"], packer), graph)):
                title = f"the {name} graph through {host.runtime}"
                own = self.told[title] = answers_of(host, examples, encoder.run, encoder.packer, progress, usual)
                compared = compare_answers(title, benchmark, plain, own, asked=0.0)
                found.append(_timed(replace(compared, decides=False), host))
            graph = own  # of the pruned one, the last
        for name, run in runs.items():
            if name != "graph":
                manner = self.manners.get(name, usual) if host is None else usual
                own = self.told[name] = answers_of(host or self.plain, examples, run, packer, progress, manner)
                title = f"{ANSWERS}{name}" if host is None else f"{ANSWERS}{name} through {host.runtime}"
                one = compare_answers(title, benchmark, graph, own, asked)
                found.append(one if host is None else _timed(one, host))
        return tuple(found)


def refuse_unasked(
    examples: Sequence[Example], through: str, decoder: str | Path | None, answers: bool, quantised: bool = False
) -> None:
    """See that a runtime is one, has a language model, and is asked something; before anything is loaded.

    Raises:
        UnknownNameError: no such runtime.
        SpecError: its language model is not named, or one is where none is needed; or there are no questions; or a
            quantised one is told of where it has no embeddings from us.
    """
    if through not in RUNTIMES:
        raise UnknownNameError("runtime of a language model", through, list(RUNTIMES))
    if not answers and (through != TRANSFORMERS or decoder is not None):
        raise SpecError(f"{through} would answer questions, and none are asked; add --answers")
    if quantised and through in (TRANSFORMERS, GENAI):
        own = {TRANSFORMERS: "it reads the checkpoint", GENAI: "it sees pictures; see vtp-export genai --unpruned"}
        raise SpecError(f"--quantised is about a language model that is given tokens, not of {through}: {own[through]}")
    if through in FILES and decoder is None:
        raise SpecError(f"{through} needs a language model; name {FILES[through]} with --decoder")
    if through not in FILES and decoder is not None:
        raise SpecError(
            f"Transformers has the checkpoint's language model, and '{decoder}' is none for it; name a runtime with "
            f"--through: {', '.join(FILES)}"
        )
    if answers:
        refuse_silent(examples)


def speakers_of(
    through: str,
    decoder: str | Path | None,
    manifest: Manifest,
    plain: Callable[[], Answerer],
    threads: int | None,
) -> Speakers:
    """Load the checkpoint's language model in Transformers, and the same in a runtime.

    Args:
        through: of `RUNTIMES`.
        decoder: what the runtime reads it from, see `FILES`.
        manifest: of the artefact.
        plain: loads it in Transformers.
        threads: CPU threads of the runtime, or None for as many as the process may use.

    Raises:
        VtpError: one cannot be opened, or holds the vision model of another artefact.
    """
    answerer, threads = plain(), usable_threads(threads)
    host: Host | None = None
    if through == ONNXRUNTIME:
        host = onnxruntime.Answerer(path_of("the decoder", decoder or ""), threads)
    elif through == LLAMA:
        host = llama_cpp.Answerer(path_of("the decoder", decoder or ""), threads)
    elif through == GENAI:
        folder = open_folder(path_of("the decoder", decoder or ""))
        if folder.identity != manifest.identity():
            raise ModelError(
                f"the vision model in '{decoder}' is not this artefact's; write the folder with vtp-export genai"
            )
        host = Pipeline(folder, answerer.frames.around, threads)
    return Speakers(plain=answerer, host=host)


def _timed(one: AnswerComparison, host: Host) -> AnswerComparison:
    """With the median wait of what was just asked."""
    waited, host.waits[:] = statistics.median(host.waits), []
    return replace(one, first_token_ms=waited)
