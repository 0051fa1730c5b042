"""docs/matrix.md says what the loaders say."""

import pytest

from bench.matrix import PAGE, page


@pytest.mark.whole
def test_the_matrix_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m bench.matrix"
