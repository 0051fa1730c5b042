"""Commands that hand an artefact on, to a runtime or to the hub: triton, genai, decoder, push."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vtp_export.cli._app import Folder, Force, Limit, Model, Revision
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


def genai(
    progress: "Listener",
    folder: Folder,
    given: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="What optimum-cli export openvino wrote of the same model.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write; the given one is left as it is.")],
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model, if it has moved since the export.")
    ] = None,
    benchmark: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="Whose questions are asked: a benchmark, or a question file.")
    ] = "shapes",
    limit: Limit = 8,
    unpruned: Annotated[
        bool, typer.Option("--unpruned", help="Also ask the folder as it was given, against the unpruned model.")
    ] = False,
    force: Force = False,
) -> Result:
    """Put the artefact into a folder of OpenVINO GenAI, in place of the vision model, and compare the answers.

    For LLaVA. Width and preprocessing are held against the artefact's first; then the same questions are put to the
    folder, greedily, and to the model in Transformers. Exit code 1 if the answers differ; the folder is written anyway.

    Example:
        vtp-export genai llava64 llava-openvino --out llava64-openvino
    """
    from vtp_export.pipeline.genai import genai as run_genai
    from vtp_export.reports.genai import genai_summary

    report = run_genai(
        folder,
        given,
        out,
        model=model,
        benchmark=benchmark,
        limit=limit,
        unpruned=unpruned,
        force=force,
        progress=progress,
    )
    return Result(report.as_dict(), genai_summary(report), report.passed)


def decoder(
    progress: "Listener",
    model: Model,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write.")],
    revision: Revision = None,
    force: Force = False,
) -> Result:
    """Write a model's language model for ONNX Runtime, with its tokenizer and the words around a question.

    `validate --answers --through onnxruntime` reads it, and so does vtp_export.integrations.onnxruntime, which needs
    neither torch nor Transformers. In float32: four bytes for each weight.

    Example:
        vtp-export decoder tiny-llava --out tiny-decoder
    """
    from vtp_export.pipeline.decoder import decoder as run_decoder
    from vtp_export.reports.decoder import decoder_summary

    report = run_decoder(model, out, revision=revision, force=force, progress=progress)
    return Result(report.as_dict(), decoder_summary(report))


def push(
    progress: "Listener",
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="An artefact: the folder that export wrote.")],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="On the Hugging Face hub; made if absent.")],
    revision: Annotated[
        str | None, typer.Option(metavar="BRANCH", help="Into this branch, made if absent; default: the main one.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="If the repository is made, for you alone.")] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Put the page in it along, that validate --report wrote.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show the files and the model card; nobody is asked.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a README.md that somebody else wrote.")] = False,
) -> Result:
    """Put an artefact onto the Hugging Face hub, in one commit, with a model card. Then its id stands for the folder.

    Every digest is verified first. The card says what was exported, whether a validation has proved it, and how it is
    run. Files of an earlier artefact in the repository go in the same commit; all else in it stays. Log in before, with
    `hf auth login`.

    Examples:
        vtp-export push llava64 me/llava64 --dry-run

        vtp-export push llava64 me/llava64 --report report

        vtp-export check me/llava64
    """
    from vtp_export.pipeline.push import push as run_push
    from vtp_export.reports.pushed import push_summary

    result = run_push(
        folder,
        repository,
        revision=revision,
        private=private,
        report=report,
        dry_run=dry_run,
        force=force,
        progress=progress,
    )
    return Result(vars(result), push_summary(result))
