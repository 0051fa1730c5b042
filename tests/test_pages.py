"""docs/pruners.md says what the files say."""

import pytest

from bench.pages import PAGE, page, told
from vtp_export import rooms


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m bench.pages"


@pytest.mark.parametrize("name", rooms.names("pruners"))
def test_every_method_says_where_it_is_from_what_it_costs_and_when_to_use_it(name):
    about, entries = told(name)  # refuses a docstring that lacks an entry
    assert len(about.partition("\n")[0]) <= 120
    assert all(entries.values())
    if "repository " in entries["Source"] and "holds no code" not in entries["Source"]:
        assert any(word in entries["Licence"] for word in ("Apache-2.0", "MIT", "CC BY-NC", "none at the repository"))
