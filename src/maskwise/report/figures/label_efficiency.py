"""The main figure: a metric over the number of labelled images, one line per recipe."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from maskwise.report.formatting import number_range, share
from maskwise.report.pictures import drawing
from maskwise.report.styles import Style


def draw(
    scores: pd.DataFrame,
    sizes: Mapping[float, tuple[int, int]],
    styles: Mapping[str, Style],
    titles: Mapping[str, str],
    axis: str,
    guessing: float | None = None,
) -> Figure:
    """Draw one panel per mode.

    Args:
        scores: ``recipe, mode, fraction, value, low, high`` of one metric.
        sizes: fewest and most labelled training images of each fraction, over seeds.
        styles: one style per recipe, in the order of the legend.
        titles: one title per mode, in the order of the panels.
        axis: name of the metric.
        guessing: what knows nothing reaches, drawn as a line; None = there is no such value.
    """
    modes = [mode for mode in titles if mode in set(scores["mode"])]
    with drawing():
        figure = Figure(figsize=(5.2 * len(modes), 4.6), layout="constrained")
        panels = figure.subplots(1, len(modes), squeeze=False, sharey=True)[0]
        for panel, mode in zip(panels, modes, strict=True):
            rows = scores[scores["mode"] == mode]
            _panel(panel, rows, sizes, styles)
            panel.set_title(titles[mode])
            if guessing is not None:
                panel.axhline(guessing, color="#777777", linestyle="--", linewidth=1, zorder=0)
                panel.annotate(
                    "guessing",
                    (1, guessing),
                    xycoords=("axes fraction", "data"),
                    xytext=(-3, 2),
                    textcoords="offset points",
                    ha="right",
                    color="#555555",
                    fontsize=8,
                )
        panels[0].set_ylabel(axis)
        legend(figure, panels, columns=2 * len(modes))
    return figure


def _panel(
    panel: Axes,
    rows: pd.DataFrame,
    sizes: Mapping[float, tuple[int, int]],
    styles: Mapping[str, Style],
) -> None:
    fractions = sorted(set(rows["fraction"]))
    middles = {fraction: sum(sizes[fraction]) / 2 for fraction in fractions}
    places = list(middles.values())
    recipes = [name for name in styles if name in set(rows["recipe"])]
    for offset, recipe in zip(dodge(len(recipes), places), recipes, strict=True):
        points = rows[rows["recipe"] == recipe].sort_values("fraction")
        x = np.array([middles[fraction] for fraction in points["fraction"]]) * offset
        value = points["value"].to_numpy(float)
        whiskers = np.stack([value - points["low"], points["high"] - value])
        panel.errorbar(
            x,
            value,
            yerr=np.clip(np.nan_to_num(whiskers), 0, None),
            color=styles[recipe].colour,
            marker=styles[recipe].marker,
            label=styles[recipe].title,
            markersize=6.5,
            elinewidth=1.3,
            capsize=2.5,
        )
    panel.set_xscale("log")
    ticks = [f"{share(f)}\n{number_range(*sizes[f])}" for f in fractions]
    panel.set_xticks(places, ticks)
    panel.set_xticks([], minor=True)
    panel.set_xlim(min(places) / 1.35, max(places) * 1.35)
    panel.set_xlabel("labelled training images")
    panel.grid(axis="x", visible=False)


def dodge(count: int, places: Sequence[float]) -> np.ndarray:
    """Return one factor per line, so that intervals at the same size stand side by side."""
    ratios = np.diff(np.log(sorted(set(places))))
    room = min(0.3, *(0.35 * ratios)) if len(ratios) else 0.3
    return np.exp(room * (np.arange(count) - (count - 1) / 2) / max(count, 1))


def legend(figure: Figure, panels: Sequence[Axes], columns: int) -> None:
    """Write one legend of all panels below them."""
    handles: dict[str, Artist] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=min(columns, max(len(handles), 1)),
    )
