"""BAT, literally: merge the most similar attentive pair, cluster the others around density peaks."""

import math

import numpy as np

from vtp_export.reference._mixing import attention_count
from vtp_export.reference._objectives import coverage, mass
from vtp_export.reference._similarity import cosines, first_largest, snapped
from vtp_export.reference.base import Outcome, Settings, Signals, descending, taken

MAXIMISES = (mass(), coverage("hidden"))
WALK = True


def select(signals: Signals, settings: Settings) -> Outcome:
    """Attentive groups and clusters, by position of their anchors."""
    assert signals.saliency is not None
    n = signals.n
    keep = min(int(settings["keep"] or 0), n)
    count, complexity = attention_count(signals, settings, keep)
    weight = np.maximum(signals.saliency, 1e-9)
    order = descending(signals.saliency)
    attentive = min(math.floor(count * float(settings["spread"] or 0)), n - keep + count)
    groups = _paired([[i] for i in order[:attentive]], signals.hidden, weight, count)
    clusters = _clusters(sorted(order[attentive:]), signals.hidden, keep - count)
    members = sorted(groups + clusters)
    mix = np.zeros((keep, n))
    for row, group in enumerate(members):
        mix[row, group] = weight[group] / weight[group].sum()
    choices = taken("most attended of a group", [group[0] for group in groups], signals.saliency)
    choices += taken("centre of a cluster", [cluster[0] for cluster in clusters])
    return Outcome(np.array([group[0] for group in members]), complexity, mix, choices)


def _paired(groups: list[list[int]], features: np.ndarray, weight: np.ndarray, count: int) -> list[list[int]]:
    """Groups, the most attended member first, merged until `count` are left."""
    while len(groups) > count:
        means = np.array([weight[group] @ features[group] for group in groups])
        cosine = cosines(means)
        pairs = [(i, j) for i in range(len(groups)) for j in range(i + 1, len(groups))]
        i, j = pairs[first_largest([float(cosine[pair]) for pair in pairs])]
        groups = [*groups[:i], groups[i] + groups[j], *groups[i + 1 : j], *groups[j + 1 :]]
    return groups


def _clusters(tokens: list[int], features: np.ndarray, count: int) -> list[list[int]]:
    """`count` clusters of the tokens, the centre first; the tokens are ascending."""
    if count == 0:
        return []
    cosine = cosines(features)
    apart = (2 - 2 * cosine)[np.ix_(tokens, tokens)]
    sparsity = apart.mean(1)
    scores = np.zeros(len(tokens))
    order = np.lexsort((tokens, sparsity))  # the densest first, of equals the lowest position
    for turn, i in enumerate(order):
        separation = apart[i, order[:turn]].min() if turn else apart[i].max()
        scores[i] = math.exp(-2 * sparsity[i]) * separation
    centres = sorted(tokens[place] for place in descending(snapped(scores))[:count])
    clusters = {centre: [centre] for centre in centres}
    for i in tokens:
        if i not in clusters:
            clusters[centres[first_largest([float(cosine[i, centre]) for centre in centres])]].append(i)
    return list(clusters.values())
