"""The configuration of a model for Triton Inference Server, as text.

Triton takes the batch axis for granted where `max_batch_size` is 1 or more, and knows no output without a further axis:
one number per image is declared with one axis and reshaped.
"""

import json
from dataclasses import dataclass

from vtp_export.errors import SpecError
from vtp_export.spec import Manifest, TensorSpec

TYPES = {"float32": "TYPE_FP32", "float16": "TYPE_FP16", "int64": "TYPE_INT64"}
BACKENDS = {"onnx": "onnxruntime", "tensorrt": "tensorrt"}
"""Formats that Triton can serve, and its backend for each."""

TF32 = (
    "start tritonserver with NVIDIA_TF32_OVERRIDE=0: its ONNX Runtime has no option against TF32, in which distances "
    "and effective rank are too coarse to keep the same tokens"
)
"""Of GPUs since Ampere."""


@dataclass(frozen=True)
class Serving:
    """How a model is to be served.

    name: of the model, and of its folder.
    gpu: whether its instances stand on GPUs.
    queue_delay_us: how long a request may wait for others to join its batch, in microseconds.
    """

    name: str
    gpu: bool
    queue_delay_us: int = 1000


def config(manifest: Manifest, fmt: str, plans: dict[str, str], serving: Serving) -> str:
    """The text of `config.pbtxt`.

    Args:
        manifest: of the artefact.
        fmt: one of `BACKENDS`.
        plans: for TensorRT, compute capability ("8.7") to file name.
        serving: how.

    Raises:
        SpecError: the artefact takes no single image, which Triton may send at any time.
    """
    if manifest.batch.min > 1:
        raise SpecError(
            f"the artefact takes batches of {manifest.batch.min} to {manifest.batch.max}, and Triton sends single "
            "images too; export with --batch 1:OPT:MAX"
        )
    lines = [f"# {TF32}"] if serving.gpu and fmt == "onnx" else []
    lines += [
        f"name: {_text(serving.name)}",
        f"backend: {_text(BACKENDS[fmt])}",
        f"max_batch_size: {manifest.batch.max}",
    ]
    lines += [_tensor("input", spec) for spec in manifest.inputs]
    lines += [_tensor("output", spec) for spec in manifest.outputs]
    if manifest.batch.max > 1:
        preferred = sorted({manifest.batch.opt, manifest.batch.max})
        delay = f"max_queue_delay_microseconds: {serving.queue_delay_us}"
        lines.append(f"dynamic_batching {{ preferred_batch_size: {preferred} {delay} }}")
    lines.append(f"instance_group [ {{ kind: {'KIND_GPU' if serving.gpu else 'KIND_CPU'} count: 1 }} ]")
    if plans:
        lines += [
            f"cc_model_filenames {{ key: {_text(cc)} value: {_text(name)} }}" for cc, name in sorted(plans.items())
        ]
        lines.append(f"default_model_filename: {_text(min(plans.values()))}")
    identity = f"value: {{ string_value: {_text(manifest.identity())} }}"
    lines.append(f'parameters {{ key: "vtp_export.manifest" {identity} }}')
    return "\n".join(lines) + "\n"


def only_on_cpus(manifest: Manifest) -> bool:
    """Whether it is for CPUs: int8 in blocks, of which ONNX Runtime's kernels for GPUs were not tried."""
    return manifest.precision.activations == "blocks"


def _tensor(side: str, spec: TensorSpec) -> str:
    own = list(spec.shape[1:])
    shape = f"dims: {own}" if own else "dims: [1] reshape { shape: [] }"
    return f"{side} [ {{ name: {_text(spec.name)} data_type: {TYPES[spec.dtype]} {shape} }} ]"


def _text(value: str) -> str:
    return json.dumps(value)
