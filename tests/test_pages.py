"""docs/pruners.md says what the files say."""

import ast
from pathlib import Path

import pytest

from bench.pages import PAGE, page
from vtp_export import rooms


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m bench.pages"


@pytest.mark.parametrize("name", rooms.names("pruners"))
def test_every_method_says_where_it_is_from_and_when_to_use_it(name):
    text = ast.get_docstring(ast.parse(Path(rooms.load("pruners", name).__file__).read_text(encoding="utf-8")))
    assert "Use it" in text
    if name != "none":
        assert "Source: " in text
    if "repository " in text:
        assert any(word in text for word in ("Apache-2.0", "MIT", "CC BY-NC", "no licence", "holds no code"))
