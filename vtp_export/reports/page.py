"""A page of HTML that is one file: pictures and figures are in it, so that it can be mailed. It needs no script."""

import base64
import datetime
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from vtp_export import __version__
from vtp_export.arguments import path_of
from vtp_export.errors import ArtefactError, UnavailableError
from vtp_export.extras import install
from vtp_export.json_records import as_unicode
from vtp_export.runtime.images import rgb_from_image
from vtp_export.runtime.writing import refuse_unwritable, sentence, write_atomically

PAGE = "index.html"
TEMPLATES = Path(__file__).parent / "templates"
LONGEST, QUALITY = 720, 80
"""Of an embedded picture: its long side in pixels, and how well JPEG keeps it; some 80 kB."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image as it stands in a page. uri: all of it. alt: what it shows, for who does not see it."""

    uri: str
    alt: str
    width: int
    height: int
    name: str = ""
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A drawing with its title, and in words what it shows."""

    uri: str
    title: str
    alt: str


def embedded(image: Image.Image, alt: str, name: str = "", caption: str = "") -> Picture:
    """A picture for a page, made smaller where it is large."""
    shown, encoded = rgb_from_image(image), io.BytesIO()
    if max(shown.size) > LONGEST:
        scale = LONGEST / max(shown.size)
        size = max(1, round(shown.width * scale)), max(1, round(shown.height * scale))
        shown = shown.resize(size, Image.Resampling.LANCZOS)
    shown.save(encoded, "JPEG", quality=QUALITY, subsampling=0, optimize=True)
    uri = data_uri("image/jpeg", encoded.getvalue())
    return Picture(uri=uri, alt=alt, width=shown.width, height=shown.height, name=name, caption=caption)


def data_uri(kind: str, content: bytes) -> str:
    """Bytes as an address that holds them.

    Example:
        >>> data_uri("image/jpeg", b"...")
        'data:image/jpeg;base64,Li4u'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def page_in(folder: Path | None) -> Path | None:
    """The page of a folder, if one was asked for and could be written."""
    return folder / PAGE if folder is not None and (folder / PAGE).is_file() else None


def report_folder(report: str | Path | None) -> Path | None:
    """Where a page will be, seen before the work to be a folder that can be written, and that there is what writes it.

    Raises:
        ArtefactError: it cannot be written.
        UnavailableError: jinja2 is not installed.
        SpecError: no path.
    """
    if report is None:
        return None
    refuse_unwritable(folder := path_of("the report", report))
    _environment()
    return folder


def withdraw_page(folder: Path) -> None:
    """Remove an earlier page, which would tell of another run, before the next one is made.

    Raises:
        ArtefactError: it cannot be removed.
    """
    try:
        (folder / PAGE).unlink(missing_ok=True)
    except OSError as error:
        raise ArtefactError(sentence(error, folder)) from error


def write_page(folder: Path, template: str, values: Mapping[str, Any]) -> Path:
    """Render a template of this package into `folder/index.html`.

    Args:
        folder: made if absent; a page that is there is replaced.
        template: file name in `templates/`.
        values: what the template reads; the version of this package and the time are added.

    Raises:
        UnavailableError: jinja2 is not installed.
        ArtefactError: the folder cannot be written.
    """
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    text: str = _environment().get_template(template).render(**values, version=__version__, now=now)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / PAGE, as_unicode(text))
    except OSError as error:
        raise ArtefactError(sentence(error, folder)) from error
    return folder / PAGE


def _environment() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise UnavailableError(f"a report needs jinja2: {install('reports')}") from error
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
