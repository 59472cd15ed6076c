"""Take what is typical of each cluster of the pool: for the first few labels.

TypiClust of Hacohen, Dekel and Weinshall, "Active learning on a budget: opposite strategies
suit high and low budgets" (ICML 2022): as many clusters as will be labelled (at most 500), from
the one with the fewest labels, of equals the largest, its most typical scan. Departure: where
every cluster has had its turn, the one with the fewest labels is next again, instead of the
first.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from maskwise.array_types import Floats, Rows
from maskwise.selection.contracts import Candidates, Order

MOST_CLUSTERS = 500
NEIGHBOURS = 20
"""By whose mean distance a scan's typicality is told; half the cluster where it is smaller."""
SMALL = 5
"""Clusters of so many or fewer are outliers, and passed over while there are larger ones."""
DISTANCES_AT_ONCE = 2**22
"""That are in memory: 32 MiB, however many scans a cluster has."""
EXACT = 50
"""Up to so many clusters k-means sees all scans in every step, beyond it some of them."""


@dataclass(frozen=True)
class Typicality:
    """Typicality is 1 / (mean distance to the nearest of the same cluster)."""

    figure: ClassVar[str] = "typicality"
    asks_a_model: ClassVar[bool] = False

    def order(self, candidates: Candidates, most: int, generator: np.random.Generator) -> Order:
        there = np.flatnonzero(candidates.free | candidates.labelled)
        most = min(most, int(candidates.free.sum()))
        if not most:
            return Order(np.zeros(0, np.int64), np.zeros(0))
        vectors, labelled = candidates.vectors[there], candidates.labelled[there]
        clusters = min(most + int(labelled.sum()), MOST_CLUSTERS, len(there))
        cluster = _clusters(vectors, clusters, generator)
        sizes = np.bincount(cluster, minlength=clusters)
        labels = np.bincount(cluster[labelled], minlength=clusters)
        free = candidates.free[there].copy()
        rows: list[int] = []
        figures: list[float] = []
        while len(rows) < most:
            left = np.bincount(cluster[free], minlength=clusters) > 0
            large = left & (sizes > SMALL)
            open_ = np.flatnonzero(large if large.any() else left)
            chosen = open_[np.lexsort((open_, -sizes[open_], labels[open_]))[0]]
            members = np.flatnonzero(free & (cluster == chosen))
            typical = typicality(vectors[members])
            best = int(typical.argmax())
            rows.append(int(there[members[best]]))
            figures.append(float(typical[best]))
            free[members[best]] = False
            labels[chosen] += 1
        return Order(np.array(rows, np.int64), np.array(figures, np.float64))


def typicality(vectors: Floats, at_once: int = DISTANCES_AT_ONCE) -> Floats:
    """Return the typicality of each of a cluster's ``(n, F)``, 0 of one that is alone.

    So many distances are in memory at once, or those of one scan.
    """
    scans = len(vectors)
    typical = np.zeros(scans)
    if scans < 2:
        return typical
    neighbours = max(1, min(NEIGHBOURS, scans // 2))
    step = max(1, at_once // scans)
    for start in range(0, scans, step):
        rows = np.arange(start, min(start + step, scans))
        squares = np.maximum(2.0 - 2.0 * (vectors[rows] @ vectors.T), 0.0)
        squares[rows - start, rows] = np.inf  # none is its own neighbour
        nearest = np.sqrt(np.partition(squares, neighbours - 1, axis=1)[:, :neighbours])
        typical[rows] = 1.0 / (nearest.mean(axis=1) + 1e-5)  # as the release has it
    return typical


def _clusters(vectors: Floats, clusters: int, generator: np.random.Generator) -> Rows:
    from sklearn.cluster import KMeans, MiniBatchKMeans  # takes a second to import

    seed = int(generator.integers(2**31))
    if len(np.unique(vectors, axis=0)) <= clusters:  # k-means would warn, and find no more
        return np.unique(vectors, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    if clusters <= EXACT:
        model = KMeans(clusters, n_init=10, random_state=seed)
    else:
        model = MiniBatchKMeans(clusters, batch_size=5_000, n_init=3, random_state=seed)
    return np.asarray(model.fit_predict(vectors), np.int64)
