"""How the networks of an objective are optimised."""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch

from maskwise.bounds import BatchSize, Decay, LearningRate, Positive, Within
from maskwise.decay import by_decay
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Objective
from maskwise.pretrain.schedule import ScheduleName, learning_rate


@dataclass(frozen=True)
class OptimisationConfig:
    """AdamW; weight decay spares biases and norms."""

    learning_rate: LearningRate = 2e-3
    """At its peak."""
    weight_decay: Annotated[float, Within(0, 100)] = 0.05
    schedule: ScheduleName = "cosine"
    """After the warm-up: ``cosine`` to 0, or ``thirds``, the release's two steps of .33."""
    warm_up: Decay = 0.05
    """Share of the steps in which the learning rate rises."""
    clip_norm: Positive | None = 1.0
    """Longest gradient of a step; null = however long."""
    accumulate: BatchSize = 1
    """Parts into which a batch is cut to save memory; an objective sees one part at a time."""

    def check(self, batch_size: int) -> None:
        """Raise ``UserError`` unless a batch can be cut into equal parts."""
        if batch_size % self.accumulate:
            raise UserError(
                f"optimisation.accumulate: {self.accumulate} parts do not divide a batch of "
                f"{batch_size} images; choose a number that does"
            )

    @property
    def longest_gradient(self) -> float:
        """``clip_norm``, infinite where there is none."""
        return math.inf if self.clip_norm is None else self.clip_norm

    def part(self, batch_size: int) -> int:
        """Return how many images an objective sees at a time."""
        return batch_size // self.accumulate

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of ``step`` (from 0) of ``steps``."""
        return learning_rate(self.schedule, self.learning_rate, self.warm_up, step, steps)


def build_optimiser(config: OptimisationConfig, objective: Objective) -> torch.optim.Optimizer:
    """Return the optimiser of the objective's parameters; a policy has its own."""
    decayed, spared = by_decay(objective.named_parameters())
    groups: list[dict[str, Any]] = [
        {"params": decayed},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
    )
