"""Which layers of a graph may be narrow: decided on real images, written down, and repeated by whoever has to judge it.

fp16 overflows above 65504, so layers whose numbers come near it stay in float32. int8 is coarse: those groups of layers
stay in float32 that lose most when they alone are narrow, as many as it takes to meet the gates, see `planning.py`.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from vtp_export.errors import SpecError, shown
from vtp_export.graphs.eager import EagerSession
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.parity.gates import GATES
from vtp_export.precision.images import RangeImages, range_images
from vtp_export.precision.int8 import BLOCKS
from vtp_export.precision.lowering import lowered, weighted_layers
from vtp_export.precision.planning import float32_layers, found_plan, given_plan
from vtp_export.precision.ranges import LayerRange, measured
from vtp_export.precision.search import Quality, Trials
from vtp_export.precision.sensitivity import Mixture
from vtp_export.precision_plans import PrecisionPlan, plan_record
from vtp_export.progress import Progress, silent
from vtp_export.runtime.output import naming
from vtp_export.spec import Activations, PrecisionName, PrecisionRecord, Preprocessing

NAMES: tuple[str, ...] = get_args(PrecisionName)
ACTIVATIONS: tuple[str, ...] = get_args(Activations)

SAFETY_FACTOR = 4.0
"""Range images do not show the worst case: layers stay narrow only up to 65504 / 4."""


COARSE = ("bf16", "int8")
MIXED = (
    "this method mixes tokens, and in {precision} mixes others where one near-tie falls otherwise; validate asks that "
    "each such difference be explained, and is likely to fail: fp16 suits such a method better"
)
"""Of methods that merge, in precisions in which a near-tie is common: see `Gates.explained`."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """What the user asks for.

    name: one of `NAMES`.
    activations: of int8: "blocks" (ONNX Runtime on a CPU) or "static" (Q/DQ, for TensorRT too).
    block: of int8 in blocks: how many channels share a scale, see `int8.BLOCKS`; None for the least.
    images: a benchmark, whose calibration split is read, or a folder; limit: how many of them, spread over all.
    plan: of int8: what stays in float32, or a file that says so, or one of `planning.NAMED`; None looks for what does.
    """

    name: str = "fp32"
    activations: str | None = None
    block: int | None = None
    images: str = "photos"
    limit: int = 16
    plan: PrecisionPlan | str | Path | None = None

    def __post_init__(self) -> None:
        """Refuse what is not on offer."""
        if self.name not in NAMES:
            raise SpecError(f"precision is {shown(self.name)}; it must be one of: {', '.join(NAMES)}")
        if self.activations is not None and self.activations not in ACTIVATIONS:
            raise SpecError(f"activations is '{self.activations}'; it must be one of: {', '.join(ACTIVATIONS)}")
        if self.block is not None and self.block not in BLOCKS:
            raise SpecError(f"block is {self.block}; it must be one of: {', '.join(map(str, BLOCKS))}")
        if self.block is not None and self.activations == "static":
            raise SpecError(f"block is {self.block}, a setting of int8 in blocks, and activations is 'static'")
        if self.limit < 1:
            raise SpecError(f"{self.limit} range images were asked for; at least 1 is needed")
        if self.name != "int8" and (self.activations or self.block or self.plan is not None):
            raise SpecError(f"activations, block and plan are settings of int8, and the precision is {self.name}")


@dataclass(frozen=True)
class Lowered:
    """A graph in its precision, what was decided, sentences that the user should read, and of int8 the plan."""

    graph: PrunedFrontend
    record: PrecisionRecord
    notes: tuple[str, ...]
    plan: PrecisionPlan | None = None


def lower(
    graph: PrunedFrontend,
    spec: Precision,
    preprocessing: Preprocessing,
    device: str = "cpu",
    progress: Progress = silent,
) -> Lowered:
    """Decide, on range images where it takes some, and narrow.

    Args:
        graph: in float32, on the CPU; left as it is.
        spec: what is asked for.
        preprocessing: of the model.
        device: where the images are run.
        progress: told of every step.

    Raises:
        VtpError: the images or the plan cannot be used.
    """
    found = _decided(graph, spec, preprocessing, device, progress)
    if spec.name in COARSE and graph.pruner.method.merges:
        found = dataclasses.replace(found, notes=(*found.notes, MIXED.format(precision=spec.name)))
    return found


def _decided(
    graph: PrunedFrontend, spec: Precision, preprocessing: Preprocessing, device: str, progress: Progress
) -> Lowered:
    if spec.name in ("fp32", "bf16"):  # whose range is that of float32: nothing can overflow
        usual = Precision()
        unread = f"range images are for fp16 and int8; none were read for {spec.name}"
        notes = (unread,) if (spec.images, spec.limit) != (usual.images, usual.limit) else ()
        record = PrecisionRecord(name=spec.name)
        return Lowered(graph if spec.name == "fp32" else lowered(graph, record), record, notes)
    images = range_images(spec.images, spec.limit, preprocessing)
    decided = _half if spec.name == "fp16" else _int8
    found = decided(graph, spec, images, device, progress)
    if images.count == images.total:
        return found
    note = (
        f"numbers were measured on {images.count} of {images.total} images of {spec.images}, spread over all of them; "
        "--range-count takes more"
    )
    return dataclasses.replace(found, notes=(*found.notes, note))


def _measured(
    graph: PrunedFrontend, images: RangeImages, name: str, device: str, progress: Progress
) -> dict[str, LayerRange]:
    def told() -> Iterator[np.ndarray]:
        done = 0
        for pixels in images.batches():
            progress(f"measuring ranges on {name}", done, len(images.names))
            yield pixels
            done += len(pixels)

    with naming(images.names):
        return measured(EagerSession(graph, device).graph, told())


def _half(graph: PrunedFrontend, spec: Precision, images: RangeImages, device: str, progress: Progress) -> Lowered:
    ranges = _measured(graph, images, spec.images, device, progress)
    record = PrecisionRecord(name="fp16", images=spec.images, count=images.count, data_sha256=images.sha256)
    limit = torch.finfo(torch.float16).max / SAFETY_FACTOR
    sizes = {
        name: max(ranges[name].reads, ranges[name].returns, float(layer.weight.abs().max()))
        for name, layer in weighted_layers(graph).items()
        if name in ranges
    }
    wide = {name for name, size in sizes.items() if not size <= limit}
    groups = [{f"frontend.{path}" for path in group.layers} for group in graph.frontend.groups]
    wide = wide.union(*(group for group in groups if group & wide))
    notes = [
        f"{name} stays in float32: its numbers reach {sizes[name]:.3g} on {record.count} images, too near to 65504"
        for name in sizes
        if name in wide
    ]
    dtype = "float16" if ranges[""].returns <= limit else "float32"
    if dtype == "float32":
        notes.append(f"tokens are returned in float32: they reach {ranges[''].returns:.3g}")
    record = dataclasses.replace(record, float32_layers=tuple(sorted(wide)), tokens_dtype=dtype)
    return Lowered(lowered(graph, record), record, tuple(notes))


def _int8(graph: PrunedFrontend, spec: Precision, images: RangeImages, device: str, progress: Progress) -> Lowered:
    form = spec.activations or "blocks"
    given = None if spec.plan is None else given_plan(spec.plan, graph)
    record = PrecisionRecord(
        name="int8", activations=form, block=(spec.block or BLOCKS[0]) if form == "blocks" else None
    )
    if form == "static":
        record = dataclasses.replace(record, images=spec.images, count=images.count, data_sha256=images.sha256)
    if given is not None:
        float32_layers(given, graph)  # what is of another model is refused before anything is run
    ranges = {} if form == "blocks" else _measured(graph, images, spec.images, device, progress)
    wide = dataclasses.replace(record, float32_layers=tuple(weighted_layers(graph)))
    mixture = Mixture(lowered(graph, wide, ranges), lowered(graph, record, ranges), device)
    trials = Trials(graph, images, GATES["int8"], device)

    total = sum(map(len, mixture.groups.values()))

    known: dict[tuple[str, ...], Quality] = {}

    def quality(float32: tuple[str, ...], limit: float = math.inf) -> Quality:
        if float32 in known:
            return known[float32]
        layers = float32_layers(PrecisionPlan(float32=float32), graph)
        progress(f"int8 with {len(layers)} of {total} layers in float32: is what is kept as good?")
        tried = trials.of(lambda pixels: mixture(pixels, layers), limit)
        if tried.comparison.images == len(images.names):
            known[float32] = tried
        return tried

    plan = found_plan(mixture, trials, quality, progress) if given is None else given
    layers = float32_layers(plan, graph)
    decided = dataclasses.replace(record, float32_layers=layers, files=plan_record(plan))
    note = (
        f"int8: {len(layers)} of {total} layers stay in float32; on {images.count} images of {spec.images}: "
        f"{quality(plan.float32).sentence}"
    )
    weights = {name: layer.weight.numel() for name, layer in weighted_layers(graph).items()}
    if sum(weights[name] for name in layers) > sum(weights.values()) / 3:  # four bytes of these and one of the others
        note += "; with so much in float32, fp16 makes the smaller file"
    return Lowered(lowered(graph, decided, ranges), decided, (note, *quality(plan.float32).warnings), plan)
