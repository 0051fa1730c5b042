"""VQA accuracy: an answer is as right as people agree with it, after normalisation.

Source: Antol et al., "VQA: Visual Question Answering" (ICCV 2015); the steps are those of its official evaluation, with
the cleaning that Pythia (M4C) put before them for TextVQA.
"""

import re
from collections.abc import Callable, Sequence

JOINED = '/[]"{}()=+\\_-><@`,?!;'
"""Marks that become a space between words, and nothing beside one."""

DIGITS = {"none": "0", "zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5"}
DIGITS |= {"six": "6", "seven": "7", "eight": "8", "nine": "9", "ten": "10"}

_CONTRACTIONS = """ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't
he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've
needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll
somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll that's there'd
there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're
what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've
wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've"""

WRITTEN = {
    word[:i] + word[i + 1 :]: word for word in _CONTRACTIONS.split() for i, letter in enumerate(word) if letter == "'"
} | {"somebody'd": "somebodyd"}
"""What lacks one apostrophe, and what it stands for. The last is so in the official table."""


def cleaned(text: str) -> str:
    """The cleaning that stands before the official steps: lower case, no comma, no question mark.

    Example:
        >>> cleaned("Bob's, really?")
        "bob 's really"
    """
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return re.sub(r"[\n\t]", " ", text).strip()


def official(text: str) -> str:
    """The official steps: marks, numbers as digits, articles, contractions.

    Example:
        >>> official("The U.S.A. has 1,000 red-white dogs")
        'usa has 1000 redwhite dogs'
        >>> official("a red-white bus dont")
        "red white bus don't"
    """
    out = text
    within_a_number = re.search(r"\d,\d", text) is not None
    for mark in JOINED:
        beside = f"{mark} " in text or f" {mark}" in text
        out = out.replace(mark, "" if beside or within_a_number else " ")
    out = re.sub(r"\.(?!\d)", "", out, count=32)
    words = (DIGITS.get(word, word) for word in out.lower().split())
    return " ".join(WRITTEN.get(word, word) for word in words if word not in ("a", "an", "the"))


def normalised(text: str) -> str:
    """Both, as TextVQA and VizWiz are judged.

    Example:
        >>> [normalised(text) for text in ("Two dogs.", "1,000", "$3.50", "p.m 5.30", "None")]
        ['2 dogs', '1000', '$3.50', 'pm 5.30', '0']
    """
    return official(cleaned(text))


def agreement(given: str, answers: Sequence[str], normalise: Callable[[str], str] = normalised) -> float:
    """Mean over all ways to leave one person out: a third for each of the others who says the same, 1 at most.

    Args:
        given: the answer.
        answers: of ten people.
        normalise: is applied to all.

    Example:
        >>> [round(agreement("x", ["x"] * k + ["y"] * (10 - k)), 6) for k in range(6)]
        [0.0, 0.3, 0.6, 0.9, 1.0, 1.0]
    """
    own, others = normalise(given), [normalise(answer) for answer in answers]
    same = sum(other == own for other in others)
    return sum(min(1.0, (same - (other == own)) / 3) for other in others) / len(others)
