"""How often the policy explores: the probability of a random place, epsilon, over the run."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Epsilon:
    """``step`` is the release's: ``start`` for the first ``share`` of the steps, then ``end``.

    ``linear`` and ``cosine`` go from ``start`` to ``end`` within ``share``; ``const`` stays at
    ``end``. All values in [0, 1]; ``end`` is the floor.
    """

    schedule: Literal["const", "linear", "cosine", "step"] = "step"
    start: float = 1.0
    end: float = 0.05
    share: float = 0.2

    def __post_init__(self) -> None:
        for name in ("start", "end", "share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, but must lie in [0, 1]")

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
