"""How often a class was there by its stated probability, and how many answers that are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from maskwise.palette import BLUE, SKY
from maskwise.report.pictures import drawing

_COLOUR = BLUE


def draw(bins: Sequence[Mapping[str, Any]], name: str) -> Figure:
    """Draw the bins of class ``name``: observed shares above, numbers of answers below."""
    stated = np.array([one["stated"] for one in bins])
    observed, low, high = (
        np.array([_number(one["observed"][end]) for one in bins])
        for end in ("value", "low", "high")
    )
    with drawing():
        figure = Figure(figsize=(4.6, 5.6), layout="constrained")
        above, below = figure.subplots(2, height_ratios=(3, 1), sharex=True)
        above.plot([0, 1], [0, 1], color="#9aa5ad", linestyle=":", linewidth=1.2)
        above.vlines(stated, low, high, color=_COLOUR, linewidth=1.4)
        above.plot(stated, observed, color=_COLOUR, marker="o", markersize=5, linewidth=1.0)
        above.set_title(f"{name}: stated and observed")
        above.set_ylabel("share that shows it")
        above.set_ylim(-0.03, 1.03)
        left = np.array([one["from"] for one in bins])
        width = np.array([one["to"] - one["from"] for one in bins])
        answers = [one["n_answers"] for one in bins]
        below.bar(left, answers, width, align="edge", color=SKY, edgecolor="white")
        for place, number in zip(left + width / 2, answers, strict=True):
            below.annotate(
                f"{number:,}",
                (place, number),
                ha="center",
                va="bottom",
                fontsize=8,
                color="#1d2730",
            )
        below.set_ylim(0, 1.25 * max(answers))
        below.set_xlim(-0.02, 1.02)
        below.set_ylabel("answers")
        below.set_xlabel("stated probability")
    return figure


def _number(value: float | None) -> float:
    return np.nan if value is None else value
