"""What of a graph in int8 stays in float32, and why: `precision-plan.json`. Standard library only.

It may be written by hand, so it carries no seal; in an artefact the manifest has its digest.
"""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vtp_export.errors import SpecError
from vtp_export.json_records import canonical, decode, parse_json, read_text
from vtp_export.spec import FileRecord

PLAN = "precision-plan.json"


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """What is lost on range images when one group of layers alone is in int8.

    group: path of what holds the layers: attention or MLP of a block, the projector, what gives a signal.
    worth: of the kept sets by what the method maximises, over that of float32's, mean; the lower where it maximises two
        things; None where it maximises nothing.
    jaccard: mean of the kept sets with those of float32. erank: largest relative error; None where none is measured.
    cosine: least, of a token with its counterpart in float32; None where the sets have no token in common.
    share: of the gate that is nearest to failing, how much is used up; beyond 1 it fails.
    """

    group: str
    worth: float | None
    jaccard: float
    erank: float | None
    cosine: float | None
    share: float


@dataclass(frozen=True, kw_only=True)
class PrecisionPlan:
    """Which layers of a graph in int8 stay in float32.

    float32: paths in the graph: of a layer, or of what holds some.
    sensitivities: of all groups, in the graph's order; none where nobody had to choose.
    """

    float32: tuple[str, ...] = ()
    sensitivities: tuple[Sensitivity, ...] = ()
    schema: Literal[1] = 1

    def to_json(self) -> str:
        """For a file."""
        return canonical(dataclasses.asdict(self))


def read_plan(path: Path) -> PrecisionPlan:
    """Read a plan, of an earlier export or written by hand.

    Raises:
        SpecError: it cannot be read, is not JSON, or a key is unknown, missing, repeated or of the wrong type.
    """
    what = f"the precision plan '{path}'"
    plan: PrecisionPlan = decode(PrecisionPlan, parse_json(read_text(path, what), what, unique=True), what)
    if len(set(plan.float32)) < len(plan.float32):
        raise SpecError(f"{what} names a path twice in 'float32'; say it once")
    return plan


def write_plan(folder: Path, plan: PrecisionPlan | None) -> None:
    """Write a plan, if there is one, into an artefact."""
    if plan is not None:
        (folder / PLAN).write_bytes(plan.to_json().encode())


def plan_record(plan: PrecisionPlan) -> dict[str, FileRecord]:
    """The file that a plan will be in an artefact, by name."""
    content = plan.to_json().encode()
    return {PLAN: FileRecord(len(content), hashlib.sha256(content).hexdigest())}
