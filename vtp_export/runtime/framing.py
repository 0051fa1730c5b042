"""The text that a language model reads around and between the visual tokens of a picture. Standard library only.

InternVL reads a picture between two marks. SmolVLM and Idefics3 read before each tile where it stands, and before the
whole picture, which comes last, that it is the whole.
"""

from vtp_export.spec import Framing

START, END = "<img>", "</img>"
"""InternVL's marks of a picture."""

BORDER, WHOLE = "<fake_token_around_image>", "<global-img>"
"""SmolVLM's marks of the edges of a view, and of the whole picture."""


def framed(framing: Framing, grid: tuple[int, int]) -> tuple[str, ...]:
    """What stands before, between and after the runs of tokens of a picture.

    Args:
        framing: of the model.
        grid: (rows, columns) of tiles; (1, 1) where the picture is the whole alone.

    Returns:
        One text more than there are runs: all tokens are one run, or with "tiles" those of each view.

    Example:
        >>> framed("picture", (2, 3))
        ('<img>', '</img>')
        >>> framed("tiles", (1, 2))[1]
        '<fake_token_around_image><row_1_col_2>'
    """
    if framing == "none":
        return "", ""
    if framing == "picture":
        return START, END
    rows, columns = grid
    if grid == (1, 1):
        return BORDER + WHOLE, BORDER
    texts = []
    for row in range(1, rows + 1):
        for column in range(1, columns + 1):
            ended = "\n" if column == 1 and row > 1 else ""
            texts.append(f"{ended}{BORDER}<row_{row}_col_{column}>")
    return *texts, f"\n\n{BORDER}{WHOLE}", BORDER
