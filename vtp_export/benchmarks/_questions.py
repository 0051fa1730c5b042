"""What can be asked about a scene of shapes, with the answers.

Existence is asked as POPE does (Li et al. 2023, "Evaluating object hallucination in large vision-language models").
Absent objects come in three settings: any (random), the most common ones (popular), the ones most alike to what is
there (adversarial; here the same colour or the same shape).
"""

from collections.abc import Sequence

import numpy as np

from vtp_export.benchmarks._scenes import COLOURS, SHAPES, Scene, Thing, kinds
from vtp_export.benchmarks.base import Question

SETTINGS = ("random", "popular", "adversarial")
NUMBERS = ("zero", "one", "two", "three", "four")
MIDDLE = 0.07
"""An object whose centre is this close to the middle, as a share of the edge, is neither left nor right."""

Items = Sequence[str]


def questions_of(scene: Scene, generator: np.random.Generator) -> tuple[Question, ...]:
    """Two of existence in each setting, up to two colours, counts and positions, one caption."""
    questions = [q for setting in SETTINGS for q in existence(scene, setting, generator, 1)]
    for kind in (colours, counts, positions):
        questions += kind(scene, generator, 2)
    return (*questions, caption(scene))


def existence(scene: Scene, setting: str, generator: np.random.Generator, pairs: int) -> list[Question]:
    """As many objects that are there as objects that are not."""
    present = sorted({thing.name for thing in scene.things})
    yes = [(name, "yes") for name in _some(generator, present, pairs)]
    no = [(name, "no") for name in _absent(present, setting, generator, pairs)]
    return [Question(f"yes/no {setting}", f"Is there a {name}?", answer) for name, answer in yes + no]


def colours(scene: Scene, generator: np.random.Generator, most: int) -> list[Question]:
    """Of shapes that occur once."""
    once = [t for t in scene.things if sum(other.shape == t.shape for other in scene.things) == 1]
    return [Question("colour", f"What colour is the {t.shape}?", t.colour) for t in _some(generator, once, most)]


def counts(scene: Scene, generator: np.random.Generator, most: int) -> list[Question]:
    """Of shapes that occur one to four times; different numbers first, so that "one" does not win by habit."""
    found = {shape: sum(thing.shape == shape for thing in scene.things) for shape in SHAPES}
    usable = [shape for shape in SHAPES if 1 <= found[shape] < len(NUMBERS)]
    chosen: dict[int, str] = {}
    for shape in _some(generator, usable, len(usable)):
        chosen.setdefault(found[shape], shape)
    picked = _some(generator, sorted(chosen.items()), most)
    return [Question("count", f"How many {plural(shape)} are there?", NUMBERS[number]) for number, shape in picked]


def positions(scene: Scene, generator: np.random.Generator, most: int) -> list[Question]:
    """Of objects of which there is one, well inside a quarter."""
    edge = scene.pixels.shape[0]
    once = [
        t
        for t in scene.things
        if sum(other.name == t.name for other in scene.things) == 1
        and min(abs(t.x / edge - 0.5), abs(t.y / edge - 0.5)) > MIDDLE
    ]
    return [
        Question("position", f"Where is the {thing.name}?", _quarter(thing, edge))
        for thing in _some(generator, once, most)
    ]


def caption(scene: Scene) -> Question:
    """Every kind of object that is there, in one fixed order."""
    present = {thing.name for thing in scene.things}
    named = [name for name in sorted(kinds()) if name in present]
    return Question("caption", "Describe the image.", ", ".join(f"a {name}" for name in named) + ".")


def _absent(present: Items, setting: str, generator: np.random.Generator, count: int) -> list[str]:
    absent = [name for name in kinds() if name not in present]
    if setting == "popular":
        return _some(generator, absent[: 2 * count + 1], count)
    if setting == "adversarial":
        seen_colours, seen_shapes = ({name.split()[part] for name in present} for part in (0, 1))
        alike = [[n.split()[0] in seen_colours, n.split()[1] in seen_shapes] for n in absent]
        closest = max(sum(pair) for pair in alike)
        absent = [name for name, pair in zip(absent, alike, strict=True) if sum(pair) == closest]
    return _some(generator, absent, count)


def _some(generator: np.random.Generator, items: Sequence, count: int) -> list:  # type: ignore[type-arg]
    """A few of the items, in random order."""
    return [items[i] for i in generator.permutation(len(items))[:count]]


def _quarter(thing: Thing, edge: int) -> str:
    return f"{'top' if thing.y < edge / 2 else 'bottom'} {'left' if thing.x < edge / 2 else 'right'}"


def plural(shape: str) -> str:
    """Several of that shape.

    Example:
        >>> plural("cross"), plural("ring")
        ('crosses', 'rings')
    """
    return shape + ("es" if shape.endswith("s") else "s")


def vocabulary() -> list[str]:
    """Every word and sign of the questions and answers, sorted."""
    asked = "is there a what colour the how many are where describe image yes no top bottom left right"
    return sorted({*asked.split(), *NUMBERS, *COLOURS, *SHAPES, *(plural(shape) for shape in SHAPES), *"?.,"})
