"""One comparison in the making: results are held against others, and in the end a verdict comes out."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vtp_export.parity.gates import GATES, Gates, jaccard
from vtp_export.parity.verdict import Comparison, Difference, Quarter, Worth, values_of, worst_of
from vtp_export.parity.witness import Noise, Witness
from vtp_export.runtime.output import Kept

LEAST_ERANK = 20.0
"""Below it a relative error of the effective rank says little."""

SMALL_ERANK = 0.1
"""What may be wrong with such a rank nevertheless, as a share of it; four times the gate, where that is more."""

QUARTERS = 4


@dataclass(frozen=True)
class Pair:
    """Tokens (m, d) of one image, row by row of the same candidate.

    mixed: they are mixtures of a merging method; a row that differs is another mixture, and no wrong value.
    """

    expected: np.ndarray
    found: np.ndarray
    mixed: bool = False


def matched(expected: Kept, found: Kept, mixed: bool = False) -> Pair:
    """The tokens of the positions that both kept; of the same selection all, those that stand for no place too."""
    ours, theirs = _rows(expected, found)
    return Pair(expected.tokens[ours], found.tokens[theirs], mixed)


def _rows(expected: Kept, found: Kept) -> tuple[np.ndarray, np.ndarray]:
    """Of each, the rows that `matched` compares."""
    if np.array_equal(expected.kept, found.kept):
        every = np.arange(len(expected.kept))
        return every, every
    _, ours, theirs = np.intersect1d(expected.kept, found.kept, return_indices=True)
    return ours, theirs


def alike(expected: np.ndarray, found: np.ndarray, tolerance: float) -> np.ndarray:
    """Which rows of (m, d) tokens are the same mixture: (m,) bool, within the gate for token values."""
    if expected.shape != found.shape:
        return np.zeros(len(found), dtype=bool)
    largest = np.abs(expected).max(initial=0)
    near: np.ndarray = np.abs(expected - found).max(1, initial=0) <= tolerance * largest
    return near


def unexplained() -> None:
    """No witness: of two sessions without an oracle every difference counts."""


@dataclass(kw_only=True)
class Tally:
    """One comparison in the making; of any two sessions."""

    name: str
    noise: Noise
    gates: Gates = GATES["fp32"]
    images: int = 0
    overlaps: list[float] = field(default_factory=list)
    sames: list[bool] = field(default_factory=list)
    eranks_kept: list[float] = field(default_factory=list)
    worths: dict[str, list[tuple[float, str]]] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    breaches: list[str] = field(default_factory=list)
    pairs: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    planes: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    erank: list[float] = field(default_factory=list)
    entropy: list[float] = field(default_factory=list)

    def breach(self, image: str, sentences: Iterable[str]) -> bool:
        """Note what in an image's result is wrong whatever it is held against; tells whether there was anything."""
        before = len(self.breaches)
        self.breaches += [f"{image}: {sentence}" for sentence in sentences]
        return len(self.breaches) > before

    def add(
        self,
        image: str,
        expected: Kept,
        found: Kept,
        explain: Callable[[], Witness | None] = unexplained,
        pair: Pair | None = None,
    ) -> None:
        """Hold one image's result against another.

        Args:
            image: its name.
            expected: of the session that is trusted.
            found: of the session that is judged.
            explain: asked only if the selections, or the mixtures, differ.
            pair: the tokens to compare; None for those of the positions that both kept.
        """
        pair = matched(expected, found) if pair is None else pair
        same = np.ones(len(pair.found), dtype=bool)
        if pair.mixed:
            same = alike(pair.expected, pair.found, self.gates.relative_error)
        self.images += 1
        self.overlaps.append(jaccard(expected.kept, found.kept))
        self.sames.append(bool(np.array_equal(expected.kept, found.kept) and same.all()))
        if not self.sames[-1]:
            ours, theirs = set(expected.kept.tolist()), set(found.kept.tolist())
            self.differences.append(
                Difference(
                    image=image,
                    common=tuple(sorted(ours & theirs)),
                    only_expected=tuple(sorted(ours - theirs)),
                    only_found=tuple(sorted(theirs - ours)),
                    witness=explain(),
                )
            )
        if len(pair.expected) == len(pair.found):
            self.pairs.append((pair.expected[same], pair.found[same]))
        if expected.deepstack is not None and found.deepstack is not None:
            left, right = (rows[same] for rows in _rows(expected, found))
            self.planes.append((expected.deepstack[left], found.deepstack[right]))
        if found.erank is not None and expected.erank is not None:
            self._add_erank(image, expected.erank, found.erank)
        if found.attention_entropy is not None and expected.attention_entropy is not None:
            self.entropy.append(abs(found.attention_entropy - expected.attention_entropy))

    def add_worth(self, image: str, ratios: Mapping[str, float]) -> None:
        """Note what the set that was kept is worth, by what its method maximises, over that of the reference's."""
        for name, ratio in ratios.items():
            self.worths.setdefault(name, []).append((ratio, image))

    def _add_erank(self, image: str, expected: float, found: float) -> None:
        error = abs(found - expected) / expected
        if expected >= LEAST_ERANK:
            self.erank.append(error)
        elif not error <= max(SMALL_ERANK, 4 * self.gates.erank):
            self.breach(image, [f"erank is {found:.4g} instead of {expected:.4g}"])

    def done(self) -> Comparison:
        """The finished comparison."""
        return Comparison(
            name=self.name,
            images=self.images,
            identical=sum(self.sames),
            worth=tuple(worth_of(name, ratios) for name, ratios in self.worths.items()),
            jaccard_mean=float(np.mean(self.overlaps)) if self.overlaps else 1.0,
            noise=self.noise,
            differences=tuple(self.differences),
            breaches=tuple(self.breaches),
            values=worst_of(values_of(self.pairs), values_of(self.planes)),
            erank_error=_largest(self.erank),
            attention_entropy_error=_largest(self.entropy),
            gates=self.gates,
            by_complexity=self._by_complexity(),
        )

    def _by_complexity(self) -> tuple[Quarter, ...]:
        """None where nobody said how complex the images are."""
        if len(self.eranks_kept) != self.images or not self.images or not np.isfinite(self.eranks_kept).all():
            return ()
        order = np.argsort(self.eranks_kept, kind="stable")
        return tuple(
            Quarter(
                low=self.eranks_kept[few[0]],
                high=self.eranks_kept[few[-1]],
                images=len(few),
                identical=sum(self.sames[i] for i in few),
                jaccard_mean=float(np.mean([self.overlaps[i] for i in few])),
            )
            for few in np.array_split(order, QUARTERS)
            if len(few)
        )


def worth_of(name: str, ratios: Sequence[tuple[float, str]]) -> Worth:
    """Of one objective, from the ratio and the name of each image."""
    worst, image = min(ratios, key=lambda one: one[0] if math.isfinite(one[0]) else -math.inf)
    return Worth(name, float(np.mean([ratio for ratio, _ in ratios])), worst, image)


def _largest(errors: list[float]) -> float | None:
    """NumPy's maximum, because Python's may lose a NaN."""
    return float(np.max(errors)) if errors else None
