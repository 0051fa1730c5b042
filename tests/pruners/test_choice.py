"""A pruner with its settings, written as one word."""

import pytest

from vtp_export.errors import SpecError
from vtp_export.pruners._choice import choice


@pytest.mark.parametrize("text", ["", ":keep=3", "adaptive:tau", "adaptive:=3"])
def test_words_that_are_no_choice(text):
    with pytest.raises(SpecError, match="is not a method"):
        choice(text)


def test_a_choice_reads_back():
    one = choice("adaptive:complexity=entropy, tau=0.1")
    assert one.settings == (("complexity", "entropy"), ("tau", "0.1"))
    assert one.label == "adaptive:complexity=entropy,tau=0.1"
    assert choice("none").settings == ()
