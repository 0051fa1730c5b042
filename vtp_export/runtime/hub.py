"""Artefacts on the Hugging Face hub: an id in the place of a folder. All files are of one commit, from its cache.

What is a folder here is a folder: `owner/name` is asked of the hub only where neither it nor `owner` is there. A
revision (commit, branch or tag) may stand behind it: `owner/name@v1`.
"""

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vtp_export.arguments import kind_of, path_of
from vtp_export.errors import ArtefactError, SpecError, UnavailableError, VtpError, first_line
from vtp_export.extras import install
from vtp_export.json_records import from_json, read_text
from vtp_export.runtime.artefact import GRIDS, MANIFEST, open_artefact
from vtp_export.runtime.grids import SCHEMA, GridIndex
from vtp_export.runtime.images import note

ID = re.compile(r"(?P<id>(?P<owner>\w[\w.-]*)/\w[\w.-]*?)(?:@(?P<revision>[^@\s]+))?", re.ASCII)
CACHED = re.compile(r"models--(?P<owner>[^/]+?)--(?P<name>[^/]+)/snapshots/(?P<commit>[^/]+)(?P<grid>/.+)?$")
GRID = re.compile(r"\d+x\d+")
LOGIN = "log in with 'hf auth login'"

WAITING = (
    "the hub does not answer, and is asked again for up to a minute or two; "
    "HF_HUB_OFFLINE=1 asks nobody and takes what is in the local cache"
)


def located(folder: str | Path, revision: str | None = None) -> Path:
    """The folder of an artefact, fetched from the hub if it is an id and no folder.

    Args:
        folder: of the artefact, or `owner/name`, or `owner/name@revision`.
        revision: commit, branch or tag on the hub.

    Raises:
        SpecError: no path, or a revision of a folder.
        UnavailableError: an id, and huggingface_hub is not installed.
        ArtefactError: no such repository, it cannot be reached, or it holds no artefact.
    """
    path = path_of("the artefact", folder)
    found = ID.fullmatch(str(folder))
    if found is None or kind_of("the artefact", path) or kind_of("the folder", found["owner"]) == "folder":
        if revision is not None:
            raise SpecError(f"'{path}' is a folder here, or no id of the hub, and has no revision '{revision}'")
        return path
    if revision is not None and found["revision"] is not None:
        raise SpecError(f"'{path}' names the revision '{found['revision']}', and '{revision}' was asked for; say one")
    return _fetched(found["id"], revision or found["revision"])


def told_name(folder: str | Path) -> str:
    """How reports call an artefact: one of the cache by its id and commit, another by its path as it was given.

    Example:
        >>> told_name("/cache/models--me--llava64/snapshots/0123456789abcdef/26x46"), told_name("out/llava64")
        ('me/llava64@0123456/26x46', 'out/llava64')
    """
    found = CACHED.search(str(folder))
    if found is None:
        return str(folder)
    return f"{found['owner']}/{found['name']}@{found['commit'][:7]}{found['grid'] or ''}"


def client(what: str) -> Any:
    """The hub's own client.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise UnavailableError(f"{what} needs huggingface_hub: {install('hub')}") from error
    return huggingface_hub


def _fetched(repository: str, revision: str | None) -> Path:
    """All files that the manifests of a repository name, at one commit."""
    client(f"there is no folder '{repository}' here, and to fetch an artefact from the hub")
    start = fetch(repository, MANIFEST, revision) or fetch(repository, GRIDS, revision)
    if start is None:
        raise ArtefactError(
            f"'{repository}' on the hub is no artefact: it has neither {MANIFEST} nor {GRIDS}; "
            f"if it is a model, make one with 'vtp-export export {repository} --out DIR'"
        )
    folder = start.parent
    commit = folder.name if folder.parent.name == "snapshots" else revision
    try:
        for grid in _grids(start):
            _fetch_all(repository, [folder / grid / MANIFEST], folder, commit)
            _fetch_all(repository, open_artefact(folder / grid).paths(), folder, commit)
    except (ArtefactError, SpecError) as error:
        raise ArtefactError(f"'{repository}' on the hub cannot be used: {error}") from error
    return folder


def _fetch_all(repository: str, paths: Sequence[Path], folder: Path, commit: str | None) -> None:
    for path in paths:
        name = path.relative_to(folder).as_posix()
        if fetch(repository, name, commit) is None:
            raise ArtefactError(f"its manifest names '{name}', which is not there")


def fetch(repository: str, name: str, revision: str | None) -> Path | None:
    """A file of a repository, through the cache of the hub's client; None where it has none.

    Raises:
        ArtefactError: the hub refuses, or cannot be reached.
    """
    hub = client("the hub")
    from huggingface_hub import errors

    try:
        with quiet():
            return Path(hub.hf_hub_download(repository, name, revision=revision))
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise refusal(error, repository, revision) from error
        return None
    except Exception as error:  # the client also lets through errors of the HTTP and transfer libraries below it
        raise refusal(error, repository, revision) from error


def _grids(start: Path) -> list[str]:
    """Where the artefacts of a repository are: in its root, or each grid in a folder of its own."""
    if start.name == MANIFEST:
        return [""]
    index = from_json(GridIndex, read_text(start, f"the index '{start}'"), "index of grids", SCHEMA, "export again")
    if strange := sorted(name for name in index.grids if not GRID.fullmatch(name)):
        raise ArtefactError(f"{GRIDS} names '{strange[0]}', which is no grid")
    return [f"{name}/" for name in index.grids]


def refusal(error: BaseException, repository: str, revision: str | None = None) -> VtpError:
    """What an error of the client comes to, in a sentence."""
    from huggingface_hub import constants, errors

    offline = " (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else ""
    status = getattr(getattr(error, "response", None), "status_code", None)
    told = f"the hub refuses '{repository}': {first_line(error)}"
    if isinstance(error, errors.LocalTokenNotFoundError):
        told = f"you are not logged in to the hub; {LOGIN}"
    elif isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled | ConnectionError):
        told = (
            f"there is no folder '{repository}' here, the hub cannot be reached for it{offline}, and it is not in the "
            "local cache"
        )
    elif isinstance(error, errors.GatedRepoError):
        told = f"'{repository}' is gated: ask for access on its page, and {LOGIN}"
    elif isinstance(error, errors.RevisionNotFoundError):
        told = f"'{repository}' on the hub has no revision '{revision}'"
    elif isinstance(error, errors.RepositoryNotFoundError):
        told = (
            f"the hub shows no repository '{repository}': there is none, or it is private and not yours to see; to see "
            f"your own {LOGIN}"
        )
    elif status == 401:
        told = f"the hub does not know who you are; {LOGIN}"
    elif status == 403:
        told = f"you may not write to '{repository}'; {LOGIN}, as somebody who may, with a token that can write"
    return ArtefactError(told)


class _Waiting(logging.Handler):
    """Says once that the client tries again, or was told to wait; what else it logs is kept away."""

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message.startswith("Retrying"):
            note(WAITING)
        elif message.startswith("Rate limited"):
            note(f"the hub: {message}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what the client logs away: the last attempt's failure is a sentence of its own."""
    logger = logging.getLogger("huggingface_hub")
    handlers, propagates = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [_Waiting(logging.WARNING)], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagates
