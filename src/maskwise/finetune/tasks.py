"""The tasks by YAML name: a new one is its own files and one line here."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from maskwise.artefacts.store import Store
from maskwise.encoders.contract import Encoder
from maskwise.finetune.classification.replicate import learn as learn_labels
from maskwise.finetune.contracts import Finetuned, TaskConfig
from maskwise.finetune.diagnosis.task import DiagnosisConfig
from maskwise.finetune.lesion.config import LesionConfig
from maskwise.finetune.lesion.replicate import learn as learn_lesion
from maskwise.finetune.multilabel.task import MultilabelConfig
from maskwise.finetune.run import FinetuneRun

Learn = Callable[[Encoder, Store, pd.DataFrame, FinetuneRun], Finetuned]
"""Encoder, store, splits and run in; what was learnt at every fraction of the labels out."""


@dataclass(frozen=True)
class Task:
    """A task's options, and what learns it."""

    config: type[TaskConfig]
    learn: Learn


TASKS: dict[str, Task] = {
    "diagnosis": Task(DiagnosisConfig, learn_labels),
    "lesion": Task(LesionConfig, learn_lesion),
    "multilabel": Task(MultilabelConfig, learn_labels),
}


def learner(config: TaskConfig) -> Learn:
    """Return what learns the task that ``config`` stands for."""
    return next(task.learn for task in TASKS.values() if task.config is type(config))
