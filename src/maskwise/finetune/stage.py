"""The stage: one encoder, all label fractions, the linear probe and full fine-tuning."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from torch import nn

from maskwise.artefacts.store import Store
from maskwise.finetune.cell import learn_full, learn_probe, predictions, prepare
from maskwise.finetune.models import Models
from maskwise.finetune.run import Budget, FinetuneConfig, FinetuneRun, parse_budget

__all__ = [
    "Budget",
    "FinetuneConfig",
    "FinetuneRun",
    "Finetuned",
    "finetune",
    "parse_budget",
]


@dataclass(frozen=True)
class Finetuned:
    """What the stage hands on."""

    subsets: pd.DataFrame
    predictions: pd.DataFrame
    """Probabilities as the models gave them, without temperature."""
    write_models: Callable[[Path], None]


def finetune(
    encoder: nn.Module, store: Store, splits: pd.DataFrame, run: FinetuneRun
) -> Finetuned:
    """Learn the source's task from every fraction of its labels, on top of ``encoder``.

    Args:
        encoder: with its ``EncoderMetadata`` as ``metadata``; it is left as it is.
        store: the source's images and labels.
        splits: which of them may be learnt from.
        run: the cell.

    Raises:
        UserError: if labels, classes or groups do not suffice, or the training diverges.
    """
    cell = prepare(encoder, store, splits, run)
    models, tables = Models(run.config.keep), []
    learners = {"probe": learn_probe, "full": learn_full}
    for fraction in run.fractions:
        labels = cell.labels(fraction)
        for mode in cell.modes:
            learnt = learners[mode](cell, labels)
            models.add(learnt.model, learnt.metadata, learnt.choice)
            tables.append(predictions(cell, learnt))
    return Finetuned(cell.subsets, pd.concat(tables, ignore_index=True), models.write)
