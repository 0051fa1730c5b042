"""Which pruners with which settings stand beside each other."""

import pytest

from vtp_export.comparing.choices import choices
from vtp_export.errors import SpecError, UnknownNameError


def test_every_combination_of_what_a_pruner_has():
    settings = {"complexity": ["erank", "entropy"], "count": ["fixed", "adaptive"], "seed": 3}
    chosen = choices(["adaptive", "fastervlm", "random"], settings)
    assert [one.label for one in chosen] == [
        "adaptive",
        "adaptive:count=adaptive",
        "adaptive:complexity=entropy",
        "adaptive:complexity=entropy,count=adaptive",
        "fastervlm",
        "random:seed=3",
    ]
    assert chosen[1].settings == {"complexity": "erank", "count": "adaptive"}
    assert chosen[4].settings == {}


def test_what_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'complexity'"):
        choices(["adaptive", "random"], {"complexty": "erank"})
    with pytest.raises(UnknownNameError, match="no pruner named 'adaptve'"):
        choices(["adaptve"], {})
    with pytest.raises(SpecError, match="must be one of: erank, entropy"):
        choices(["adaptive"], {"complexity": ["erank", "rank"]})
    with pytest.raises(SpecError, match="with --keep"):
        choices(["adaptive"], {"keep": 3})
