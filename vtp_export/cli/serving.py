"""Commands that hand an artefact to a server: triton."""

import dataclasses
from pathlib import Path
from typing import Annotated, Optional

import typer

from vtp_export.cli._app import Folder, Json, app


@app.command()
def triton(
    folder: Folder,
    out: Annotated[Path, typer.Option(metavar="REPOSITORY", help="The model repository; other models stay.")],
    name: Annotated[Optional[str], typer.Option(help="Of the models; default: the artefact's folder.")] = None,  # noqa: UP045
    cpu: Annotated[bool, typer.Option("--cpu", help="Serve on CPUs (ONNX only).")] = False,
    queue_delay: Annotated[
        int, typer.Option(metavar="MICROSECONDS", help="How long a request waits for others to join its batch.")
    ] = 1000,
    force: Annotated[bool, typer.Option(help="Replace models of the same names.")] = False,
    json: Json = False,
) -> None:
    """Write a model repository for Triton Inference Server: one model for ONNX, one for the TensorRT plans.

    Digests are verified first. Plans for several kinds of GPU become one model, and Triton picks by compute capability.

    Example:
        vtp-export triton llava64 --out models && tritonserver --model-repository models
    """
    from vtp_export import terminal
    from vtp_export.pipeline.triton import TritonSpec
    from vtp_export.pipeline.triton import triton as run_triton

    with terminal.Listener() as progress:
        models = run_triton(TritonSpec(folder, out, name, cpu, queue_delay, force), progress)
    if json:
        terminal.show_json([dataclasses.asdict(model) for model in models])
        return
    terminal.show_table(str(out), ("model", "folder", "backend"), [(m.name, m.folder, m.backend) for m in models])
    for note in dict.fromkeys(note for model in models for note in model.notes):
        terminal.complain(f"note: {note}")
    terminal.say(f"next: tritonserver --model-repository {out}")
