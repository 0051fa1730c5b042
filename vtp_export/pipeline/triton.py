"""`vtp-export triton`: an artefact becomes models in a Triton model repository."""

import re
import shutil
from pathlib import Path

from vtp_export import rooms
from vtp_export.arguments import path_of, whole
from vtp_export.errors import ArtefactError, SpecError
from vtp_export.integrations.triton import BACKENDS, TF32, Serving, config, only_on_cpus
from vtp_export.progress import Progress, silent
from vtp_export.reports.serving import ServedModel
from vtp_export.runtime.artefact import Artefact, open_artefact, verify_file
from vtp_export.runtime.hub import located, told_name
from vtp_export.runtime.replacing import replacing
from vtp_export.spec import FileRecord

CONFIG = "config.pbtxt"


def triton(
    folder: str | Path,
    repository: str | Path,
    *,
    name: str | None = None,
    cpu: bool = False,
    queue_delay_us: int = 1000,
    force: bool = False,
    progress: Progress = silent,
) -> list[ServedModel]:
    """Write one model for each format that Triton can serve.

    Args:
        folder: the artefact.
        repository: the folder that tritonserver is pointed at; other models in it are left alone.
        name: of the models, before the format is added; None takes the artefact's folder.
        cpu: serve on CPUs; int8 in blocks always is.
        queue_delay_us: how long a request waits for others to join its batch.
        force: replace models of the same names.
        progress: hears of every step.

    Raises:
        ArtefactError: no artefact, damaged, nothing in it that Triton can serve, or a model of that name is there.
        SpecError: a name that is none, a delay below 0, or an artefact that takes no single image.
    """
    repository = path_of("the model repository", repository)
    artefact = open_artefact(located(folder))
    base = name or Path(told_name(artefact.folder.resolve())).name.partition("@")[0]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", base):
        raise SpecError(f"the name '{base}' must be letters, digits, '.', '_' and '-'; choose one with --name")
    whole("the queue delay, in microseconds,", queue_delay_us, 0)
    device = "cpu" if cpu else "cuda"
    formats = [
        fmt
        for fmt in artefact.manifest.formats()
        if fmt in BACKENDS and device in rooms.load("backends", fmt).Backend.devices
    ]
    if not formats:
        has = ", ".join(artefact.manifest.formats())
        raise ArtefactError(f"Triton serves {' and '.join(BACKENDS)} (tensorrt on GPUs), and '{folder}' has: {has}")
    gpu = not cpu and not only_on_cpus(artefact.manifest)
    texts = {fmt: _config(artefact, fmt, Serving(f"{base}-{fmt}", gpu, queue_delay_us)) for fmt in formats}
    written = []
    for done, fmt in enumerate(formats):
        progress(f"copying and verifying {fmt}", done, len(formats))
        out = repository / f"{base}-{fmt}"
        with replacing(out, force, _why_not_replaceable) as partial:
            _fill(artefact, fmt, texts[fmt], partial)
        notes = _notes(artefact, fmt, gpu)
        written.append(ServedModel(name=out.name, folder=out, backend=BACKENDS[fmt], gpu=gpu, notes=notes))
    return written


def _config(artefact: Artefact, fmt: str, serving: Serving) -> str:
    engines = {build.main: build.engine for build in artefact.builds(fmt) if build.engine}
    plans = {number: main for main, engine in engines.items() for number in engine.compute_capabilities}
    return config(artefact.manifest, fmt, plans, serving)


def _served(artefact: Artefact, fmt: str) -> dict[str, FileRecord]:
    """Files that Triton needs, not those for the reader."""
    files = {name: record for build in artefact.builds(fmt) for name, record in build.files.items()}
    return {name: files[name] for name in sorted(files) if not name.endswith(".json")}


def _fill(artefact: Artefact, fmt: str, text: str, folder: Path) -> None:
    (folder / CONFIG).write_text(text, encoding="utf-8")
    (folder / "1").mkdir()
    for name, record in _served(artefact, fmt).items():
        verify_file(artefact.folder, name, record)
        shutil.copyfile(artefact.folder / name, folder / "1" / name)
        verify_file(folder / "1", name, record)  # the artefact may be replaced at any time


def _notes(artefact: Artefact, fmt: str, gpu: bool) -> tuple[str, ...]:
    notes = [TF32] if gpu and fmt == "onnx" else []
    if only_on_cpus(artefact.manifest):
        notes.append("int8 in blocks is for CPUs, so the instances stand there")
    return tuple(notes)


def _why_not_replaceable(out: Path) -> str | None:
    if not out.is_dir():
        return "it is not a folder"
    return (
        None if (out / CONFIG).is_file() or not any(out.iterdir()) else f"it is not a Triton model (it has no {CONFIG})"
    )
