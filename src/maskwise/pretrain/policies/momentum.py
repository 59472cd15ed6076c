"""A slow copy of a network: how slowly it follows, and how it does.

The decay follows the run's length: at the papers' .999 per step, 240 steps leave 79 % of the
first weights in the copy.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from maskwise.bounds import Decay, Within


@dataclass(frozen=True)
class Momentum:
    """How slowly the teacher follows the network that is trained."""

    scale: Literal["run", "steps"] = "run"
    """``run``: the decay is exp(-1 / tau), tau the greater of one epoch and ``memory`` of all
    steps. ``steps``: the papers' decay per step, whatever the run's length."""
    memory: Annotated[float, Within(0, 1, above=True)] = 0.05
    """Share of the run after which a weight counts 1/e; for ``scale: run``."""
    start: Decay = 0.999
    """Decay per step at the beginning; this and the next two for ``scale: steps``."""
    end: Decay = 0.9999
    """Decay per step after the ramp."""
    ramp: Annotated[float, Within(0, 1, above=True)] = 0.25
    """Share of the run in which the decay rises from ``start`` to ``end``."""

    def decay(self, before: float | None, now: float, steps_per_epoch: float) -> float:
        """Return the share of its old weights that the teacher keeps after a step.

        ``before`` and ``now`` are the run's progress at the last step and at this one. None
        before the first: the average begins with the network as it is then. Where a batch is
        cut into parts, the teacher follows once: progress has not moved for the others.
        """
        if before is None:
            return 0.0
        if now <= before:
            return 1.0
        if self.scale == "steps":
            return self.start + (self.end - self.start) * min(1.0, now / self.ramp)
        return math.exp(-min((now - before) / self.memory, 1 / steps_per_epoch))


def follow(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """Make weights decay * the teacher's + (1 - decay) * the student's; copy the buffers.

    Running statistics of batch norm are averages already, and counters are no weights.
    """
    with torch.no_grad():
        average = get_ema_multi_avg_fn(decay)
        average(list(teacher.parameters()), list(student.parameters()), None)
        for ours, theirs in zip(teacher.buffers(), student.buffers(), strict=True):
            ours.copy_(theirs)
