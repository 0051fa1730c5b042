"""COCO's objects in a text, as CHAIR counts them.

Words are split and reduced to their lemma, two that belong together are joined, and those in the list of synonyms are
mentions of their class. Lemmas are those that WordNet has for nouns, with its quirks, since published figures have them
too: `men` and `vases` are no forms of `man` and `vase`, and no mentions. Verbs are no mentions either, as in the first
implementation, which makes words singular; later ones ask a tagger, and count `seated` as `seat`.

Source: Rohrbach et al., "Object Hallucination in Image Captioning" (EMNLP 2018), whose list of synonyms this is, and
the implementation in lmms-eval; `_coco/LICENSE` has the licences.
"""

import re
from pathlib import Path

_FOLDER = Path(__file__).with_name("_coco")

SYNONYMS = [line.split(", ") for line in (_FOLDER / "synonyms.txt").read_text(encoding="utf-8").splitlines()]
"""The 80 classes, each with the words that mean it, the first of which is its name."""

CLASSES = {word: words[0] for words in SYNONYMS for word in words}
"""Class of each word. Four can never be said: two begin with a space, one has a capital, one is three words."""

_TOGETHER = """motor bike, motor cycle, air plane, traffic light, street light, traffic signal, stop light,
fire hydrant, stop sign, parking meter, suit case, sports ball, baseball bat, baseball glove, tennis racket, wine glass,
hot dog, cell phone, mobile phone, teddy bear, hair drier, potted plant, laptop computer, home plate, train track"""
_ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub")

COMPOUNDS = {pair: pair for pair in re.split(r",\s", _TOGETHER)}
COMPOUNDS |= {f"{age} {animal}": animal for animal in _ANIMALS for age in ("baby", "adult")}
COMPOUNDS |= {"passenger jet": "jet", "passenger train": "train", "bow tie": "tie", "toilet seat": "toilet"}
COMPOUNDS |= {"wine glas": "wine glass"}
"""Pairs of words, and the word that they become; some are there so that their parts are no mentions."""

LEMMAS = {
    form: lemma
    for lemma, *forms in map(str.split, (_FOLDER / "lemmas.txt").read_text(encoding="utf-8").splitlines())
    for form in forms
}
"""What a form of a word is reduced to; a word that is not here stays as it is."""

_TOKEN = re.compile(
    r"""\.\.\. | -- | [][(){}<>;@\#$%&?!"“”„‘’«»…—]      # marks that always stand alone
    | [:,](?!\d) | \.(?=["'”’»\])}>]*(?:\s|$))           # and those that a number may hold, or an abbreviation
    | (?<!\S)' | '(?=\s|$)                              # quotes
    | n't\b | '(?:s|m|d|ll|re|ve)\b                     # what an apostrophe cuts off
    | (?:(?!n't\b|'(?:s|m|d|ll|re|ve)\b|'(?:\s|$)|\.\.\.|--|[:,](?!\d)|\.["'”’»\])}>]*(?:\s|$))
         [^][(){}<>;@\#$%&?!"“”„‘’«»…—\s])+              # a word is what none of these interrupts""",
    re.VERBOSE,
)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, reduced and joined, marks among them.

    Example:
        >>> words_of("Two hot dogs, and a baby bird's nest.")
        ['two', 'hot dog', ',', 'and', 'a', 'bird', "'s", 'nest', '.']
    """
    words = [LEMMAS.get(word, word) for word in _TOKEN.findall(text.lower())]
    joined, place = [], 0
    while place < len(words):
        pair = " ".join(words[place : place + 2])
        joined.append(COMPOUNDS.get(pair, words[place]))
        place += 2 if pair in COMPOUNDS else 1
    return joined


def mentioned(words: list[str]) -> tuple[str, ...]:
    """The classes that are mentioned, in order and as often as they are.

    Args:
        words: see `words_of`.

    Example:
        >>> mentioned(words_of("A cat and two kittens on the seat of a toilet"))
        ('cat', 'cat', 'toilet')
    """
    seats = {"seat"} if "toilet" in words else set()
    return tuple(CLASSES[word] for word in words if word in CLASSES and word not in seats)
