"""What a task says about itself, and what it hands on; it may learn as it likes in between."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol, runtime_checkable

import pandas as pd

Mode = Literal["probe", "full", "knn"]


@runtime_checkable
class TaskConfig(Protocol):
    """What a task's YAML name stands for; a frozen dataclass of the task's own options."""

    scored_as: ClassVar[str]
    """What its predictions are to `evaluate` and `report`: a name in
    ``evaluate.tasks.TASKS``, ``report.tasks.WORDS`` and ``report.sections.SHOWN``."""
    model: ClassVar[str]
    """Block of its models' metadata, a name in ``prediction.stage.MODEL_KINDS``."""
    modes: ClassVar[tuple[Mode, ...]]
    """What it can be learnt by."""
    trained: ClassVar[tuple[Mode, ...]]
    """Modes that take optimiser steps; the others are solved in closed form."""
    needs_label: ClassVar[bool]
    """Whether the source must name a label in ``preprocess.label``."""


@dataclass(frozen=True)
class Finetuned:
    """What the stage hands on."""

    subsets: pd.DataFrame
    """``tables.SUBSETS``."""
    predictions: pd.DataFrame
    """``tables.PREDICTIONS``, then the task's own columns, as the models gave them."""
    write_models: Callable[[Path], None]
