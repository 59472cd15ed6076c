"""ROC curves of one class against the others, one line per recipe, averaged over seeds."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from maskwise.report.pictures import drawing
from maskwise.report.styles import Style

_RATES = np.linspace(0, 1, 101)


def draw(predictions: pd.DataFrame, name: str, styles: Mapping[str, Style]) -> Figure:
    """Draw class ``name`` from test rows ``recipe, seed, truth, weight, p_<name>``."""
    with drawing():
        figure = Figure(figsize=(4.6, 5.6), layout="constrained")
        panel = figure.subplots()
        panel.plot(
            [0, 1], [0, 1], color="#9aa5ad", linestyle=":", linewidth=1.2, label="chance"
        )
        for recipe, style in styles.items():
            rows = predictions[predictions["recipe"] == recipe]
            if len(rows):
                panel.plot(
                    _RATES, _mean_curve(rows, name), color=style.colour, label=style.title
                )
                panel.plot(
                    _RATES[10::20],
                    _mean_curve(rows, name)[10::20],
                    color=style.colour,
                    marker=style.marker,
                    linestyle="none",
                    markersize=5,
                )
        panel.set_title(f"{name} against the rest")
        panel.set_xlabel("share of the others called so")
        panel.set_ylabel(f"share of “{name}” found")
        panel.set_aspect("equal")
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def _mean_curve(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Average the seeds' curves at equal false-positive rates."""
    curves = []
    for _, seed in rows.groupby("seed"):
        false, true, _ = roc_curve(
            seed["truth"] == name, seed[f"p_{name}"], sample_weight=seed["weight"]
        )
        curves.append(np.interp(_RATES, false, true))
    mean = np.mean(curves, axis=0)
    mean[0] = 0.0
    return np.asarray(mean)
