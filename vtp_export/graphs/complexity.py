"""How complex images are to a model, by the code that an artefact runs."""

from dataclasses import dataclass

import numpy as np
import torch

from vtp_export.calibrations import MEASURES
from vtp_export.functional.attention import attention_entropy
from vtp_export.functional.distances import pair_distances
from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.eager import EagerSession
from vtp_export.pruners._complexity import SIGNALS as SIGNALS
from vtp_export.pruners._complexity import complexity_of
from vtp_export.runtime.session import refuse_not_finite


@dataclass(frozen=True)
class Complexity:
    """Of one image: effective rank of the features less their mean, and attention entropy in nats."""

    erank: float
    attention_entropy: float


class EagerEngine:
    """Measures everything that a calibration knows, of a graph as torch runs it.

    Args:
        session: of a frontend that gives `SIGNALS`.
    """

    name = "eager"
    measures: tuple[str, ...] = MEASURES

    def __init__(self, session: EagerSession) -> None:
        self.session = session

    @torch.inference_mode()
    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Images (b, 3, h, w) float32 to (b, 6) float64, in the order of `MEASURES`.

        Raises:
            OutputError: a number of an image is not finite.
        """
        tokens = self.session.encode(pixels, SIGNALS)
        assert tokens.projected is not None
        columns = [*_complexities(tokens), *pair_distances(at_least_float32(tokens.projected)).unbind(-1)]
        numbers = {name: column.double().cpu().numpy() for name, column in zip(MEASURES, columns, strict=True)}
        refuse_not_finite(numbers)
        return np.stack(list(numbers.values()), axis=-1)


def _complexities(tokens: Tokens) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return complexity_of("erank", tokens), complexity_of("erank", tokens, False), complexity_of("entropy", tokens)


def complexities(session: EagerSession, pixels: np.ndarray) -> list[Complexity]:
    """Of each image.

    Args:
        session: of a frontend that gives `SIGNALS`.
        pixels: (b, 3, h, w) float32.

    Raises:
        OutputError: a number of an image is not finite.
    """
    return complexities_of(session.encode(pixels, SIGNALS))


@torch.inference_mode()
def complexities_of(tokens: Tokens) -> list[Complexity]:
    """Of each image of a batch that was encoded.

    Args:
        tokens: with `SIGNALS`.

    Raises:
        OutputError: a number of an image is not finite.
    """
    columns = {
        "erank": complexity_of("erank", tokens).cpu().numpy(),
        "attention_entropy": complexity_of("entropy", tokens).cpu().numpy(),
    }
    refuse_not_finite(columns)
    return [Complexity(*map(float, numbers)) for numbers in zip(*columns.values(), strict=True)]


@torch.inference_mode()
def entropy_among(tokens: Tokens, view: int, kept: np.ndarray) -> float:
    """Entropy of the attention of one view among the candidates that were kept, in nats.

    Args:
        tokens: of a batch, with `saliency`.
        view: which one.
        kept: (m,) candidate positions; -1 is none.
    """
    assert tokens.saliency is not None
    return attention_entropy(tokens.saliency[view : view + 1, kept[kept >= 0]]).item()
