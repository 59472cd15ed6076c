"""Every recipe against the reference: paired differences with their intervals, one row each."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from maskwise.report.pictures import drawing
from maskwise.report.styles import Style


def draw(
    paired: pd.DataFrame,
    styles: Mapping[str, Style],
    words: tuple[str, str],
    bounds: tuple[float, float],
) -> Figure:
    """Draw ``recipe, difference, low, high``: one comparison per row, zero marked.

    Args:
        paired: the comparisons.
        styles: one style per recipe, in the order of the rows.
        words: title and horizontal axis.
        bounds: least and greatest value shown, the same in all pictures of a kind.
    """
    recipes = [name for name in styles if name in set(paired["recipe"])]
    rows = paired.set_index("recipe").loc[recipes]
    with drawing():
        figure = Figure(figsize=(5.4, 1.5 + 0.42 * len(recipes)), layout="constrained")
        panel = figure.subplots()
        panel.axvline(0, color="#1d2730", linewidth=1.2)
        for height, recipe in zip(np.arange(len(recipes))[::-1], recipes, strict=True):
            row, style = rows.loc[recipe], styles[recipe]
            whiskers = [[row["difference"] - row["low"]], [row["high"] - row["difference"]]]
            panel.errorbar(
                [row["difference"]],
                [height],
                xerr=np.clip(np.nan_to_num(np.array(whiskers, float)), 0, None),
                color=style.colour,
                marker=style.marker,
                markersize=7,
                capsize=3,
                linestyle="none",
            )
        panel.set_yticks(
            np.arange(len(recipes))[::-1], [styles[name].title for name in recipes]
        )
        panel.set_ylim(-0.6, len(recipes) - 0.4)
        panel.grid(axis="y", visible=False)
        # Where nothing differs at all there is still an axis to draw.
        margin = 0.04 * (bounds[1] - bounds[0]) or 0.01
        panel.set_xlim(bounds[0] - margin, bounds[1] + margin)
        panel.set_title(words[0])
        panel.set_xlabel(words[1])
    return figure
