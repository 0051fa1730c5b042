"""`vtp-export push`: an artefact becomes a repository of the Hugging Face hub, in one commit, with a model card."""

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from vtp_export.arguments import path_of
from vtp_export.errors import ArtefactError, SpecError, shown
from vtp_export.manifests import manifest_from_json
from vtp_export.progress import Progress, silent
from vtp_export.reports.card import FILE, MARK, Licence, base_model, model_card
from vtp_export.reports.page import PAGE
from vtp_export.reports.pushed import PushReport
from vtp_export.runtime.artefact import GRIDS, MANIFEST, Artefact, open_artefact
from vtp_export.runtime.grids import grids_of
from vtp_export.runtime.hub import ID, client, quiet, refusal

VALIDATION = "validation.html"
"""What the page of a validation is called in a repository."""


def push(
    folder: str | Path,
    repository: str,
    *,
    revision: str | None = None,
    private: bool = False,
    report: str | Path | None = None,
    dry_run: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> PushReport:
    """Verify an artefact, and put all of it into a repository: readers find the old one or the new one, no mixture.

    Args:
        folder: the artefact, of one grid or of several.
        repository: "owner/name"; made if absent.
        revision: a branch, made if absent; None for the main one.
        private: whether a repository that is made is private.
        report: the page of a validation of this artefact, or the folder that it is in; it goes along.
        dry_run: say what would be pushed, and ask nobody.
        force: also replace a README.md that somebody else wrote.
        progress: hears of every step.

    Raises:
        SpecError: no id.
        ArtefactError: no artefact, torn or not as it was sealed, replaced meanwhile; a page of another artefact; the
            hub refuses, or cannot be reached.
        UnavailableError: huggingface_hub is not installed.
    """
    named = ID.fullmatch(repository) if isinstance(repository, str) else None
    if named is None or named["revision"] is not None:
        raise SpecError(f"the repository is {shown(repository)}; an id of the hub is needed, as me/llava64")
    hub = client("to push")
    artefacts = grids_of(folder) or {"": open_artefact(folder)}
    pages = {} if report is None else _pages(path_of("the report", report), artefacts)
    for done, artefact in enumerate(artefacts.values()):
        progress("verifying every digest", done, len(artefacts))
        artefact.verify()
    licence = None if dry_run else _licence(hub, next(iter(artefacts.values())))
    card = model_card(repository, artefacts, licence, sorted(pages))
    files = _files(Path(folder), artefacts) | pages
    sizes = {name: path.stat().st_size for name, path in sorted(files.items())}
    notes = list(_notes(artefacts, licence, dry_run))
    commit: str | None = None
    removed: tuple[str, ...] = ()
    if not dry_run:
        target = _Target(hub, repository, revision)
        target.make(private)
        removed = target.stale(files)
        content: dict[str, Path | bytes] = {**files, FILE: card.encode()}
        if not force and target.has_card_of_others():
            content.pop(FILE)
            notes.append(f"its {FILE} was written by somebody, and is left alone; --force replaces it")
        for artefact in artefacts.values():
            artefact.refuse_replaced(*artefact.manifest.builds)
        progress(f"uploading {sum(sizes.values()) / 1e6:.0f} MB")
        commit = target.commit(content, removed, _digests(artefacts))
    return PushReport(repository=repository, files=sizes, removed=removed, card=card, commit=commit, notes=tuple(notes))


class _Target:
    """A branch of a repository."""

    def __init__(self, hub: Any, repository: str, revision: str | None) -> None:
        self._hub, self._api, self._id, self._branch = hub, hub.HfApi(), repository, revision

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            with quiet():
                yield
        except ArtefactError:
            raise
        except Exception as error:  # of the client, and of the HTTP and transfer libraries below it
            raise refusal(error, self._id, self._branch) from error

    def make(self, private: bool) -> None:
        """See that it is there."""
        with self._asking():
            self._api.create_repo(self._id, private=private, exist_ok=True)
            if self._branch is not None:
                self._api.create_branch(self._id, branch=self._branch, exist_ok=True)

    def stale(self, files: Mapping[str, Path]) -> tuple[str, ...]:
        """Files of an artefact that was there before, as its manifests name them."""
        with self._asking():
            there = self._api.list_repo_files(self._id, revision=self._branch)
            known = {MANIFEST, GRIDS}
            for name in there:
                if PurePosixPath(name).name == MANIFEST:
                    known |= self._named(name)
        return tuple(sorted(known.intersection(there) - files.keys()))

    def _named(self, manifest: str) -> set[str]:
        """That a manifest of the repository names, itself included; nothing where it is no manifest of ours."""
        with tempfile.TemporaryDirectory() as place:
            path = self._hub.hf_hub_download(self._id, manifest, revision=self._branch, local_dir=place)
            try:
                told = manifest_from_json(Path(path).read_text(encoding="utf-8"))
            except (SpecError, ValueError):
                return set()
        paths = Artefact(Path(PurePosixPath(manifest).parent), told).paths()
        return {path.as_posix() for path in paths} | {str(PurePosixPath(manifest).parent / VALIDATION)}

    def has_card_of_others(self) -> bool:
        """Whether there is a README.md that this package did not write."""
        with self._asking(), tempfile.TemporaryDirectory() as place:
            if not self._api.file_exists(self._id, FILE, revision=self._branch):
                return False
            path = self._hub.hf_hub_download(self._id, FILE, revision=self._branch, local_dir=place)
            return MARK not in Path(path).read_text(encoding="utf-8", errors="replace")

    def commit(self, content: Mapping[str, Path | bytes], removed: tuple[str, ...], digests: Mapping[str, str]) -> str:
        """All of it at once: the commit.

        Raises:
            ArtefactError: a file is no longer what it was; the hub refuses; or it left something out, as a .gitignore
                there makes it.
        """
        operations = [self._hub.CommitOperationDelete(path_in_repo=name) for name in removed]
        for name, one in sorted(content.items()):
            added = self._hub.CommitOperationAdd(name, one if isinstance(one, bytes) else str(one))
            if digests.get(name, measured := added.upload_info.sha256.hex()) != measured:
                raise ArtefactError(f"the file '{name}' was changed meanwhile; push again when its writer is done")
            operations.append(added)
        with self._asking():
            made = self._api.create_commit(
                self._id, operations, commit_message="An artefact of vtp-export", revision=self._branch
            )
            there = self._api.list_repo_files(self._id, revision=made.oid)
        if missing := sorted(content.keys() - set(there)):
            raise ArtefactError(
                f"the hub left '{missing[0]}' out of commit {made.oid}, so that it holds no whole artefact; look at "
                f"the .gitignore of '{self._id}', and push again"
            )
        commit: str = made.oid
        return commit


def _files(folder: Path, artefacts: Mapping[str, Artefact]) -> dict[str, Path]:
    """All that the artefact is made of, by name in the repository."""
    files = {} if "" in artefacts else {GRIDS: folder / GRIDS}
    return files | {path.relative_to(folder).as_posix(): path for one in artefacts.values() for path in one.paths()}


def _digests(artefacts: Mapping[str, Artefact]) -> dict[str, str]:
    """SHA-256 of the files that manifests tell of, by name in the repository."""
    digests: dict[str, str] = {}
    for name, one in artefacts.items():
        m = one.manifest
        for files in (m.golden, m.shared_files, *(build.files for build in m.builds)):
            digests |= {(f"{name}/{file}" if name else file): record.sha256 for file, record in files.items()}
    return digests


def _pages(report: Path, artefacts: Mapping[str, Artefact]) -> dict[str, Path]:
    """The page of each artefact, by name in the repository; each tells of the very artefact that is pushed."""
    pages = {}
    for name, artefact in artefacts.items():
        path = report if report.is_file() else report / name / PAGE
        if not path.is_file():
            raise ArtefactError(f"there is no page '{path}'; make one with 'vtp-export validate --report {report}'")
        if artefact.manifest.identity() not in path.read_text(encoding="utf-8", errors="replace"):
            raise ArtefactError(f"the page '{path}' is of another artefact than '{artefact.folder}'; validate it again")
        pages[f"{name}/{VALIDATION}" if name else VALIDATION] = path
    return pages


def _licence(hub: Any, artefact: Artefact) -> Licence | None:
    """That of the base model, where its card on the hub tells one."""
    if (base := base_model(artefact.manifest)) is None:
        return None
    try:
        with quiet():
            card = hub.HfApi().model_info(base).card_data or {}
        return Licence(card["license"], card.get("license_name"), card.get("license_link")) if card["license"] else None
    except Exception:  # gated, gone, or without a card: nobody knows
        return None


def _notes(artefacts: Mapping[str, Artefact], licence: Licence | None, dry_run: bool) -> Iterator[str]:
    """What the user should know of what everybody will read."""
    for name, one in artefacts.items():
        if not one.manifest.proven():
            yield f"no validation of {name or one.folder} that passed is recorded, and the card says so"
    manifest = next(iter(artefacts.values())).manifest
    if "/" in manifest.model.id and base_model(manifest) is None:
        yield f"the manifest tells the folder that the model came from: {manifest.model.id}"
    if licence is None and not dry_run:
        yield "the licence of the base model is not known, and the card names none: look whether you may publish it"
