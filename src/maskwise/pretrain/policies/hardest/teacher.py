"""A slow copy of the network says what is hard: the error of the cells that it fills in.

AnatoMask (Li et al., ECCV 2024), on any objective with an error per cell.
"""

import copy
import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from maskwise.masks import Grid, highest
from maskwise.pretrain.contracts import Batch, Objective, Outcome, Setting
from maskwise.pretrain.policies.momentum import Momentum, follow


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
        copied = copy.deepcopy(student)
        copied.draws_finer = False
        network = cast(nn.Module, copied).eval().requires_grad_(False)
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
