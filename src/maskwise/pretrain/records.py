"""What a run records step by step, as tables and as the plain containers of a checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from maskwise.pretrain.diagnostics import Frame

COLUMNS = ("epoch", "step", "loss", "learning_rate", "gradient_norm")
"""First columns of every history."""
Report = Callable[[Mapping[str, float]], None]
"""What is told an epoch's row of the history when the epoch has ended."""


def averaged(figures: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Average the figures of a batch's parts, each over the parts that have it."""
    if len(figures) == 1:
        return figures[0]
    return {
        name: torch.stack([part[name] for part in figures if name in part]).mean()
        for name in {name: None for part in figures for name in part}
    }


def table_of(rows: list[dict[str, float]]) -> pd.DataFrame:
    """Return the history; a figure that came later is NaN before."""
    names = list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]))
    table = pd.DataFrame(rows, columns=names)
    return table.astype({"epoch": np.int64, "step": np.int64})


def plain(frame: Frame) -> dict[str, Any]:
    """Return a frame as tensors and plain values."""
    arrays = {f.name: getattr(frame, f.name) for f in fields(frame)}
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in arrays.items()
    }


def framed(plain: Mapping[str, Any]) -> Frame:
    """Take ``plain`` back."""
    values: dict[str, Any] = {
        name: value.numpy() if isinstance(value, Tensor) else value
        for name, value in plain.items()
    }
    return Frame(**values)
