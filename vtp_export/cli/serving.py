"""Commands that hand an artefact to a server: triton."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtp_export.cli._app import Folder, Force
from vtp_export.cli._command import Result

if TYPE_CHECKING:
    from vtp_export.terminal import Listener


def triton(
    progress: "Listener",
    folder: Folder,
    out: Annotated[Path, typer.Option(metavar="REPOSITORY", help="The model repository; other models stay.")],
    name: Annotated[str | None, typer.Option(help="Of the models; default: the artefact's folder.")] = None,
    cpu: Annotated[bool, typer.Option("--cpu", help="Serve on CPUs (ONNX only).")] = False,
    queue_delay: Annotated[
        int, typer.Option(metavar="MICROSECONDS", help="How long a request waits for others to join its batch.")
    ] = 1000,
    force: Force = False,
) -> Result:
    """Write a model repository for Triton Inference Server: one model for ONNX, one for the TensorRT plans.

    Digests are verified first. Plans for several kinds of GPU become one model, and Triton picks by compute capability.

    Example:
        vtp-export triton llava64 --out models && tritonserver --model-repository models
    """
    from vtp_export.pipeline.triton import triton as run_triton
    from vtp_export.reports.serving import triton_summary

    models = run_triton(folder, out, name=name, cpu=cpu, queue_delay_us=queue_delay, force=force, progress=progress)
    for note in dict.fromkeys(note for model in models for note in model.notes):
        progress.note(note)
    return Result({"models": models}, triton_summary(out, models))
