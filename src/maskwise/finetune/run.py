"""What a run of the stage is asked to do: YAML becomes these."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from maskwise.finetune.contracts import Mode, TaskConfig
from maskwise.finetune.diagnosis.probe import ProbeConfig
from maskwise.finetune.models import Keep
from maskwise.finetune.optimisation import FullConfig
from maskwise.finetune.subsets import Validation


@dataclass(frozen=True)
class FinetuneConfig:
    """What all sources and recipes share."""

    modes: tuple[Mode, ...] = ("probe", "full")
    """An encoder without parameters gets only the probe."""
    validation: Validation = "subset"
    """``subset``: validation labels shrink with the fraction; ``full``: they do not."""
    keep: Keep = "best"
    """Which models are written."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    full: FullConfig = field(default_factory=FullConfig)

    def __post_init__(self) -> None:
        if not self.modes or len(set(self.modes)) < len(self.modes):
            raise ValueError("modes should hold probe, full or both, each once")


@dataclass(frozen=True)
class Budget:
    """What a source says: the task, and how long each network is trained for it."""

    # pydantic takes the task as it is: `parse_budget` has parsed it by its name.
    __pydantic_config__: ClassVar[dict[str, Any]] = {"arbitrary_types_allowed": True}

    task: TaskConfig
    steps: int
    """Optimiser steps of whatever takes any, the same at every fraction."""
    batch_size: int = 32
    """Images."""
    learning_rates: tuple[float, ...] = (0.001,)
    """Tried in turn, each for all steps; validation chooses at each fraction."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise ValueError("steps and batch_size should be 1 or more")
        if not self.learning_rates or min(self.learning_rates) <= 0:
            raise ValueError("learning_rates should hold at least one number, all above 0")

    def planned_steps(self, fractions: int, config: FinetuneConfig) -> int:
        """Return the optimiser steps of one cell, of an encoder that has parameters."""
        trained = sum(mode in self.task.trained for mode in config.modes)
        return fractions * trained * len(self.learning_rates) * self.steps


@dataclass(frozen=True)
class FinetuneRun:
    """One cell."""

    budget: Budget
    config: FinetuneConfig
    fractions: tuple[float, ...]
    source: str
    recipe: str
    seed: int
