"""A rule's units are taken, whole, while their scans fit into the budget."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from maskwise.array_types import Floats, Rows
from maskwise.cosine import of_length_one
from maskwise.errors import UserError
from maskwise.selection.contracts import Candidates, Rule
from maskwise.wording import count


@dataclass(frozen=True)
class Pool:
    """Scans, and which unit each belongs to: a patient, or the scan itself."""

    vectors: NDArray[np.float32]
    """``(N, F)``."""
    unit: Rows
    """``(N,)``, from 0."""
    done: NDArray[np.bool_]
    """``(N,)``: labelled already."""
    free: NDArray[np.bool_]
    """``(N,)``: may be chosen; no unit holds scans of both kinds."""
    unsure: Floats | None = None
    """``(N,)``: how unsure a model is, NaN where it said nothing."""

    @cached_property
    def sizes(self) -> Rows:
        """``(U,)``: scans of each unit that may be chosen."""
        sizes: Rows = np.bincount(self.unit[self.free], minlength=int(self.unit.max()) + 1)
        return sizes

    @cached_property
    def _middles(self) -> Floats:
        """``(U, F)``: the mean direction of a unit's scans, of length 1."""
        sums = np.zeros((len(self.sizes), self.vectors.shape[1]))
        seen = self.free | self.done
        np.add.at(sums, self.unit[seen], of_length_one(self.vectors[seen]))
        return of_length_one(sums)

    @cached_property
    def _labelled(self) -> NDArray[np.bool_]:
        return np.bincount(self.unit[self.done], minlength=len(self.sizes)) > 0

    @cached_property
    def _unsure(self) -> Floats | None:
        """``(U,)``: a unit's most unsure scan counts."""
        if self.unsure is None:
            return None
        most = np.full(len(self.sizes), -np.inf)
        known = self.free & ~np.isnan(self.unsure)
        np.maximum.at(most, self.unit[known], self.unsure[known])
        return np.where(np.isfinite(most), most, np.nan)

    def candidates(self, room: int, chosen: NDArray[np.bool_]) -> Candidates:
        """Return the units; one of more than ``room`` scans is not free, nor a chosen one."""
        labelled = self._labelled | chosen
        free = (self.sizes > 0) & (self.sizes <= room) & ~labelled
        return Candidates(self._middles, labelled, free, self._unsure)

    def scans(self, units: Rows) -> Rows:
        """Return the scans of ``units`` that may be chosen, unit by unit in their order."""
        turn = np.full(len(self.sizes), -1)
        turn[units] = np.arange(len(units))
        rows = np.flatnonzero(self.free & (turn[self.unit] >= 0))
        return rows[np.argsort(turn[self.unit[rows]], kind="stable")]


@dataclass(frozen=True)
class Turns:
    """The units that were chosen, the first first."""

    units: Rows
    figures: Floats
    """What each was chosen by, NaN where there is nothing."""


def choose(pool: Pool, rule: Rule, budget: int, generator: np.random.Generator) -> Turns:
    """Take units in the rule's order; one that no longer fits is passed over for the next.

    Raises:
        UserError: if no unit fits into the budget.
    """
    chosen = np.zeros(len(pool.sizes), bool)
    units: list[int] = []
    figures: list[float] = []
    room = budget
    while room:
        candidates = pool.candidates(room, chosen)
        if not candidates.free.any():
            break
        most = max(1, round(room / pool.sizes[candidates.free].mean()))
        order = rule.order(candidates, most, generator)
        for row, figure in zip(order.rows, order.figures, strict=True):
            if pool.sizes[row] <= room:
                units.append(int(row))
                figures.append(float(figure))
                chosen[row] = True
                room -= int(pool.sizes[row])
    if not units:
        smallest = int(pool.sizes[pool.sizes > 0].min())
        raise UserError(
            f"select.budget: {budget}, but the smallest patient or group without a label "
            f"has {count(smallest, 'scan')}; take a larger budget, or select.unit: scan"
        )
    return Turns(np.array(units, np.int64), np.array(figures, np.float64))
