import inspect
import pickle

import pytest

from vtp_export import errors
from vtp_export.errors import ContractError, OutputError, UnknownNameError, VtpError, VtpWarning

CLASSES = [value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, Exception)]


def test_one_root_catches_all() -> None:
    """But for what no user can mend, a file of this package that breaks the contract of its room, and notes."""
    assert {kind for kind in CLASSES if not issubclass(kind, VtpError)} == {ContractError, VtpWarning}


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_in_the_map(kind: type[Exception]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")
    assert kind.__doc__


def test_the_map_is_the_tree() -> None:
    """Names of the map, indented below their base class."""
    parents = {"VtpError": VtpError.__base__.__name__}
    for line in (errors.__doc__ or "").splitlines():
        head, mark, text = line.partition("── ")
        if mark:
            parents[text.split()[0]] = "VtpError" if head in ("├", "└") else "SpecError"
    assert parents == {kind.__name__: kind.__base__.__name__ for kind in CLASSES if issubclass(kind, VtpError)}


def test_an_unknown_name_suggests_and_lists() -> None:
    error = UnknownNameError("pruner", "adaptve", ["adaptive", "visionzip"])
    assert str(error).startswith("no pruner named 'adaptve'; did you mean 'adaptive'? ")
    assert str(error).endswith("choose one of: adaptive, visionzip")
    assert (error.kind, error.name, error.choices) == ("pruner", "adaptve", ("adaptive", "visionzip"))
    assert str(UnknownNameError("model", "zzz", ["llava"])) == "no model named 'zzz'; choose one of: llava"
    assert str(UnknownNameError("model", "zzz", [])) == "no model named 'zzz'; choose one of: (none)"


WORDS = {
    UnknownNameError: ("pruner", "cdpruner", ["divprune", "dpp"], "dpp"),
    OutputError: ("tokens", [1], ["a.jpg", "b.jpg"]),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_cross_processes(kind: type[Exception]) -> None:
    error = kind(*WORDS.get(kind, ("a sentence",)))
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "Validation failed:\n\n    wide: 7 is no multiple of 2\nmore",
            "Validation failed: wide: 7 is no multiple of 2",
        ),
        ("Validation failed:", "Validation failed:"),
        ("no such tensor\nTraceback follows", "no such tensor"),
        ("", "ValueError"),
    ],
)
def test_a_reason_does_not_end_where_it_begins(text: str, reason: str) -> None:
    assert errors.first_line(ValueError(text)) == reason
