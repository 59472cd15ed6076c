"""How the networks of an objective are optimised."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from torch import nn

from maskwise.bounds import BatchSize, Decay, LearningRate, Positive, Within
from maskwise.config import Choice
from maskwise.decay import divided, rate_shares
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Objective
from maskwise.pretrain.optimisers import OPTIMISERS, AdamwConfig, OptimiserConfig
from maskwise.pretrain.schedule import ScheduleName, learning_rate


@dataclass(frozen=True)
class OptimisationConfig:
    """The optimiser and its rates; weight decay spares what ``maskwise.decay`` names."""

    optimiser: Annotated[OptimiserConfig, Choice(lambda: OPTIMISERS)] = field(
        default_factory=AdamwConfig
    )
    learning_rate: LearningRate = 2e-3
    """At its peak."""
    weight_decay: Annotated[float, Within(0, 100)] = 0.05
    stage_decay: Annotated[float, Within(0, 1, above=True)] = 1.0
    """Learning rate of each of the encoder's stages, of a transformer each of its blocks, as a
    multiple of that of the one behind; what lies behind the last has the whole rate."""
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
    groups: list[dict[str, Any]] = []
    for share, named in _by_share(objective, config.stage_decay).items():
        decayed, spared = divided(named)
        groups.append({"params": decayed, "share": share})
        groups.append({"params": spared, "share": share, "weight_decay": 0.0})
    groups = [group for group in groups if group["params"]]
    return config.optimiser.build(groups, config.learning_rate, config.weight_decay)


def _by_share(
    objective: Objective, decay: float
) -> dict[float, list[tuple[str, nn.Parameter]]]:
    """Return the named parameters by their share of the learning rate, in order."""
    shares = rate_shares(objective.encoder.layers() if decay < 1 else [], decay)
    found: dict[float, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in objective.named_parameters():
        found.setdefault(shares.get(id(parameter), 1.0), []).append((name, parameter))
    return found
