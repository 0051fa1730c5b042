"""Pictures pruned by every method, and what the language model then answers; a batch of questions at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import PIL.Image

from vtp_export.benchmarks.base import Example
from vtp_export.comparing.contenders import Contender
from vtp_export.errors import ImageError
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.complexity import SIGNALS, complexities_of, entropy_among
from vtp_export.models.base import LoadedModel
from vtp_export.parity.answer_store import AnswerStore, Line, picture_key, question_key
from vtp_export.parity.asking import BATCH, LONGEST, LanguageModel, ask, together
from vtp_export.progress import Progress
from vtp_export.reference.erank import effective_rank
from vtp_export.reports.tally import Outcome, Seen
from vtp_export.runtime.images import as_image
from vtp_export.runtime.output import naming
from vtp_export.runtime.packing import Picture
from vtp_export.runtime.preprocess import pixel_values
from vtp_export.runtime.tiles import view_names


@dataclass(frozen=True, kw_only=True)
class Asker:
    """All that turns pictures and questions into answers.

    contenders: the first keeps all. stores: of each of them.
    longest: most tokens of an answer. batch: questions that are answered together at most.
    """

    model: LoadedModel
    answerer: LanguageModel
    contenders: Sequence[Contender]
    stores: Sequence[AnswerStore]
    longest: int = LONGEST
    batch: int = BATCH

    def seen(
        self, shown: Sequence[tuple[Example, Callable[[], PIL.Image.Image]]], progress: Progress, doing: str
    ) -> Iterator[Seen | ImageError]:
        """What every method makes of pictures, in their order; or why one cannot be used.

        Args:
            shown: questions, and what decodes the picture that they are asked about.
            progress: hears of every batch.
            doing: what it hears.
        """
        opened, done = {id(example): show for example, show in shown}, 0
        for few in together([example for example, _ in shown], self.batch):
            progress(doing, done, len(shown))
            looks = [self._opened(example, opened[id(example)]) for example in few]
            self._look([one for one in looks if isinstance(one, _Look)])
            yield from (self._told(one) if isinstance(one, _Look) else one for one in looks)
            done += len(few)

    def pruned(self, example: Example, photo: PIL.Image.Image, contenders: Sequence[Contender]) -> list[Picture]:
        """What the language model reads of one picture, by several methods.

        Args:
            example: its questions.
            photo: the picture.
            contenders: some of these.

        Raises:
            ImageError: it cannot be used.
        """
        look = _Look(example, photo, self.longest)
        return [look.pruned(contender, self.model, self._needs) for contender in contenders]

    @property
    def _needs(self) -> frozenset[str]:
        """The signals that the methods read, and those that tell how complex a picture is."""
        return SIGNALS.union({"saliency"}, *(one.session.graph.pruner.method.needs for one in self.contenders))

    def _opened(self, example: Example, show: Callable[[], PIL.Image.Image]) -> "_Look | ImageError":
        try:
            return _Look(example, as_image(show(), example.name), self.longest)
        except ImageError as error:
            return error

    def _look(self, looks: Sequence["_Look"]) -> None:
        """Ask what no store knows."""
        needs = self._needs
        for contender, store in zip(self.contenders, self.stores, strict=True):
            unknown = [one for one in looks if not store.knows(one.picture, one.keys)]
            if not unknown:
                continue
            pictures = [one.pruned(contender, self.model, needs) for one in unknown]
            asked = [(one.example, picture) for one, picture in zip(unknown, pictures, strict=True)]
            replies = iter(ask(self.answerer, asked, self.longest, self.batch, contender.within))
            store.add(
                [
                    Line(
                        picture=one.picture,
                        answers={key: replace(next(replies).decoded, gaps=()) for key in one.keys},
                        measures=self._measures(contender, one, picture),
                    )
                    for one, picture in zip(unknown, pictures, strict=True)
                ]
            )

    def _measures(self, contender: Contender, look: "_Look", picture: Picture) -> dict[str, float]:
        """Of what is kept; of a method inside the language model, how much that comes to; of the first, of all."""
        if contender.within is not None:
            within = contender.within.of_views(len(picture.tokens), picture.views[0].num_kept)
            tokens, layers = len(picture.tokens), self.answerer.layers
            return {"kept": within.processed(tokens, layers), "booked": within.booked(tokens, layers)}
        entropies = [entropy_among(look.signals, i, view.kept) for i, view in enumerate(picture.views)]
        erank = float(effective_rank(picture.tokens, center=False))
        of_all = look.complexity() if contender is self.contenders[0] else {}
        return {"kept": len(picture.tokens), "erank": erank, "entropy": float(np.mean(entropies)), **of_all}

    def _told(self, look: "_Look") -> Seen:
        outcomes = []
        for line in [store.find(look.picture) for store in self.stores]:
            assert line is not None  # it has just been asked
            answers = tuple(line.answers[key].text for key in look.keys)
            rest = {name: line.measures.get(name) for name in ("booked", "erank", "entropy")}
            outcomes.append(Outcome(answers=answers, kept=line.measures["kept"], **rest))
        full = self.stores[0].find(look.picture)
        assert full is not None
        erank, entropy = full.measures["erank of all"], full.measures["entropy of all"]
        return Seen(name=look.example.name, erank=erank, attention_entropy=entropy, outcomes=tuple(outcomes))


class _Look:
    """One picture with its questions, while it is looked at.

    Args:
        example: the questions.
        photo: the picture that they are asked about.
        longest: most tokens of an answer.
    """

    def __init__(self, example: Example, photo: PIL.Image.Image, longest: int) -> None:
        self.example, self.picture = example, picture_key(photo)
        self.keys = tuple(question_key(one.prompt, longest) for one in example.questions)
        self._photo = photo
        self._tokens: Tokens | None = None

    @property
    def signals(self) -> Tokens:
        """What the tower made of it, once `pruned` has been asked for."""
        assert self._tokens is not None
        return self._tokens

    def pruned(self, contender: Contender, model: LoadedModel, needs: frozenset[str]) -> Picture:
        """What the language model reads of it; the tower runs once for all methods."""
        pixels = pixel_values(self._photo, model.preprocessing)
        with naming(view_names(self.example.name, len(pixels))):
            if self._tokens is None:
                self._tokens = contender.session.encode(pixels, needs)
            views = tuple(contender.session.finish(self._tokens))
            return contender.packer.pack(views, self._photo.size, self.example.name)

    def complexity(self) -> dict[str, float]:
        """Of the picture before anything is dropped."""
        views = complexities_of(self.signals)
        erank, entropy = [view.erank for view in views], [view.attention_entropy for view in views]
        return {"erank of all": float(np.mean(erank)), "entropy of all": float(np.mean(entropy))}
