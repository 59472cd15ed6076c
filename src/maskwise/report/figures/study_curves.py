"""The figure for print: a metric over labelled images per class, told apart without colour."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from matplotlib.typing import RcKeyType

from maskwise.report.figures.label_efficiency import dodge, legend
from maskwise.report.formatting import share
from maskwise.report.pictures import drawing
from maskwise.report.styles import Style

_DASHES = ("-", "--", ":", "-.")
_FILLS = ("full", "none")
_PRINT: dict[RcKeyType, Any] = {
    "axes.labelsize": 8,
    "axes.titlesize": 8.5,
    "font.size": 8,
    "legend.fontsize": 7.5,
    # Long enough for dashes to show.
    "legend.handlelength": 3.2,
}
"""Points: what journals ask for at the width that the figure is drawn in."""
PANEL = (3.5, 2.9)
"""Inches: one column of a paper."""


def draw(
    scores: pd.DataFrame,
    images: Mapping[float, float],
    styles: Mapping[str, Style],
    titles: Mapping[str, str],
    axes: tuple[str, str],
    guessing: float | None = None,
) -> Figure:
    """Draw one panel per mode, one line per recipe, every point with its interval.

    Neighbours in the legend differ in dashes, and recipes that share a marker differ in dashes
    or filling, so that a grey copy can be read.

    Args:
        scores: ``recipe, mode, fraction, value, low, high`` of one metric.
        images: labelled training images at each fraction: of a class, where there are classes.
        styles: one style per recipe, in the order of the legend.
        titles: one title per mode, in the order of the panels.
        axes: what the horizontal and the vertical axis say.
        guessing: what knows nothing reaches, drawn as a line; None = there is no such value.
    """
    modes = [mode for mode in titles if mode in set(scores["mode"])]
    with drawing(_PRINT):
        size = (PANEL[0] * len(modes), PANEL[1] + 0.11 * len(styles))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, len(modes), squeeze=False, sharey=True)[0]
        for panel, mode in zip(panels, modes, strict=True):
            _panel(panel, scores[scores["mode"] == mode], images, styles)
            panel.set_title(titles[mode])
            panel.set_xlabel(axes[0])
            if guessing is not None:
                panel.axhline(guessing, color="#777777", linestyle=(0, (1, 3)), linewidth=0.8)
        panels[0].set_ylabel(axes[1])
        legend(figure, panels, columns=len(modes) + 1)
    return figure


def _panel(
    panel: Axes, rows: pd.DataFrame, images: Mapping[float, float], styles: Mapping[str, Style]
) -> None:
    fractions = sorted(set(rows["fraction"]))
    recipes = [name for name in styles if name in set(rows["recipe"])]
    looks = in_grey([styles[name].marker for name in recipes])
    offsets = dodge(len(recipes), [images[fraction] for fraction in fractions])
    for recipe, offset, (dashes, fill) in zip(recipes, offsets, looks, strict=True):
        points = rows[rows["recipe"] == recipe].sort_values("fraction")
        value = points["value"].to_numpy(float)
        whiskers = np.stack([value - points["low"], points["high"] - value])
        panel.errorbar(
            np.array([images[fraction] for fraction in points["fraction"]]) * offset,
            value,
            yerr=np.clip(np.nan_to_num(whiskers), 0, None),
            color=styles[recipe].colour,
            marker=styles[recipe].marker,
            linestyle=dashes,
            fillstyle=fill,
            label=styles[recipe].title,
            markersize=4.5,
            linewidth=1.1,
            elinewidth=0.8,
            capsize=1.8,
        )
    panel.set_xscale("log")
    places = [images[fraction] for fraction in fractions]
    ticks = [f"{images[fraction]:.0f}\n{share(fraction)}" for fraction in fractions]
    panel.set_xticks(places, ticks)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xlim(min(places) / 1.3, max(places) * 1.3)
    panel.grid(axis="x", visible=False)


def in_grey(markers: Sequence[str]) -> list[tuple[str, str]]:
    """Return dashes and filling for each line, which no other of its marker has."""
    first: dict[str, int] = {}
    looks = []
    for place, marker in enumerate(markers):
        turn = markers[:place].count(marker)
        dashes = (first.setdefault(marker, place) + turn) % len(_DASHES)
        looks.append((_DASHES[dashes], _FILLS[turn // len(_DASHES) % len(_FILLS)]))
    return looks
