"""The worst cases of a comparison as pictures: where a method loses what the unpruned model has right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image

from vtp_export.benchmarks.base import Answered, Example
from vtp_export.comparing.contenders import Contender
from vtp_export.comparing.looking import Asker
from vtp_export.comparing.subjects import Asked
from vtp_export.errors import ImageError
from vtp_export.progress import Progress
from vtp_export.reports.cases import SIDES, frame
from vtp_export.reports.losses import Loss
from vtp_export.reports.overlay import overlay_of_views
from vtp_export.reports.page import Picture, embedded
from vtp_export.reports.table import Table
from vtp_export.reports.tally import Seen
from vtp_export.runtime.images import as_image

MOST = 6
"""Pictures of a benchmark that a page shows."""


@dataclass(frozen=True)
class _Worst:
    """An image by its number, the method that loses most on it, and one that loses nothing, if there is any."""

    image: int
    loser: int
    rival: int | None


def losses_of(asked: Asked, asker: Asker, progress: Progress) -> list[Loss]:
    """The pictures on which most is lost, drawn.

    Args:
        asked: what every method answered.
        asker: with the same contenders; prunes those pictures once more.
        progress: hears of each.
    """
    losses, worst = [], _worst(asked, asker.contenders)
    for done, one in enumerate(worst):
        progress(f"drawing what is lost on {asked.subject.name}", done, len(worst))
        example = asked.examples[one.image]
        sides = [number for number in (one.loser, one.rival) if number is not None]
        try:
            pictures = _drawn(example, [asker.contenders[number] for number in sides], asker)
        except ImageError:  # it went when it was to be drawn
            pictures = ()
        method = asker.contenders[one.loser].label
        losses.append(
            Loss(image=example.name, method=method, answers=_answers(asked, asker, one, sides), pictures=pictures)
        )
    return losses


def _worst(asked: Asked, contenders: Sequence[Contender]) -> list[_Worst]:
    """By what is lost, then by how many methods lose something."""
    lost = _lost(asked)  # (images, methods)
    worst: list[_Worst] = []
    for image in sorted(range(len(lost)), key=lambda i: (-lost[i].max(initial=0), -(lost[i] > 0).sum(), i)):
        if lost[image].max(initial=0) <= 0 or len(worst) == MOST:
            break
        loser = max(range(len(contenders)), key=lambda c: (lost[image][c], asked.seen[image].outcomes[c].kept))
        rivals = [c for c in range(1, len(contenders)) if lost[image][c] <= 0 and contenders[c].within is None]
        same = [c for c in rivals if contenders[c].budget == contenders[loser].budget]
        rival = min(same or rivals, key=lambda c: asked.seen[image].outcomes[c].kept, default=None)
        worst.append(_Worst(image, loser, rival))
    return worst


def _lost(asked: Asked) -> np.ndarray:
    """(images, methods): what each has less credit for than the unpruned model, which is the first.

    Question by question: what is won with one does not make up for what is lost with another.
    """
    benchmark = asked.subject.data

    def credits(example: Example, question: int, seen: Seen) -> np.ndarray:
        told = [Answered(example.name, example.questions[question], one.answers[question]) for one in seen.outcomes]
        return np.array([benchmark.credit(one) for one in told], np.float64)

    lost = np.zeros((len(asked.seen), len(asked.seen[0].outcomes)))
    for image, (example, seen) in enumerate(zip(asked.examples, asked.seen, strict=True)):
        for number, question in enumerate(example.questions):
            if benchmark.counts(question):
                own = credits(example, number, seen)
                lost[image] += np.maximum(own[0] - own, 0)
    return lost


def _answers(asked: Asked, asker: Asker, worst: _Worst, sides: Sequence[int]) -> Table:
    """Of each question that the method answers worse than the unpruned model."""
    example, outcomes = asked.examples[worst.image], asked.seen[worst.image].outcomes
    benchmark, rows = asked.subject.data, []
    for number, question in enumerate(example.questions):
        texts = [outcomes[side].answers[number] for side in (0, *sides)]
        full, own, *_ = (benchmark.credit(Answered(example.name, question, text)) for text in texts)
        if benchmark.counts(question) and own < full:
            right = ", ".join(dict.fromkeys(getattr(question, "references", ()) or (question.answer,)))
            rows.append((question.prompt, right, *texts))
    columns = ("question", "right", *(asker.contenders[side].label for side in (0, *sides)))
    return Table(example.name, columns, rows)


def _drawn(example: Example, contenders: Sequence[Contender], asker: Asker) -> tuple[Picture, ...]:
    """What each keeps lit; of a picture in one view, what it keeps and the other does not is framed."""
    photo = as_image(example.open(), example.name)
    views = [picture.kept_by_view for picture in asker.pruned(example, photo, contenders)]
    outside = all(contender.within is None for contender in contenders)
    framed = outside and len(views) == len(SIDES) and all(len(one) == 1 for one in views)
    pictures = []
    for number, (contender, kept) in enumerate(zip(contenders, views, strict=True)):
        layout, prep = contender.packer.layout, contender.packer.preprocessing
        image = overlay_of_views(photo, kept, layout, prep)
        if framed:
            only = sorted(set(kept[0].tolist()) - set(views[1 - number][0].tolist()))
            frame(image, photo, only, layout, prep, 0, SIDES[number])
        pictures.append(_picture(image, example.name, contender, sum(map(len, kept))))
    return tuple(pictures)


def _picture(image: PIL.Image.Image, name: str, contender: Contender, kept: int) -> Picture:
    if contender.within is not None:
        alt, told = f"{name}, all of whose tokens {contender.name} reads", "inside the language model"
    else:
        alt, told = f"{name} with the {kept} tokens lit that {contender.name} keeps", f"{kept} tokens"
    return embedded(image, alt, name, f"{contender.name}: {told}")
