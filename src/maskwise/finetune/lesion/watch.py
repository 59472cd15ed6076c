"""How long a network trains: until validation images are outlined no better."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor, nn

from maskwise.progress import Bar


class Look(NamedTuple):
    """How validation images are outlined; of two, the larger is the better one."""

    dice: float
    """Mean over classes of that of units, as ``unit_dice`` counts."""
    gain: float
    """The negative of the loss; it decides where Dice is equal, as before any outline."""


@dataclass
class Watch:
    """Looks at every ``every``-th step and the last, and keeps the weights that did best."""

    network: nn.Module
    every: int
    patience: int
    """Looks in a row without a better one after which training stops; 0 = never."""
    steps: int
    look: Callable[[], Look]
    shown: Bar
    best: Look | None = None
    best_step: int = 0
    made: int = 0
    """Steps."""

    def __post_init__(self) -> None:
        self._weights: dict[str, Tensor] = {}
        self._in_vain = 0

    def stops_after(self, made: int) -> bool:
        """Look, if it is time; say whether to stop."""
        self.made = made
        if made % self.every and made < self.steps:
            return False
        found = self.look()
        if not np.isfinite(found.gain):
            self.best = found  # whoever trains says what is wrong
            return True
        if self.best is None or found > self.best:
            self.best, self.best_step, self._in_vain = found, made, 0
            self._weights = {
                name: tensor.clone() for name, tensor in self.network.state_dict().items()
            }
        else:
            self._in_vain += 1
        self.shown.say(
            f"validation Dice {found.dice:.3f} (best {self.best.dice:.3f}, step "
            f"{self.best_step})"
        )
        return 0 < self.patience <= self._in_vain and made < self.steps

    def restore(self) -> None:
        """Give the network the weights that did best, if any did."""
        if self._weights:
            self.network.load_state_dict(self._weights)


def unit_dice(
    counts: pd.DataFrame, units: NDArray[np.object_], groups: NDArray[np.object_]
) -> float:
    """Return the mean over classes of the Dice of units, groups weighing the same.

    Args:
        counts: ``tp_<class>``, ``fp_<class>`` and ``fn_<class>`` of each image.
        units: what each image is a part of; the pixels of a unit count together.
        groups: of the same images; a unit lies in one of them.

    Where a unit shows nothing of a class, its Dice is 1 if nothing was called, else 0.
    """
    names = [name.removeprefix("tp_") for name in counts if name.startswith("tp_")]
    pixels = counts.groupby(units).sum()
    group = pd.Series(groups).groupby(units).first()
    scores = []
    for name in names:
        tp, fp, fn = (pixels[f"{kind}_{name}"] for kind in ("tp", "fp", "fn"))
        dice = (2 * tp / (2 * tp + fp + fn)).fillna(1.0)
        scores.append(dice.groupby(group).mean().mean())
    return float(np.mean(scores))
