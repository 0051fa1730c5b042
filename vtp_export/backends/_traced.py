"""`torch.export` of a graph, shared by the formats that start from it."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vtp_export.backends._torch import example_inputs
from vtp_export.errors import ExportError, first_line
from vtp_export.runtime.brief import Brief

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram


def exported_program(graph: "nn.Module", brief: Brief) -> "ExportedProgram":
    """Capture the graph with a dynamic batch axis, its rounds as loops or written out, as the brief says.

    Raises:
        ExportError: torch.export cannot follow the graph.
    """
    import torch

    from vtp_export.functional.loop import unrolled

    lowest, highest = brief.batch.min, brief.batch.max
    # A batch fixed at one number is a constant of the graph, and needs no dynamic axis.
    axis = {0: torch.export.Dim("batch", min=lowest, max=highest)} if highest > lowest else None
    size = min(max(lowest, 2), highest)  # 2 rather than 1, which torch.export would take for a constant
    try:
        with torch_warnings_contained(), torch.no_grad(), contextlib.nullcontext() if brief.loops else unrolled():
            return torch.export.export(
                graph, example_inputs(brief, size), dynamic_shapes=tuple(axis for _ in brief.inputs), strict=False
            )
    except Exception as error:  # torch raises many kinds here, none of them documented
        raise ExportError(f"torch.export cannot follow the graph: {first_line(error)}") from error


@contextlib.contextmanager
def torch_warnings_contained() -> Iterator[None]:
    """Keep torch's warnings about its own parts, and its log lines, away from the user."""
    # "torchvision is not installed. Skipping ...", once per operator; "Skipped deduplication ..."; the stack trace of a
    # file that is then refused.
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
