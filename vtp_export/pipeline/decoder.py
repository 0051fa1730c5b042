"""`vtp-export decoder`: a checkpoint's language model becomes a folder that ONNX Runtime answers from."""

from pathlib import Path

from vtp_export.arguments import path_of
from vtp_export.graphs.assembly import name_of
from vtp_export.integrations.decoder import Decoder
from vtp_export.integrations.onnxruntime import MODEL
from vtp_export.integrations.words import RECORD
from vtp_export.progress import Progress, silent
from vtp_export.reports.decoder import DecoderReport
from vtp_export.runtime.replacing import replacing


def decoder(
    model: str | Path,
    out: str | Path,
    *,
    revision: str | None = None,
    force: bool = False,
    progress: Progress = silent,
) -> DecoderReport:
    """Export the language model.

    Args:
        model: an embedded name, a folder or a hub id.
        out: the folder to write.
        revision: commit, branch or tag on the hub.
        force: replace a folder that this wrote before.
        progress: hears of every step.

    Raises:
        VtpError: there is no such language model, or it cannot be written there.
    """
    out = path_of("the folder to write", out)
    with replacing(out, force, _why_not_replaceable) as partial:
        progress("loading the language model")
        loaded = Decoder(name_of(model), revision)
        progress("exporting the language model")
        loaded.write(partial)
        size = sum(file.stat().st_size for file in partial.iterdir())
    wording = loaded.wording()
    prompt = f"{wording.before}{wording.mark}{wording.behind}QUESTION{wording.after}"
    return DecoderReport(folder=str(out), layers=wording.layers, width=wording.width, prompt=prompt, bytes=size)


def _why_not_replaceable(out: Path) -> str | None:
    if not out.is_dir():
        return "it is not a folder"
    if not any(out.iterdir()) or ((out / MODEL).is_file() and (out / RECORD).is_file()):
        return None
    return f"it is not a folder of a language model (it has no {MODEL})"
