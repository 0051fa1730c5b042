"""docs/pruners.md and docs/inllm.md say what the files say."""

import pytest

from bench import inside, pages
from bench.pages import told
from vtp_export import rooms


@pytest.mark.parametrize("room", [pages, inside], ids=["pruners", "inllm"])
def test_the_page_is_up_to_date(room):
    assert room.PAGE.read_text(encoding="utf-8") == room.page(), "run: python -m bench.pages"


METHODS = [(room, name) for room in ("pruners", "inllm") for name in rooms.names(room)]


@pytest.mark.parametrize(("room", "name"), METHODS)
def test_every_method_says_where_it_is_from_what_it_costs_and_when_to_use_it(room, name):
    about, entries = told(name, room)  # refuses a docstring that lacks an entry
    assert len(about.partition("\n")[0]) <= 120
    assert all(entries.values())
    if "repository " in entries["Source"] and "holds no code" not in entries["Source"]:
        assert any(word in entries["Licence"] for word in ("Apache-2.0", "MIT", "CC BY-NC", "none at the repository"))
