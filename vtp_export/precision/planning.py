"""Which layers of a graph in int8 stay in float32: found, or as a plan says; and whether the plan is an artefact's."""

from collections.abc import Callable
from pathlib import Path

from vtp_export.arguments import path_of
from vtp_export.errors import SpecError, shown
from vtp_export.graphs.pruned import PrunedFrontend
from vtp_export.precision.lowering import weighted_layers
from vtp_export.precision.search import MARGIN, Quality, Trials, fewest
from vtp_export.precision.sensitivity import Mixture, blocks_of, groups_of, sensitivities
from vtp_export.precision_plans import PLAN, PrecisionPlan, read_plan
from vtp_export.progress import Progress
from vtp_export.spec import PrecisionRecord

NAMED = ("narrow", "wide-mlps", "wide-half")
"""Plans that need no search: nothing in float32, or the MLPs of all blocks, or all of the first half of the blocks."""


def found_plan(
    mixture: Mixture, trials: Trials, quality: Callable[[tuple[str, ...], float], Quality], progress: Progress
) -> PrecisionPlan:
    """Leave in float32 as few groups as it takes, those first that lose most when they alone are narrow.

    Up to half of the groups, so that `MARGIN` of every gate is enough; beyond, so that the gates hold; never all. Where
    all may be narrow, nothing is measured of any alone.

    Args:
        mixture: of the float32 graph and the narrow one.
        trials: what they are tried on.
        quality: of the graph with some groups in float32; of no use beyond the share of a gate that is given with them.
        progress: told of every step.
    """
    if quality((), MARGIN).good:
        return PrecisionPlan()
    table = sensitivities(mixture, trials, progress)
    order = [one.group for one in sorted(table, key=lambda one: -one.share)]

    def first(count: int) -> tuple[str, ...]:
        return tuple(group for group in mixture.groups if group in order[:count])

    half = len(order) // 2
    count = fewest(lambda count: quality(first(count), MARGIN).good, half)
    if quality(first(count), 1.0).share > 1:
        count = half + fewest(lambda more: quality(first(half + more), 1.0).share <= 1, len(order) - 1 - half)
    return PrecisionPlan(float32=first(count), sensitivities=table)


def named_plans(graph: PrunedFrontend) -> dict[str, PrecisionPlan]:
    """Plans that need no search, by name: see `NAMED`."""
    blocks, layers = blocks_of(graph), list(weighted_layers(graph))
    mlps = (f"{block}.mlp" for block in blocks)
    held = tuple(mlp for mlp in mlps if any(layer.startswith(f"{mlp}.") for layer in layers))
    chosen = (), held, tuple(blocks[: len(blocks) // 2])
    return {name: PrecisionPlan(float32=paths) for name, paths in zip(NAMED, chosen, strict=True)}


def given_plan(plan: PrecisionPlan | str | Path, graph: PrunedFrontend) -> PrecisionPlan:
    """A plan, or one of those with a name, or that of a file.

    Raises:
        SpecError: it cannot be read.
    """
    if isinstance(plan, PrecisionPlan):
        return plan
    if str(plan) in NAMED:
        return named_plans(graph)[str(plan)]
    return read_plan(path_of("the precision plan", plan))


def float32_layers(plan: PrecisionPlan, graph: PrunedFrontend) -> tuple[str, ...]:
    """The layers that a plan leaves in float32, sorted.

    Args:
        plan: of this graph, or of another.
        graph: in float32.

    Raises:
        SpecError: it is of another model, or of a pruner that reads other layers.
    """
    groups = groups_of(graph)
    if strange := sorted({one.group for one in plan.sensitivities} ^ groups.keys() if plan.sensitivities else ()):
        where = "the model" if strange[0] in groups else "the precision plan"
        raise SpecError(
            f"the precision plan is of another model or pruner: {shown(strange[0])} is in {where} alone; without "
            "--plan one is found"
        )
    layers: set[str] = set()
    for path in plan.float32:
        held = {layer for layers in groups.values() for layer in layers if f"{layer}.".startswith(f"{path}.")}
        if not held:
            raise SpecError(
                f"the precision plan leaves {shown(path)} in float32, and nothing that int8 narrows is there; the "
                f"model's groups of layers are: {', '.join(groups)}"
            )
        layers |= held
    return tuple(sorted(layers))


def false_plan(plan: PrecisionPlan | None, graph: PrunedFrontend, record: PrecisionRecord) -> tuple[str, ...]:
    """A sentence where the plan in an artefact is not that by which the artefact was made.

    Args:
        plan: of the artefact; None where it has none.
        graph: in float32.
        record: the artefact's precision.
    """
    if plan is None:
        return ()
    try:
        layers = float32_layers(plan, graph)
    except SpecError as error:
        return (f"{PLAN}: {error}",)
    if layers == record.float32_layers:
        return ()
    counts = f"{len(layers)} layers in float32, and by the manifest there are {len(record.float32_layers)}"
    return (f"{PLAN} leaves {counts}: not the same",)
