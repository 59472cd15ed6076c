"""What every image, and every unit of several images, counts in every draw."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from maskwise.array_types import Floats
from maskwise.evaluate.resampling import Draws
from maskwise.weighted import shared_weight

Weigh = Literal["group", "image"]


@dataclass(frozen=True)
class TestSet:
    """The test images of one repetition, in the order of their ids."""

    image_ids: NDArray[np.object_]
    """``(n,)``."""
    truth: NDArray[np.int64]
    """``(n,)``, codes of the task's ``kinds``."""
    group: NDArray[np.int64]
    """``(n,)``, rows of the draws' group counts."""
    unit: NDArray[np.int64]
    """``(n,)``, from 0: images of one number are scored together as well, where the task does
    so; a unit lies in one group."""


@dataclass(frozen=True)
class Weights:
    """Of one test set; both arrays are made when they are asked for."""

    test: TestSet
    draws: Draws
    weigh: Weigh

    @cached_property
    def images(self) -> Floats:
        """``(n, D)``."""
        return self._of(self.test.group)

    @cached_property
    def units(self) -> Floats:
        """``(U, D)``."""
        _, first = np.unique(self.test.unit, return_index=True)
        return self._of(self.test.group[first])

    def _of(self, group: NDArray[np.int64]) -> Floats:
        """Return what a row counts, times how often its group was drawn."""
        weights: Floats = own_weight(group, self.weigh)[:, None] * self.draws.groups[group]
        return weights


def own_weight(group: NDArray[np.int64], weigh: Weigh) -> Floats:
    """Return what each row counts by itself, ``(n,)``: 1, or 1 / (rows of its group)."""
    if weigh == "image":
        return np.ones(len(group))
    return shared_weight(group)
