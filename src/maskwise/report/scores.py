"""What ``scores.json`` says, as a table."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

METRICS = {
    "macro_auroc": "macro AUROC",
    "micro_auroc": "micro AUROC",
    "macro_average_precision": "macro average precision",
    "micro_average_precision": "micro average precision",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "average_precision": "average precision",
    "calibration_error": "calibration error",
    "dice": "Dice",
    "iou": "IoU",
    "sensitivity": "sensitivity",
    "precision": "precision",
    "lesion_dice": "Dice where there is a lesion",
    "false_alarms": "false alarms",
    "hd95": "95 % Hausdorff distance",
    "asd": "average surface distance",
}
"""Metrics in print, in the page's order; one that is not listed keeps its own name."""
SMALLER_IS_BETTER = frozenset({"calibration_error", "hd95", "asd", "false_alarms"})
OF_LABEL = {"auroc": "AUROC", "average_precision": "average precision", "f1": "F1"}
"""Metrics of one label of several, which has its name behind: ``f1_<label>``."""
UNITS = ("volume", "group")
"""What a metric may be of, beside images: ``volume_dice``."""


def in_print(metric: str, scores: Mapping[str, Any]) -> str:
    """Return what a metric is called, a distance with its unit."""
    unit, _, name = metric.partition("_")
    if unit in UNITS and name in METRICS:
        return f"{unit} {in_print(name, scores)}"
    if metric in ("hd95", "asd"):
        return f"{METRICS[metric]} ({scores['distance_unit']})"
    if metric in of_labels(scores):
        kind = next(name for name in OF_LABEL if metric.startswith(f"{name}_"))
        return f"{OF_LABEL[kind]} of {metric.removeprefix(f'{kind}_')}"
    if metric.startswith("dice_"):
        return f"Dice of {metric.removeprefix('dice_')}"
    return METRICS.get(metric, metric)


def of_labels(scores: Mapping[str, Any]) -> list[str]:
    """Return the metrics that are of one label of several."""
    return [f"{kind}_{name}" for name in scores.get("scored", ()) for kind in OF_LABEL]


def in_order(metrics: Iterable[str]) -> list[str]:
    """Return the names, those of ``METRICS`` first: of images, then of units, then others."""
    found = set(metrics)
    known = [name for prefix in ("", *UNITS) for name in of_unit(prefix)]
    return [name for name in known if name in found] + sorted(found - set(known))


def of_unit(unit: str, metrics: Iterable[str] = METRICS) -> list[str]:
    """Return the metrics' names, of a unit where ``unit`` names one."""
    return [f"{unit}_{name}" if unit else name for name in metrics]


def rankings() -> list[str]:
    """Return the metrics that the page can rank recipes by: larger is better."""
    ranking = [name for name in METRICS if name not in SMALLER_IS_BETTER]
    return [name for unit in ("", *UNITS) for name in of_unit(unit, ranking)]


def smaller_is_better(scores: Mapping[str, Any]) -> set[str]:
    """Return the metrics of which less is more."""
    return set(scores.get("smaller_is_better", SMALLER_IS_BETTER))


def read_scores(scores: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row per recipe x mode x fraction x metric.

    Columns ``recipe, mode, fraction, metric, value, low, high``, then the interval with seeds
    alone resampled (``seeds_low``, ``seeds_high``) and with groups alone; of the calibration
    error ``if_perfect``, of outlines ``left_out``; NaN for ``null``.
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
