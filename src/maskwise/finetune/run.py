"""What a run of the stage is asked to do: YAML becomes these."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from maskwise.bounds import BatchSize, LearningRate, Length, Steps
from maskwise.config import Choice, parse
from maskwise.device import Device
from maskwise.errors import UserError, hint
from maskwise.finetune.classification.knn import KnnConfig
from maskwise.finetune.classification.probe import ProbeConfig
from maskwise.finetune.contracts import Mode, TaskConfig
from maskwise.finetune.models import Keep
from maskwise.finetune.optimisation import FullConfig
from maskwise.finetune.subsets import Validation


@dataclass(frozen=True)
class FinetuneConfig:
    """What all sources and recipes share."""

    modes: tuple[Mode, ...] = ("probe", "full")
    """An encoder without parameters gets none that trains it."""
    validation: Validation = "subset"
    """``subset``: validation labels shrink with the fraction; ``full``: they do not."""
    keep: Keep = "best"
    """Which models are written."""
    device: Device = "auto"
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    knn: KnnConfig = field(default_factory=KnnConfig)
    full: FullConfig = field(default_factory=FullConfig)

    def __post_init__(self) -> None:
        if not self.modes or len(set(self.modes)) < len(self.modes):
            raise ValueError("modes should hold some of probe, full and knn, each once")
        if self.full.pooling == "attentive" and self.probe.pooling != "mean":
            raise ValueError(
                f"full.pooling is attentive, which begins as the mean, but probe.pooling is "
                f"{self.probe.pooling}, whose solution the training begins with; set "
                "probe.pooling: mean"
            )


@dataclass(frozen=True)
class Budget:
    """What a source says: the task, and how long each network is trained for it."""

    task: Annotated[TaskConfig, Choice(lambda: _tasks())]
    steps: Steps
    """Optimiser steps of whatever takes any, the same at every fraction."""
    batch_size: BatchSize = 32
    """Images."""
    learning_rates: Annotated[tuple[LearningRate, ...], Length(1, 100)] = (0.001,)
    """Tried in turn, each for all steps; validation chooses at each fraction."""

    def planned_steps(self, fractions: int, config: FinetuneConfig) -> int:
        """Return the optimiser steps of one replicate, of an encoder that has parameters."""
        trained = sum(mode in self.task.trained for mode in config.modes)
        return fractions * trained * len(self.learning_rates) * self.steps


def _tasks() -> dict[str, type[TaskConfig]]:
    from maskwise.finetune.tasks import TASKS  # whose tasks take a run

    return {name: task.config for name, task in TASKS.items()}


def check_modes(task: TaskConfig, config: FinetuneConfig, where: str) -> None:
    """Raise ``UserError`` where a mode is asked for that the task, at ``where``, lacks."""
    for mode in config.modes:
        if mode not in task.modes:
            raise UserError(
                f"finetune.modes: {mode} is no mode of the task at {where}; take it out, or "
                f"{hint('', task.modes)}"
            )


def parse_budget(block: Any, where: str) -> Budget:
    """Parse a source's block; its ``task`` is chosen by name."""
    return parse(Budget, block, where)


@dataclass(frozen=True)
class FinetuneRun:
    """One replicate."""

    budget: Budget
    config: FinetuneConfig
    fractions: tuple[float, ...]
    source: str
    recipe: str
    seed: int
