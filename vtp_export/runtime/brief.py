"""What a backend must know of a graph besides the graph, when it builds a file and when it opens one."""

from dataclasses import dataclass
from typing import Any

from vtp_export.spec import BatchRange, Manifest, TensorSpec


@dataclass(frozen=True, kw_only=True)
class Brief:
    """What the manifest promises of every build.

    identity: digest of the manifest, to be carried in the main file and read back when that is opened.
    signals: what a build from a graph, or from another file, returns besides; of a file that is opened, none.
    options: the backend's `BuildOptions`; None takes its defaults.
    loops: of a build from a graph, whether rounds may be a loop operator; otherwise they are written out.
    foreign: of a file that is opened, whether another tool has made it of one of the artefact's: it need not carry the
        identity.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batch: BatchRange
    identity: str
    signals: tuple[TensorSpec, ...] = ()
    options: Any = None
    loops: bool = True
    foreign: bool = False

    @property
    def remedy(self) -> str:
        """What to do about a file that is not what was promised."""
        return "it cannot stand in for the artefact's own" if self.foreign else "export again"


def brief_of(manifest: Manifest, options: Any = None, *, loops: bool = True, foreign: bool = False) -> Brief:
    """What a manifest promises."""
    return Brief(
        inputs=manifest.inputs,
        outputs=manifest.outputs,
        batch=manifest.batch,
        identity=manifest.identity(),
        options=options,
        loops=loops,
        foreign=foreign,
    )
