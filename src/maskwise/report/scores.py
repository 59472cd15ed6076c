"""What ``scores.json`` says, as a table."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

METRICS = {
    "macro_auroc": "macro AUROC",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "average_precision": "average precision",
    "calibration_error": "calibration error",
}
"""Metrics in print, in the page's order; one that is not listed keeps its own name."""
SMALLER_IS_BETTER = frozenset({"calibration_error"})


def read_scores(scores: Mapping[str, Any]) -> pd.DataFrame:
    """Return a row a recipe x mode x fraction x metric.

    Columns ``recipe, mode, fraction, metric, value, low, high``, then the interval with seeds
    alone resampled (``seeds_low``, ``seeds_high``) and with groups alone; of the calibration
    error ``if_perfect``; NaN for ``null``.
    """
    rows = [
        {
            "recipe": recipe,
            "mode": mode,
            "fraction": float(fraction),
            "metric": metric,
            **figures,
        }
        for recipe, modes in scores["scores"].items()
        for mode, fractions in modes.items()
        for fraction, metrics in fractions.items()
        for metric, figures in metrics.items()
    ]
    table = pd.DataFrame(rows)
    numbers = table.columns[4:]
    return table.astype(dict.fromkeys(numbers, float))
