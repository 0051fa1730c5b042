"""A session held against a golden record: its pictures in batches of the usual size, and a few of them in others.

Judged from the recorded pixels on, as `Trial` judges with the model at hand: without torch.
"""

import dataclasses
import functools

import numpy as np

from vtp_export.errors import OutputError
from vtp_export.parity.batches import AGAINST_ITSELF, FEW, other_sizes, repeated, usual_size
from vtp_export.parity.contract import breaches
from vtp_export.parity.gates import Gates
from vtp_export.parity.golden import Golden
from vtp_export.parity.judge import judge_of
from vtp_export.parity.recorded import reference_of
from vtp_export.parity.tally import Tally
from vtp_export.parity.verdict import Comparison
from vtp_export.parity.witness import Noise
from vtp_export.runtime.front_end import PrunedArtefact
from vtp_export.runtime.images import batched
from vtp_export.runtime.output import Kept, Output
from vtp_export.runtime.preprocess import values_of
from vtp_export.spec import Manifest

AGAINST_RECORD = " against the graph at the export"

NARROW = {"float16 or TF32": (5e-5, 2e-3), "bfloat16": (2e-3, 0.3)}
"""By how much values stray, as a share of their size, where a tower computes in such numbers; in float32 some 1e-6."""


class Proof:
    """The comparisons of one session.

    Args:
        golden: the record.
        manifest: of the artefact.
        name: of what is judged, as reports show it.
    """

    def __init__(self, golden: Golden, manifest: Manifest, name: str) -> None:
        record, gates = golden.record, golden.gates(manifest.precision.name)
        self._golden, self._manifest = golden, manifest
        judge = judge_of(manifest.pruner, chaotic=record.chaotic, merges=record.merges)
        self._judge = dataclasses.replace(judge, select=reference_of(manifest.pruner))
        if record.oracle:  # else there is no other way to find a set as good
            gates = self._judge.gates(gates)
        self._recorded = self._tally(name + AGAINST_RECORD, gates)
        self._itself = self._tally(name + AGAINST_ITSELF, gates)
        self._before: dict[int, Kept] = {}
        self._signals = functools.cache(lambda view: golden.signals(view, manifest.layout.candidates))

    def _tally(self, name: str, gates: Gates) -> Tally:
        return Tally(name=name, noise=Noise(self._golden.record.noise), gates=gates)

    def run(self, session: PrunedArtefact) -> None:
        """Run everything, and judge it; what keeps other tokens than were recorded is not asked for itself."""
        count, batch = len(self._golden.views), session.manifest.batch
        usual = usual_size(batch)
        filled = count < batch.max
        if filled:  # the largest batch has to be visited, and all have room in it
            usual = batch.max
            (views,) = repeated(usual, count, alone=False)
            self._hold(session, views, new=count)
        else:
            for views in batched(range(count), usual):
                self._hold(session, views, new=len(views))
        if not self.done().passed:
            return
        for size in other_sizes(batch, usual if filled or count >= usual else 0):
            for views in repeated(size, min(count, FEW), alone=size == batch.min):
                self._hold(session, views, new=0)

    def _hold(self, session: PrunedArtefact, views: list[int], new: int) -> None:
        """Judge a batch of recorded pictures: so many against the record, the others against what they were before."""
        golden, manifest = self._golden, self._manifest
        names = [golden.names[view] for view in views]
        names[new:] = [f"{name} as image {i} of a batch of {len(views)}" for i, name in enumerate(names[new:], new + 1)]
        tallies = [self._recorded if i < new else self._itself for i in range(len(views))]
        try:
            output = session.run_padded(values_of(golden.views[views], manifest.preprocessing))
        except OutputError as error:
            for i in error.images:
                tallies[i].breach(names[i], [f"'{error.output}' holds a NaN or an infinity"])
            if 0 < new <= min(error.images):  # none of those that are to be held against the record
                self._hold(session, views[:new], new)
            return
        for i, (name, view) in enumerate(zip(names, views, strict=True)):
            before = self._before.setdefault(view, output[i])
            self._hold_view(tallies[i], name, view, golden.output[view] if i < new else before, output, i)

    def _hold_view(self, tally: Tally, name: str, view: int, expected: Kept, output: Output, i: int) -> None:
        record, manifest, candidates = self._golden.record, self._manifest, self._manifest.layout.candidates
        broken = tally.breach(name, breaches(output, i, manifest.layout, manifest.pruner.ascending, record.merges))
        case = self._judge.case(name, self._signals(view), expected)
        narrow = manifest.precision.name != "fp32"
        near = functools.partial(self._golden.start, view, candidates) if narrow else None
        self._judge.hold_format(tally, case, output[i], near, search=not broken and record.oracle)

    def done(self) -> Comparison:
        """Against the record."""
        return self._recorded.done()

    def batches(self) -> Comparison | None:
        """In batches of other sizes against itself; None where there are none."""
        return self._itself.done() if self._itself.images or self._itself.breaches else None

    @property
    def passed(self) -> bool:
        """Whether all comparisons passed."""
        batches = self.batches()
        return self.done().passed and (batches is None or batches.passed)

    def rounding(self) -> str | None:
        """A sentence where values stray as if less than the artefact's float32 were computed in, or None."""
        if self._manifest.precision.name != "fp32" or self.done().passed:
            return None
        strays = [
            _size(found - expected) / _size(expected) for expected, found in self._recorded.pairs if expected.size
        ]
        stray = float(np.median(strays)) if strays else 0.0  # of most pictures: rounding spares none
        for name, (least, most) in NARROW.items():
            if least <= stray < most:
                return (
                    f"in most pictures values stray by {stray:.1e} of their size, as they do in {name}: what runs here "
                    "computes in less than the artefact's float32"
                )
        return None


def _size(values: np.ndarray) -> float:
    """Root of the mean square, at least as large as the smallest number."""
    return float(max(np.sqrt(np.mean(np.square(values, dtype=np.float64))), np.finfo(np.float64).tiny))
