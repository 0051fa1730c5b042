"""An exported artefact as what a calibration measures with, in any format and without torch.

What it can tell depends on its pruner, and on whether it was exported with signals.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vtp_export.calibrations import MEASURES, NEAR
from vtp_export.errors import SpecError
from vtp_export.runtime.front_end import PrunedArtefact
from vtp_export.runtime.output import Output
from vtp_export.runtime.session import refuse_not_finite

Array = np.ndarray[Any, np.dtype[Any]]
OF_FEATURES = tuple(name for name in MEASURES if name != "attention_entropy")


class ArtefactEngine:
    """Measures what an open artefact tells of an image.

    All of `OF_FEATURES` where it gives the features of every candidate: as the signal `projected`, or as tokens that
    nobody pruned. The entropy where it gives the signal `saliency`. Else what its pruner itself measures.

    Args:
        front_end: opened with its signals, if it has any.

    Raises:
        SpecError: it tells nothing.
    """

    def __init__(self, front_end: PrunedArtefact) -> None:
        """See the class."""
        manifest = front_end.manifest
        self.front_end, self.name = front_end, front_end.format
        signals, outputs = ({spec.name for spec in specs} for specs in (manifest.signals, manifest.outputs))
        self._whole = manifest.pruner.name == "none"
        # A pruner that does not centre measures the other of the two.
        self._erank = "erank" if manifest.pruner.settings.get("center", True) else "erank_uncentred"
        found: set[str] = set()
        if "projected" in signals or self._whole:
            found.update(OF_FEATURES)
        elif "erank" in outputs:
            found.add(self._erank)
        if "saliency" in signals or "attention_entropy" in outputs:
            found.add("attention_entropy")
        if not found:
            raise SpecError(
                f"the artefact '{front_end.artefact.folder}' tells neither erank nor attention entropy, which its "
                f"pruner, {manifest.pruner.name}, does not measure; export with --pruner adaptive, with --pruner none, "
                "or with --signals"
            )
        self.measures = tuple(name for name in MEASURES if name in found)

    def missing(self) -> str | None:
        """A sentence on what it cannot tell, or None."""
        rest = [name for name in MEASURES if name not in self.measures]
        if not rest:
            return None
        return (
            f"the artefact '{self.front_end.artefact.folder}' cannot tell {', '.join(rest)}, and the record will lack "
            "them; one of --pruner adaptive with --signals tells everything, and so does the model itself"
        )

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Images (b, 3, h, w) float32 to (b, measures) float64.

        Raises:
            OutputError: a number of an image is not finite.
        """
        most, least = self.front_end.manifest.batch.max, self.front_end.manifest.batch.min
        rows = []
        for start in range(0, len(pixels), most):
            few = pixels[start : start + most]
            padding = [few[-1:]] * (least - len(few))
            output, signals = self.front_end.see(np.concatenate([few, *padding]))
            rows.append(self._numbers(output, signals)[: len(few)])
        numbers = np.concatenate(rows)
        refuse_not_finite({name: numbers[:, place] for place, name in enumerate(self.measures)})
        return numbers

    def _numbers(self, output: Output, signals: Mapping[str, Array]) -> Array:
        found: dict[str, Array] = {}
        features = signals.get("projected", output.tokens if self._whole else None)
        if features is not None:
            table = np.array([of_features(one) for one in features.astype(np.float64)])
            found.update(zip(OF_FEATURES, table.T, strict=True))
        elif output.erank is not None:
            found[self._erank] = output.erank
        if "saliency" in signals:
            found["attention_entropy"] = np.array([entropy(one) for one in signals["saliency"].astype(np.float64)])
        elif output.attention_entropy is not None:
            found["attention_entropy"] = output.attention_entropy
        return np.stack([found[name] for name in self.measures], axis=-1).astype(np.float64)


def of_features(features: Array) -> list[float]:
    """The numbers of `OF_FEATURES` of (n, d) float64."""
    unit = features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-8)
    pairs = np.clip(1 - unit @ unit.T, 0, None)[np.triu_indices(len(features), 1)]
    if not len(pairs):
        pairs = np.zeros(1)
    near, median = min(len(pairs), max(NEAR * len(features) // 2, 1)), (len(pairs) + 1) // 2
    ordered = np.partition(pairs, sorted({near - 1, median - 1}))
    return [
        effective_rank(features - features.mean(axis=0)),
        effective_rank(features),
        float(pairs.mean()),
        float(ordered[near - 1]),
        float(ordered[median - 1]),
    ]


def effective_rank(features: Array) -> float:
    """Exponential of the entropy of the singular values' shares; 1 where all are 0."""
    gram = features @ features.T if len(features) <= features.shape[1] else features.T @ features
    values = np.sqrt(np.clip(np.linalg.eigvalsh(gram), 0, None))
    shares = values[values > 0] / max(values.sum(), np.finfo(float).tiny)
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 1.0


def entropy(weights: Array) -> float:
    """Of attention (n,), in nats."""
    shares = weights / max(weights.sum(), np.finfo(float).tiny)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())
