"""How often the policy explores: the probability of a random place, epsilon, over the run."""

import math
from dataclasses import dataclass
from typing import Literal

from maskwise.bounds import Share


@dataclass(frozen=True)
class Epsilon:
    """``step`` is the release's: ``start`` for the first ``share`` of the steps, then ``end``.

    ``linear`` and ``cosine`` go from ``start`` to ``end`` within ``share``; ``const`` stays at
    ``end``. All values in [0, 1]; ``end`` is the floor.
    """

    schedule: Literal["const", "linear", "cosine", "step"] = "step"
    start: Share = 1.0
    end: Share = 0.05
    share: Share = 0.2

    def at(self, progress: float) -> float:
        """Return epsilon after the share ``progress`` in [0, 1) of the training steps."""
        if self.schedule == "const" or progress >= self.share:
            return self.end
        done = progress / self.share
        if self.schedule == "step":
            done = 0.0
        elif self.schedule == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return self.start + (self.end - self.start) * done
