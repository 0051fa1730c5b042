"""A page of HTML that stands alone in its folder: numbers first, then what was kept on each image."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from vtp_export.arguments import path_of
from vtp_export.errors import ArtefactError, UnavailableError
from vtp_export.extras import install
from vtp_export.runtime.writing import atomically, refuse_overwriting, refuse_unwritable, sentence, write_atomically

PAGE = "index.html"
TEMPLATES = Path(__file__).parent / "templates"


def page_in(folder: Path | None) -> Path | None:
    """The page of a folder, if one was asked for and could be written."""
    return folder / PAGE if folder is not None and (folder / PAGE).is_file() else None


@dataclass(frozen=True)
class Picture:
    """An image with what to say under it."""

    name: str
    caption: str
    image: Image.Image


def report_folder(report: str | Path | None) -> Path | None:
    """Where a page will be, seen before the work to be a folder that can be written.

    Raises:
        ArtefactError: it cannot be written.
        SpecError: no path.
    """
    if report is None:
        return None
    refuse_unwritable(folder := path_of("the report", report))
    return folder


def refuse_report(folder: Path | None, benchmark: str | Path, names: Iterable[str]) -> None:
    """See before the work that a report is written over none of the images that it tells of.

    Args:
        folder: see `write_page`; None writes none.
        benchmark: a name, a folder or a question file.
        names: of its images, relative to it.

    Raises:
        SpecError: an image that is read has the name of a picture of the report.
    """
    if folder is None:
        return
    home = Path(benchmark) if Path(benchmark).is_dir() else Path(benchmark).parent
    refuse_overwriting(folder.glob("[0-9][0-9][0-9].png"), (home / name for name in names))


def write_page(folder: Path, template: str, values: Mapping[str, Any], pictures: Iterable[Picture]) -> Path:
    """Render a template of this package into `folder/index.html`, pictures beside it.

    Args:
        folder: made if absent; files of the same names are replaced.
        template: file name in `templates/`.
        values: what the template reads; `pictures` is added as a list of (file, name, caption).
        pictures: saved as PNG, one in memory at a time.

    Raises:
        UnavailableError: jinja2 is not installed.
        ArtefactError: the folder cannot be written.
    """
    try:
        import jinja2
    except ImportError as error:
        raise UnavailableError(f"a report needs jinja2: {install('reports')}") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    shown = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PAGE).unlink(missing_ok=True)  # an earlier one would tell of pictures that are others now
        for i, picture in enumerate(pictures):
            shown.append((f"{i:03d}.png", picture.name, picture.caption))
            with atomically(folder / shown[-1][0]) as file:
                picture.image.save(file, "PNG")
        page = folder / PAGE
        write_atomically(page, environment.get_template(template).render(**values, pictures=shown))
    except OSError as error:
        raise ArtefactError(sentence(error, folder)) from error
    return page
