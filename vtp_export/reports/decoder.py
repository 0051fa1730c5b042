"""A language model that was written for ONNX Runtime."""

import dataclasses
from dataclasses import dataclass

from vtp_export.reports.table import Summary, pairs


@dataclass(frozen=True, kw_only=True)
class DecoderReport:
    """What was written: layers and channels, the prompt with a mark for the picture, and bytes in all."""

    folder: str
    layers: int
    width: int
    prompt: str
    bytes: int

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return dataclasses.asdict(self)


def decoder_summary(report: DecoderReport) -> Summary:
    """What was written, and what to do with it."""
    values = {
        "layers": report.layers,
        "channels": report.width,
        "prompt": repr(report.prompt),
        "MB": f"{report.bytes / 1e6:.1f}",
    }
    through = f"--answers --through onnxruntime --decoder {report.folder}"
    return pairs(report.folder, values), f"next: vtp-export validate DIR --benchmark shapes {through}"
