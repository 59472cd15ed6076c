"""A slow copy of the network says what is hard: the error of the cells that it fills in.

AnatoMask (Li et al., ECCV 2024), on any objective with an error per cell. The decay follows the
run's length: at the papers' .999 per step, 240 steps leave 79 % of the first weights in the
copy.
"""

import copy
import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from maskwise.bounds import Decay, Within
from maskwise.masks import Grid, highest
from maskwise.pretrain.contracts import Batch, Objective, Outcome, Setting


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


class Teacher:
    """A copy of the objective that is never taught, only moved towards the one that is."""

    def __init__(
        self,
        setting: Setting,
        student: Objective,
        momentum: Momentum,
        number: int,
        passes: int,
    ) -> None:
        self.student, self.momentum, self.number = student, momentum, number
        self.passes, self.steps_per_epoch = passes, setting.steps_per_epoch
        network = cast(nn.Module, copy.deepcopy(student)).eval().requires_grad_(False)
        # The order that convolutions are fast in: a third less time on a CPU.
        self.network: nn.Module = cast(Any, network).to(memory_format=torch.channels_last)

    def difficulty(self, batch: Batch, tests: Tensor, grid: Grid) -> Tensor:
        """Return its errors ``(B, L)``, minus infinity where it was not tested.

        Tested are the cells of the highest ``tests`` ``(B, L)``, ``number`` a pass.
        """
        return self._errors(batch, tests, grid, self.passes)

    def opinion(self, batch: Batch, tests: Tensor, grid: Grid) -> Tensor:
        """Return its errors ``(B, L)`` in all cells, however many passes that takes."""
        return self._errors(batch, tests, grid, math.ceil(tests.shape[1] / self.number))

    def _errors(self, batch: Batch, tests: Tensor, grid: Grid, passes: int) -> Tensor:
        errors = torch.full_like(tests, -torch.inf)
        for _ in range(passes):
            # What was tested already is hidden again only where nothing else is left.
            unknown = errors == -torch.inf
            mask = highest(tests + unknown, self.number, grid)
            with torch.no_grad():
                outcome: Outcome = self.network(batch, mask)
            answer = outcome.error_map.flatten(1).nan_to_num(nan=-torch.inf)
            errors = torch.where(unknown, answer, errors)
        return errors

    def learn(self, batch: Batch, outcome: Outcome, before: float | None) -> dict[str, Tensor]:
        """Move towards the network; ``before`` is the progress when it last did."""
        decay = self.momentum.decay(before, batch.progress, self.steps_per_epoch)
        follow(self.network, cast(nn.Module, self.student), decay)
        return {}

    def state_dict(self) -> dict[str, Any]:
        return self.network.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state)

    def to(self, device: torch.device | str) -> None:
        self.network.to(device)


def follow(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """Make weights decay * the teacher's + (1 - decay) * the student's; copy the buffers.

    Running statistics of batch norm are averages already, and counters are no weights.
    """
    with torch.no_grad():
        average = get_ema_multi_avg_fn(decay)
        average(list(teacher.parameters()), list(student.parameters()), None)
        for ours, theirs in zip(teacher.buffers(), student.buffers(), strict=True):
            ours.copy_(theirs)
