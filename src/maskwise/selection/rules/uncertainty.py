"""Take what a model is least sure of: once there is a model worth asking."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from maskwise.selection.contracts import Candidates, Order


@dataclass(frozen=True)
class Uncertainty:
    """Units of which the model said nothing come last; of equals the order is random."""

    figure: ClassVar[str] = "uncertainty"
    asks_a_model: ClassVar[bool] = True

    def order(self, candidates: Candidates, most: int, generator: np.random.Generator) -> Order:
        if candidates.uncertainty is None:
            raise ValueError("uncertainty needs a model's predictions")
        rows = generator.permutation(np.flatnonzero(candidates.free))
        unsure = candidates.uncertainty[rows]
        by = np.argsort(-np.where(np.isnan(unsure), -1.0, unsure), kind="stable")[:most]
        return Order(rows[by].astype(np.int64), unsure[by])
