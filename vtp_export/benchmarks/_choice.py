"""Multiple choice: which option an answer means, by each evaluation's own rule."""

import re
import string
from functools import lru_cache

LETTERS = "ABCDE"
SHAPES = ("{}", "{}.", "{},", "{}:", "{})", "{}).", "({})", "({}).", ":{}", ":{},", ":{}.", ":{})", ":{}).")
"""A letter with what people put around it, in the order in which MMBench looks for them."""

MARKS = str.maketrans("", "", string.punctuation)


def scienceqa_letter(given: str) -> str | None:
    """The letter, by LLaVA's evaluation of ScienceQA: alone, before a point and a space, or in its own sentence.

    Example:
        >>> [scienceqa_letter(text) for text in ("B", "B. y", "The answer is B.", "b", "B.", "(B)")]
        ['B', 'B', 'B', None, None, None]
    """
    given = given.strip()
    if given and given in LETTERS and len(given) == 1:
        return given
    if len(given) >= 3 and given[0] in LETTERS and given[1:3] == ". ":
        return given[0]
    said = re.findall(r"The answer is ([A-Z])\.", given)
    return said[0] if len(said) == 1 else None


def ai2d_letter(given: str) -> str:
    """The letter, by lmms-eval's rule for AI2D: a leading `X.`, or the whole text without marks; in lower case.

    Example:
        >>> [ai2d_letter(text) for text in ("C. krill", "c", "(C)", "C krill")]
        ['c', 'c', 'c', 'c krill']
    """
    given = given.strip()
    leading = re.match(r"([A-Z])\.", given)
    return (leading[1] if leading else given.translate(MARKS)).lower()


@lru_cache(maxsize=1 << 16)
def mmbench_letter(given: str, options: tuple[str, ...]) -> str | None:
    """The letter, by MMBench's exact matching: one letter, one letter with marks, or the text of one option.

    Args:
        given: the answer.
        options: texts of A, B and so on.

    Example:
        >>> colours = ("red", "blue", "green", "red wine")
        >>> [mmbench_letter(text, colours) for text in ("(B)", "Answer: B", "Blue sky", "A red car is here")]
        ['B', 'B', 'B', 'A']
        >>> [mmbench_letter(text, colours) for text in ("red wine", "A or B", "b")]
        [None, None, None]
    """
    words = given.split()
    for shape in SHAPES:
        said = [letter for letter in LETTERS if shape.format(letter) in words]
        an_article = shape == "{}" and "A" in words and len(words) > 3
        if len(said) == 1 and not an_article:
            return said[0]
    named = [LETTERS[number] for number, option in enumerate(options) if option.lower() in given.lower()]
    return named[0] if len(named) == 1 else None
