"""Why tokens were kept: a table, sentences on one of them, and a picture with the order in which they were taken."""

import base64
import html
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from vtp_export.errors import ArtefactError, SpecError
from vtp_export.parity.explanation import Explanation, Reason, chosen, positions
from vtp_export.reports.artefact import unproven
from vtp_export.reports.overlay import EDGE, INK, cells, overlay
from vtp_export.reports.table import Summary, Table
from vtp_export.runtime.writing import atomically, sentence, write_atomically
from vtp_export.spec import Manifest

ENDINGS = (".png", ".html")
COLUMNS = (
    "turn",
    "token",
    "row",
    "column",
    "why",
    "score",
    "rank",
    "threshold",
    "struck out",
    "nearest kept",
    "distance",
)
STRUCK = (214, 69, 65)


@dataclass(frozen=True, kw_only=True)
class ExplainReport:
    """Why each token of one photo was kept.

    proven: whether a validation of this very artefact that passed is recorded.
    complexity: erank or attention entropy of the photo, None where the method measures none.
    tile: of a photo in several views, which one: 0 is the whole.
    token: the one that was asked for, or None.
    """

    artefact: str
    proven: bool
    photo: str
    pruner: str
    tile: int
    complexity: float | None
    token: int | None
    explanation: Explanation

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        only, missing = self.explanation.otherwise
        reasons = self.explanation.reasons if self.token is None else (chosen(self.explanation, self.token),)
        return {
            "artefact": self.artefact,
            "proven": self.proven,
            "photo": self.photo,
            "tile": self.tile,
            "pruner": self.pruner,
            "complexity": self.complexity,
            "tokens": [asdict(reason) for reason in reasons],
            "kept_against_the_reference": only,
            "not_kept_against_the_reference": missing,
        }


def explain_summary(report: ExplainReport, out: Path | None = None) -> Summary:
    """The table of all kept tokens, or sentences on one, and where run and reference part."""
    told = [*([] if out is None else [f"written: {out}"]), *unproven(report.artefact, report.proven)]
    only, missing = report.explanation.otherwise
    if only or missing:
        told.append(
            f"note: the run kept {_listed(only)} where the reference keeps {_listed(missing)}: this is the reference's "
            "account; whether rounding explains the difference, check and validate say"
        )
    if report.token is not None:
        return *_sentences(chosen(report.explanation, report.token)), *told
    return explain_table(report), *told


def explain_table(report: ExplainReport) -> Table:
    """A row for each kept token, in the order in which they were taken."""
    measure = "" if report.complexity is None else f", complexity {report.complexity:.4g}"
    rows = [_row(reason) for reason in report.explanation.reasons if reason.kept]
    return Table(f"{report.photo}: {report.pruner}{measure}", COLUMNS, rows)


def _row(one: Reason) -> tuple[object, ...]:
    struck = len(one.struck) if one.threshold is not None else None
    place = one.turn, one.token, one.row, one.column
    return *place, one.why, one.score, one.rank, one.threshold, struck, one.neighbour, one.distance


def _sentences(one: Reason) -> Iterator[str]:
    place = f"token {one.token}" + ("" if one.row is None else f" (row {one.row}, column {one.column})")
    yield f"{place} was kept in turn {one.turn}: {one.why}" if one.kept else f"{place} was not kept: {one.why}"
    if one.attention is not None:
        yield f"attention {one.attention:.4g}, rank {one.attention_rank}"
    if one.score is not None and one.rank is None:
        yield f"score {one.score:.4g} in its turn"
    if one.neighbour is not None:
        yield f"the nearest kept token is {one.neighbour}, at a cosine distance of {one.distance:.4g}"
    if one.threshold is not None:
        yield f"it struck out what was nearer than {one.threshold:.4g}: {_listed(one.struck)}"


def _listed(tokens: tuple[int, ...]) -> str:
    return ", ".join(map(str, tokens)) or "none"


def refuse_unknown_ending(out: Path) -> None:
    """See that a picture or page can be written under that name.

    Raises:
        SpecError: another ending.
    """
    if out.suffix not in ENDINGS:
        raise SpecError(f"the picture '{out}' must end in {' or '.join(ENDINGS)}")


def write_picture(report: ExplainReport, photo: Path, manifest: Manifest, out: Path) -> None:
    """Write the photo with the order of the kept tokens, as a picture or as a page with the table.

    Raises:
        ArtefactError: it cannot be written.
    """
    picture, encoded = _picture(report, photo, manifest), io.BytesIO()
    picture.save(encoded, "PNG")
    try:
        if out.suffix == ".png":
            with atomically(out) as file:
                file.write(encoded.getvalue())
        else:
            write_atomically(out, _page(report, base64.b64encode(encoded.getvalue()).decode()))
    except OSError as error:
        raise ArtefactError(sentence(error, out)) from error


def _picture(report: ExplainReport, photo: Path, manifest: Manifest) -> Image.Image:
    """Kept patches lit and numbered by turn; with a token asked for, it and who struck it out, or whom it did."""
    reasons = report.explanation.reasons
    picture = overlay(photo, positions(reasons), manifest.layout, manifest.preprocessing, report.tile)
    draw = ImageDraw.Draw(picture)
    boxes = cells(photo, manifest.layout, manifest.preprocessing, picture.size, report.tile)
    first = int(manifest.layout.candidates.cls)
    for one in reasons:
        if one.kept and one.token >= first:
            left, top, right, bottom = boxes[one.token - first]
            font = ImageFont.load_default(size=max(8, (bottom - top) * 0.5))
            middle = (left + right) / 2, (top + bottom) / 2
            draw.text(middle, str(one.turn), EDGE, font, anchor="mm", stroke_width=1, stroke_fill=INK)
    if report.token is not None:
        asked = chosen(report.explanation, report.token)
        for token in (*asked.struck, *([] if asked.by is None else [asked.by])):
            if token >= first:
                draw.rectangle(boxes[token - first], outline=STRUCK, width=2)
        if asked.token >= first:
            draw.rectangle(boxes[asked.token - first], outline=(255, 255, 255), width=3)
    return picture


def _page(report: ExplainReport, picture: str) -> str:
    table = explain_table(report)
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in table.cells())
    told = "".join(f"<p>{html.escape(part)}</p>" for part in explain_summary(report) if isinstance(part, str))
    return (
        f"<!doctype html><meta charset=utf-8><title>{html.escape(table.title)}</title>"
        "<style>body{font-family:sans-serif;margin:2em}td,th{padding:.2em .6em;text-align:left}</style>"
        f"<h1>{html.escape(table.title)}</h1>{told}<img src='data:image/png;base64,{picture}' alt='the photo, kept "
        f"patches lit and numbered'><table><tr>{head}</tr>{rows}</table>\n"
    )
