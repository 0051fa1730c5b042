"""What a manifest says of the model, held against what the model says of itself: a recorded number is not believed.

Nothing here looks at a token. What only tokens can show (the pruner's settings, what a file computes) is for the
comparisons; what only says where a thing came from is told in `docs/artefact.md`.
"""

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping

import torch
from torch import nn

from vtp_export import rooms
from vtp_export.backends._torch import narrow_weights
from vtp_export.calibrations import CalibrationRecord
from vtp_export.errors import SpecError
from vtp_export.graphs.assembly import Assembly, calibration_for
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.graphs.signals import signals_of
from vtp_export.json_records import SEAL, to_json
from vtp_export.models.base import LoadedModel
from vtp_export.parity.gates import GATES
from vtp_export.parity.golden import GoldenRecord
from vtp_export.parity.witness import Noise
from vtp_export.pruners.base import Method
from vtp_export.runtime.front_end import PrunedArtefact
from vtp_export.settings import from_settings
from vtp_export.spec import Manifest, Packing, PrecisionRecord, PrunerRecord, Scalar

UNPROVEN = ("model.id", "model.revision", "pruner.origins", "batch", "versions", "golden", "builds", "validation")
"""Where the model was, what it was built with and how: true or not, they change nothing that the artefact returns."""

WIDER = 10.0
"""How many times larger noise may be that was measured on other pictures of the same model."""


def false_claims(manifest: Manifest, own: Manifest) -> tuple[str, ...]:
    """A sentence for everything that the manifest says and the model does not.

    Args:
        manifest: what is judged.
        own: the same as an export of that model would write it today, see `own_manifest`.
    """
    said, true = dict(_leaves(manifest)), dict(_leaves(own))
    return tuple(
        f"{key} is {_text(said.get(key))} in the manifest, and {_text(true.get(key))} by the model itself"
        for key in sorted(said.keys() | true.keys())
        if said.get(key) != true.get(key)
    )


def false_files(
    own: Manifest,
    graph: PrunedFrontend,
    sessions: Mapping[str, PrunedArtefact],
    record: GoldenRecord | None,
    noise: Noise,
) -> tuple[str, ...]:
    """A sentence for everything that the files beside the manifest say and the model does not.

    Args:
        own: what the model makes of the manifest.
        graph: in the artefact's precision.
        sessions: every format, opened.
        record: the golden one; None where there is none.
        noise: measured on this model.
    """
    told = false_precision(graph, {fmt: session.narrow_weights() for fmt, session in sessions.items()})
    return told if record is None else (*told, *false_record(record, own.precision.name, graph.pruner.method, noise))


def own_manifest(
    manifest: Manifest, model: LoadedModel, assembly: Assembly, layers: Collection[str], packing: Packing | None = None
) -> Manifest:
    """What an export of that model, with the pruner that the manifest names, would write today.

    Args:
        manifest: what is judged; what cannot be known without it is taken from it.
        model: loaded for that pruner.
        assembly: of it and the pruner.
        layers: paths of all layers that can be narrowed.
        packing: of its views, with the settings that the manifest tells.
    """
    precision = own_precision(manifest.precision, layers)
    graph = assembly.graph
    returned = PrunedFrontend(graph.frontend, graph.pruner, getattr(torch, precision.tokens_dtype))
    settings = own_settings(manifest.pruner, assembly.pruner.settings, model)
    return dataclasses.replace(
        manifest,
        model=assembly.model,
        pruner=dataclasses.replace(assembly.pruner, settings=settings),
        layout=assembly.layout,
        inputs=graph.inputs,
        outputs=returned.outputs,
        signals=signals_of(graph) if manifest.signals else (),
        preprocessing=model.preprocessing,
        packing=packing,
        precision=precision,
    )


def false_precision(graph: nn.Module, held: Mapping[str, dict[str, int] | None]) -> tuple[str, ...]:
    """A sentence for every format whose weights are not in the precision that the manifest tells.

    Args:
        graph: in that precision.
        held: how many weights each format holds in which narrow dtype; None of one that does not tell.
    """
    expected = narrow_weights(graph.state_dict().values())
    return tuple(
        f"precision: {fmt} holds {_counted(counts)}, and by the manifest it would hold {_counted(expected)}"
        for fmt, counts in held.items()
        if counts is not None and counts != expected
    )


def false_record(record: GoldenRecord, precision: str, method: Method, noise: Noise) -> tuple[str, ...]:
    """A sentence for everything by which a golden record would let more pass than it may.

    What its arrays say is held against the artefact's files by `check`, and these are held against the model.

    Args:
        record: the artefact's.
        precision: name of the artefact's.
        method: the pruner's.
        noise: measured on this model, on other pictures.
    """
    said = {"chaotic": record.chaotic, "merges": record.merges}
    sentences = [
        f"golden.{key} is {_text(value)} in the record, and {_text(getattr(method, key))} by the method itself"
        for key, value in said.items()
        if value != getattr(method, key)
    ]
    if record.gates.stricter(GATES[precision]) != record.gates:
        sentences.append(f"golden.gates is wider in the record than the limits of {precision} are")
    sentences += [
        f"golden.noise.{name} is {size:.2g} in the record, and {noise.sizes[name]:.2g} by the model itself"
        for name, size in record.noise.items()
        if size > WIDER * noise.sizes.get(name, size)
    ]
    return tuple(sentences)


def own_settings(said: PrunerRecord, settings: dict[str, Scalar], model: LoadedModel) -> dict[str, Scalar]:
    """Settings, where a number that is said to be calibrated or published is that which was calibrated or published.

    Args:
        said: the manifest's record.
        settings: all of them, as the pruner reads that record.
        model: a calibration record may lie beside it.
    """
    unsettled = {key: value for key, value in settings.items() if key not in said.origins}
    config = from_settings(rooms.load("pruners", said.name).Config, unsettled)
    own = dict(settings)
    for record in (None, _calibration_beside(model, said.name, unsettled)):
        resolved, origins = config.resolved(record)
        own |= {key: getattr(resolved, key) for key in said.origins if origins.get(key) == said.origins[key]}
    return own


def own_precision(record: PrecisionRecord, layers: Collection[str]) -> PrecisionRecord:
    """What of a precision's record follows from its name and from the model: the rest was decided on images.

    Args:
        record: the manifest's.
        layers: paths of all layers that can be narrowed.
    """
    if record.name in ("fp32", "bf16"):  # nothing is decided on images
        return PrecisionRecord(name=record.name)
    wide = tuple(sorted(set(record.float32_layers) & set(layers)))
    dtype = record.tokens_dtype if record.name == "fp16" else "float32"
    return dataclasses.replace(record, float32_layers=wide, tokens_dtype=dtype)


def _calibration_beside(model: LoadedModel, pruner: str, settings: dict[str, Scalar]) -> CalibrationRecord | None:
    try:
        record, _ = calibration_for(model, None, pruner, settings)
    except SpecError:  # of other weights: it says nothing about these
        return None
    return record


def _leaves(manifest: Manifest) -> Iterator[tuple[str, object]]:
    """Keys with their values, a list of plain values being one."""

    def walk(path: str, value: object) -> Iterator[tuple[str, object]]:
        if path in UNPROVEN:
            return
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from walk(f"{path}.{key}" if path else key, inner)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{path} (how many)", len(value)
            for i, inner in enumerate(value):
                yield from walk(f"{path}[{i}]", inner)
        else:
            yield path, value

    return walk("", {key: value for key, value in json.loads(to_json(manifest)).items() if key != SEAL})


def _counted(weights: Mapping[str, int]) -> str:
    parts = [f"{count} weights in {dtype}" for dtype, count in sorted(weights.items())]
    return " and ".join(parts) or "all weights in float32"


def _text(value: object) -> str:
    return json.dumps(value)
