"""The stage: one encoder, all label fractions, the source's task."""

import pandas as pd

from maskwise.artefacts.store import Store
from maskwise.device import choose_device, trains_in_half
from maskwise.encoders.contract import Encoder
from maskwise.finetune.contracts import Finetuned
from maskwise.finetune.run import (
    Budget,
    FinetuneConfig,
    FinetuneRun,
    check_modes,
    parse_budget,
)
from maskwise.finetune.tasks import learner
from maskwise.seeds import torch_stream

__all__ = [
    "Budget",
    "FinetuneConfig",
    "FinetuneRun",
    "Finetuned",
    "check_device",
    "finetune",
    "parse_budget",
]


def finetune(
    encoder: Encoder, store: Store, splits: pd.DataFrame, run: FinetuneRun
) -> Finetuned:
    """Learn the source's task from every fraction of its labels, on top of ``encoder``.

    Args:
        encoder: with its ``EncoderMetadata`` as ``metadata``; it is left as it is.
        store: the source's images and labels.
        splits: which of them may be learnt from.
        run: the replicate.

    Raises:
        UserError: if labels, classes or groups do not suffice, or the training diverges.
    """
    check_modes(run.budget.task, run.config, f"{run.source}.finetune.task")
    check_device(run.config)
    with torch_stream():
        return learner(run.budget.task)(encoder, store, splits, run)


def check_device(config: FinetuneConfig) -> None:
    """Raise ``HinderedError`` where this machine lacks the device or the precision."""
    device = choose_device(config.device, "finetune.device")
    trains_in_half(config.full.precision, device.type, "finetune.full.precision")
