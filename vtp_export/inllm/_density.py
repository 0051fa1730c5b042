"""Clusters by density peaks among nearest neighbours, and their means.

Source: Du et al., "Study on density peaks clustering based on k-nearest neighbors and principal component analysis"
(2016); with the constants of SparseVLM's release.
"""

import math

import torch
from torch import Tensor

from vtp_export.functional.precision import at_least_float32
from vtp_export.functional.ranking import best
from vtp_export.inllm._attention import order

TIE = 1e-6
"""Most that is added to a density, to tell equal ones apart."""


def cluster_means(states: Tensor, count: int) -> Tensor:
    """(count, d) the means of clusters, that of the strongest peak first.

    Args:
        states: (p, d), p >= count.
        count: how many clusters.
    """
    wide = at_least_float32(states)
    cluster, _ = clusters(wide, count)
    mine = torch.nn.functional.one_hot(cluster, count).to(wide.dtype)  # (p, count)
    means = mine.T @ wide / (mine.sum(0)[:, None] + TIE)
    return means.to(states.dtype)


def clusters(states: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(p,) cluster of each token, and (count,) the tokens at their centres, strongest peak first.

    A peak is dense, and far from what is denser. Density: exp of minus the mean square of the `count` least distances,
    a token's own of 0 among them.

    Args:
        states: (p, d), p >= count.
        count: how many.
    """
    distance = torch.cdist(states, states, compute_mode="donot_use_mm_for_euclid_dist") / math.sqrt(states.shape[-1])
    near = distance.topk(count, largest=False).values
    density = torch.exp(-near.square().mean(-1)) + TIE * falling(distance)
    denser = density[None, :] > density[:, None]
    apart = torch.where(denser, distance, distance.max()).amin(-1)
    centres = order(apart * density)[:count]
    cluster = best(-distance[:, centres])
    cluster[centres] = torch.arange(count, device=states.device)
    return cluster, centres


def falling(distance: Tensor) -> Tensor:
    """(p,) from just below 1 down to 0, by place: what stands for random numbers."""
    p = len(distance)
    return 1 - torch.arange(1, p + 1, device=distance.device, dtype=distance.dtype) / p
