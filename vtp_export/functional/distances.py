"""How far apart the tokens of an image are: cosine distances of all pairs in three numbers."""

import torch
from torch import Tensor

from vtp_export.calibrations import NEAR
from vtp_export.functional.similarity import cosine_distance


def pair_distances(features: Tensor) -> Tensor:
    """Mean, near and median distance of the pairs of each image, see `calibrations.MEASURES`; zeros where none is.

    Args:
        features: (b, n, d) at least float32.

    Returns:
        (b, 3) in their dtype. Two of them are order statistics: distances of two of the tokens.
    """
    n = features.shape[-2]
    if n < 2:
        return features.new_zeros(len(features), 3)
    rows, columns = torch.triu_indices(n, n, 1, device=features.device)
    pairs = cosine_distance(features)[:, rows, columns]  # (b, n (n - 1) / 2)
    count = pairs.shape[-1]
    near, median = min(count, NEAR * n // 2), (count + 1) // 2
    return torch.stack([pairs.mean(-1), *(pairs.kthvalue(place, -1).values for place in (near, median))], -1)
