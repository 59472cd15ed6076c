"""Cover the pool: next is what lies farthest from all that is labelled or chosen.

Greedy k-centre of Sener and Savarese, "Active learning for convolutional neural networks: a
core-set approach" (ICLR 2018), algorithm 1; at most twice as far from its centre as in the best
choice lies any scan. Theirs looks at the features of a network that was trained on the labels
so far, ours at those of an encoder that stays.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from maskwise.array_types import Floats
from maskwise.selection.contracts import Candidates, Order


@dataclass(frozen=True)
class KCentre:
    """Where nothing is labelled yet, the first is drawn at random."""

    figure: ClassVar[str] = "distance"
    """To the nearest that is labelled or was chosen before, between 0 and 2."""
    asks_a_model: ClassVar[bool] = False

    def order(self, candidates: Candidates, most: int, generator: np.random.Generator) -> Order:
        vectors, free = candidates.vectors, candidates.free.copy()
        rows: list[int] = []
        figures: list[float] = []
        nearest = np.full(len(vectors), np.inf)  # to any that is labelled or chosen, squared
        for known in np.flatnonzero(candidates.labelled):
            np.minimum(nearest, _squares(vectors, vectors[known]), out=nearest)
        if not candidates.labelled.any() and free.any() and most:
            rows.append(int(generator.choice(np.flatnonzero(free))))
            figures.append(float("nan"))
            free[rows[0]] = False
            nearest = _squares(vectors, vectors[rows[0]])
        while len(rows) < most and free.any():
            row = int(np.where(free, nearest, -1.0).argmax())
            rows.append(row)
            figures.append(float(np.sqrt(nearest[row])))
            free[row] = False
            np.minimum(nearest, _squares(vectors, vectors[row]), out=nearest)
        return Order(np.array(rows, np.int64), np.array(figures, np.float64))


def _squares(vectors: Floats, one: Floats) -> Floats:
    """Return the squared distance of each row to ``one``; all have length 1."""
    squares: Floats = np.maximum(2.0 - 2.0 * (vectors @ one), 0.0)
    return squares
