"""How complex images are to a model, by the code that an artefact runs."""

from dataclasses import dataclass

import numpy as np
import torch

from vtp_export.functional.attention import attention_entropy
from vtp_export.functional.tokens import Tokens
from vtp_export.graphs.eager import EagerSession
from vtp_export.pruners._complexity import SIGNALS as SIGNALS
from vtp_export.pruners._complexity import complexity_of
from vtp_export.runtime.session import refuse_not_finite


@dataclass(frozen=True)
class Complexity:
    """Of one image: effective rank with and without the mean taken out, and attention entropy in nats."""

    erank: float
    erank_uncentred: float
    attention_entropy: float


@torch.inference_mode()
def complexities(session: EagerSession, pixels: np.ndarray) -> list[Complexity]:
    """Of each image.

    Args:
        session: of a frontend that gives `SIGNALS`.
        pixels: (b, 3, h, w) float32.

    Raises:
        OutputError: a number of an image is not finite.
    """
    tokens = session.encode(pixels, SIGNALS)
    columns = {
        "erank": complexity_of("erank", tokens, True).cpu().numpy(),
        "erank_uncentred": complexity_of("erank", tokens, False).cpu().numpy(),
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
