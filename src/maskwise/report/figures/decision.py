"""Net benefit over the threshold from which on somebody would act (Vickers and Elkin 2006)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from maskwise.palette import BLUE, VERMILION
from maskwise.report.pictures import drawing

_COLOUR = BLUE


def draw(points: Sequence[Mapping[str, Any]], name: str) -> Figure:
    """Draw the curve of class ``name`` with its interval, and the two that ask no network."""
    at = np.array([one["threshold"] for one in points])
    value, low, high, everyone = (
        np.array([np.nan if one[key] is None else one[key] for one in points], float)
        for key in ("value", "low", "high", "treat_all")
    )
    top = float(np.nanmax([*value, *everyone, *high, 0.01]))
    with drawing():
        figure = Figure(figsize=(4.6, 4.6), layout="constrained")
        panel = figure.subplots()
        panel.axhline(0, color="#7f7f7f", linestyle="--", linewidth=1.3, label="act on none")
        panel.plot(at, everyone, color=VERMILION, linestyle=":", label="act on all")
        panel.fill_between(at, low, high, color=_COLOUR, alpha=0.18, linewidth=0)
        panel.plot(at, value, color=_COLOUR, label="act on the network's answer")
        panel.set_title(f"{name}: net benefit")
        panel.set_xlabel("threshold probability")
        panel.set_ylabel("net benefit per image")
        panel.set_xlim(0, 1)
        panel.set_ylim(-0.25 * top, 1.08 * top)
        figure.legend(loc="outside lower center", ncols=1)
    return figure
