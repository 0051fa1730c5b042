"""A pruner that does not do what its method promises is told so where it errs; settings say what they must be."""

import dataclasses

import pytest
import torch

from vtp_export import rooms
from vtp_export.errors import ContractError, SpecError
from vtp_export.functional.tokens import Selection, Tokens
from vtp_export.pruners import base
from vtp_export.pruners.base import Config, Method, settings_of
from vtp_export.settings import at_least, between, check, either, number, one_of, positive
from vtp_export.spec import Candidates

KEPT, MIX = torch.tensor([[0, 2], [1, 3]]), torch.ones(2, 2, 4)
ERANK = torch.ones(2)


class Given(base.Pruner):
    """Returns what it was built with."""

    def __init__(self, selection, **method):
        super().__init__(Config(keep=2), Candidates((2, 2)))
        self.selection, self.method = selection, Method(slots=2, needs=frozenset(method.pop("needs", ())), **method)

    def forward(self, tokens):
        return self.selection


def chosen(selection, **method):
    return Given(selection, **method)(Tokens(torch.zeros(2, 4, 8)))


@pytest.mark.parametrize(
    ("selection", "method"),
    [
        (Selection(KEPT), {}),
        (Selection(KEPT - 1, MIX), {"merges": True}),
        (Selection(KEPT - 1, torch.ones(2, 2, 5)), {"merges": True, "needs": ["cls"]}),
        (Selection(KEPT, num_kept=torch.tensor([1, 2]), erank=ERANK), {"measures": ("erank",)}),
    ],
)
def test_what_is_promised_passes(selection, method):
    assert chosen(selection, **method) is selection


@pytest.mark.parametrize(
    ("selection", "method", "words"),
    [
        (Selection(KEPT.int()), {}, r"kept is int32 \[2, 2\], not int64 \[2, 2\]"),
        (Selection(KEPT[:, :1]), {}, r"kept is int64 \[2, 1\], not int64 \[2, 2\]"),
        (Selection(KEPT[:1]), {}, r"kept is int64 \[1, 2\]"),
        (Selection(KEPT + 1), {}, "kept goes from 1 to 4, not from 0 to 3"),
        (Selection(KEPT - 1), {}, "kept goes from -1 to 2, not from 0 to 3"),
        (Selection(KEPT - 2, MIX), {"merges": True}, "kept goes from -2 to 1, not from -1 to 3"),
        (Selection(KEPT, MIX), {}, "it returned a mixture, and its method says merges=False"),
        (Selection(KEPT), {"merges": True}, "it returned no mixture, and its method says merges=True"),
        (Selection(KEPT, MIX.half()), {"merges": True}, r"mix is float16 \[2, 2, 4\], not float32 or float64"),
        (Selection(KEPT, MIX), {"merges": True, "needs": ["cls"]}, r"mix is .* not float32 or float64 \[2, 2, 5\]"),
        (Selection(KEPT, num_kept=torch.tensor([0, 2])), {}, "num_kept goes from 0 to 2, not from 1 to 2"),
        (Selection(KEPT, num_kept=torch.tensor([1, 3])), {}, "num_kept goes from 1 to 3"),
        (Selection(KEPT, num_kept=torch.tensor([1.0, 2.0])), {}, r"num_kept is float32 \[2\], not int64"),
        (Selection(KEPT, erank=ERANK), {}, "it measured erank, and its method says measures="),
        (Selection(KEPT), {"measures": ("erank",)}, "it measured nothing, and its method says"),
        (Selection(KEPT, erank=ERANK[:1]), {"measures": ("erank",)}, r"erank is float32 \[1\], not"),
    ],
)
def test_what_is_not_is_told_with_the_name_of_the_file(selection, method, words):
    with pytest.raises(ContractError, match=rf"pruners/test_contract\.py is at fault, not the model .*: {words}"):
        chosen(selection, **method)


@pytest.mark.parametrize("name", rooms.names("pruners"))
def test_every_setting_says_what_it_must_be_where_its_default_is_from_and_what_it_means(name):
    settings = settings_of(name)
    check(rooms.load("pruners", name).Config())
    assert settings[0].name == "keep"
    for setting in settings:
        assert setting.must_be
        assert setting.source
        assert len(setting.meaning) > 10, setting.name


@pytest.mark.parametrize(
    ("declared", "good", "bad", "words"),
    [
        (one_of("a", "a", "b", source="x"), ["a", "b"], ["c", None], "one of: a, b"),
        (either(True, source="x"), [True, False], [1, "true", None], "true or false"),
        (between(0.5, 0, 1, source="x"), [0, 1, 0.3], [-0.1, 1.1, float("nan")], "between 0 and 1"),
        (at_least(1, 1, source="x"), [1, 7.5], [0, float("nan"), float("inf")], "at least 1"),
        (positive(None, source="x"), [None, 1e-9], [0, -1, float("nan"), float("inf")], "a positive number"),
        (number(0, source="x"), [-3, 0], [float("nan"), float("-inf")], "a number"),
    ],
)
def test_rules_hold_values_to_what_they_say(declared, good, bad, words):
    kind = dataclasses.make_dataclass("Kind", [("size", object, declared)])
    for value in good:
        check(kind(value))
    for value in bad:
        with pytest.raises(SpecError, match=f"setting size is .*; it must be {words}"):
            check(kind(value))
