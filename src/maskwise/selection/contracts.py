"""What a rule is to the stage: an order in which units are to be labelled."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from maskwise.array_types import Floats, Rows


@dataclass(frozen=True)
class Candidates:
    """Units, patients or single scans, as an encoder sees them."""

    vectors: Floats
    """``(N, F)``, each of length 1."""
    labelled: NDArray[np.bool_]
    """``(N,)``: labelled already."""
    free: NDArray[np.bool_]
    """``(N,)``: may be chosen; what is neither labelled nor free is looked at by nobody."""
    uncertainty: Floats | None = None
    """``(N,)`` between 0 and 1, of a model's predictions; NaN where it made none."""


@dataclass(frozen=True)
class Order:
    """The units that a rule would label, the first first."""

    rows: Rows
    figures: Floats
    """Of each, the number that it was chosen by when its turn came; NaN where there is none."""


class Rule(Protocol):
    """A frozen dataclass of options."""

    figure: ClassVar[str]
    """What ``Order.figures`` are, a column of the table; "" = nothing."""
    asks_a_model: ClassVar[bool]
    """Whether it needs ``Candidates.uncertainty``."""

    def order(self, candidates: Candidates, most: int, generator: np.random.Generator) -> Order:
        """Return ``most`` of the free units, fewer where there are fewer; each once."""
