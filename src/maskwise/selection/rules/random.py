"""Chance alone: what every other rule has to be better than."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from maskwise.selection.contracts import Candidates, Order


@dataclass(frozen=True)
class Random:
    """Every order is as likely as any other."""

    figure: ClassVar[str] = ""
    asks_a_model: ClassVar[bool] = False

    def order(self, candidates: Candidates, most: int, generator: np.random.Generator) -> Order:
        rows = generator.permutation(np.flatnonzero(candidates.free))[:most]
        return Order(rows.astype(np.int64), np.full(len(rows), np.nan))
