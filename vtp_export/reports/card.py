"""The model card of an artefact on the hub: what it is, whether it is proved, and how it is run. From the manifest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vtp_export.reports.suites import escaped, markdown
from vtp_export.reports.table import Table
from vtp_export.runtime.artefact import Artefact
from vtp_export.runtime.hub import ID, client
from vtp_export.spec import Manifest

FILE = "README.md"
MARK = "<!-- Written by vtp-export push, which writes it anew each time; without this line it is left alone. -->"
PIPELINE = "image-feature-extraction"
TASK = "visual-token-pruning"


@dataclass(frozen=True)
class Licence:
    """What the card of the base model says: an identifier of the hub, and where that is "other" its name and link."""

    id: str
    name: str | None = None
    link: str | None = None


def model_card(
    repository: str, artefacts: Mapping[str, Artefact], licence: Licence | None, pages: Sequence[str]
) -> str:
    """The text of `README.md`.

    Args:
        repository: its id.
        artefacts: of each grid, by the name of its folder; of one alone "".
        licence: of the base model; None where it is not known, and then the card names none.
        pages: reports of validations that go with it, by name.
    """
    first = next(iter(artefacts.values())).manifest
    return (
        "\n\n".join(
            [
                f"---\n{_metadata(first, licence)}\n---",
                MARK,
                f"# {repository.partition('/')[2]}",
                f"The vision front end of {_model(first)} (vision tower, visual-token pruner `{first.pruner.name}`, "
                f"projector) as one graph. It keeps {_budget(artefacts)}. Made by vtp-export, which runs it without "
                "PyTorch and checks on the machine at hand that it keeps the tokens that it should.",
                "## Run it",
                _code("python", _usage(repository, first, several=len(artefacts) > 1)),
                _code("sh", f"vtp-export check {repository}  # does this machine keep the same tokens?"),
                "## Is it proved?",
                *_proof(artefacts, pages),
                "## What it is",
                *(part for name, one in artefacts.items() for part in _described(name, one.manifest)),
            ]
        ).rstrip()
        + "\n"
    )


def base_model(manifest: Manifest) -> str | None:
    """The id of the model on the hub; None of a folder, and of an embedded model."""
    record = manifest.model
    return record.id if record.revision is not None and ID.fullmatch(record.id) else None


def _metadata(manifest: Manifest, licence: Licence | None) -> str:
    """What the hub reads, in YAML."""
    tags = ["vtp-export", TASK, manifest.pruner.name, *manifest.formats(), manifest.precision.name]
    told = client("a model card").ModelCardData(
        library_name="vtp-export",
        pipeline_tag=PIPELINE,
        base_model=base_model(manifest),
        license=None if licence is None else licence.id,
        license_name=None if licence is None else licence.name,
        license_link=None if licence is None else licence.link,
        tags=list(dict.fromkeys(tags)),
    )
    text: str = told.to_yaml()
    return text.strip()


def _model(manifest: Manifest) -> str:
    record, base = manifest.model, base_model(manifest)
    if base is None:
        return f"{escaped(record.id)} ({record.family})"
    return f"`{base}` at `{(record.revision or '')[:12]}`"


def _budget(artefacts: Mapping[str, Artefact]) -> str:
    layouts = {name: one.manifest.layout for name, one in artefacts.items()}
    told = [
        f"{one.budget} of {one.candidates.n} visual tokens" + (f" at {n}" if n else "") for n, one in layouts.items()
    ]
    return ", ".join(told)


def _usage(repository: str, manifest: Manifest, several: bool) -> str:
    """Three lines."""
    joined = several or manifest.packing is not None
    call = 'next(front_end.pictures("photo.jpg"))' if joined else 'front_end("photo.jpg")'
    return (
        f'from vtp_export import load\nfront_end = load("{repository}")\noutput = {call}  # output.tokens, output.kept'
    )


def _code(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _proof(artefacts: Mapping[str, Artefact], pages: Sequence[str]) -> list[str]:
    """What the last validation of each format measured, or that nothing was."""
    open_ = [
        f"{fmt}{f' of {name}' if name else ''}"
        for name, one in artefacts.items()
        for fmt in one.manifest.formats()
        if fmt not in one.manifest.proven()
    ]
    told = "Yes: the last validation of every format passed, and was of this very artefact."
    if open_:
        told = (
            f"**Not of {', '.join(open_)}**: no validation of it that passed is recorded, so that which token is which "
            "place of a picture is what the manifest says, and nothing has proved it."
        )
    rows = [
        (*([name] if name else []), fmt, *(values.get(key) for key in KEYS))
        for name, one in artefacts.items()
        for fmt, values in one.manifest.validation.items()
        if values.get("identity") == one.manifest.identity()
    ]
    columns = (*(["grid"] if "" not in artefacts else []), "format", *KEYS.values())
    parts = [told, *([markdown(Table("validation", columns, rows))] if rows else [])]
    return parts + ([f"The report: {', '.join(f'[{page}]({page})' for page in pages)}."] if pages else [])


KEYS = {
    "passed": "passed",
    "benchmark": "images",
    "images": "how many",
    "same_tokens_kept": "same tokens",
    "differences_explained": "explained by rounding",
    "differences_unexplained": "not explained",
    "cosine_min": "lowest cosine",
    "device": "device",
}
"""Of what a manifest records of a validation, those that are told, and how they are called."""


def _described(name: str, manifest: Manifest) -> list[str]:
    layout, batch, precision = manifest.layout, manifest.batch, manifest.precision
    (rows, columns), (height, width) = layout.candidates.grid, layout.image_size
    settings = " ".join(f"{key}={value}" for key, value in manifest.pruner.settings.items())
    outputs = ", ".join(f"{spec.name} {spec.dtype} {list(spec.shape)}" for spec in manifest.outputs)
    told = [
        ("model", f"{manifest.model.id} ({manifest.model.family})"),
        ("weights, SHA-256", manifest.model.weights_sha256),
        ("pruner", f"{manifest.pruner.name} {settings}"),
        ("tokens", f"{layout.budget} of {layout.candidates.n}, a grid of {rows} x {columns}"),
        ("input", f"pixel_values float32, {height} x {width} pixels, batches of {batch.min} to {batch.max}"),
        ("outputs", outputs),
        ("precision", precision.name),
        ("identity", manifest.identity()),
        *((f"{build.format}", f"{build.main}, {build.size / 1e6:.1f} MB") for build in manifest.builds),
        ("made by", ", ".join(f"{package} {number}" for package, number in manifest.versions.items())),
    ]
    return [*([f"### {name}"] if name else []), markdown(Table("what", ("what", "value"), told))]
