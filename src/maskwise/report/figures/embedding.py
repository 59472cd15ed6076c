"""A map of scans, coloured by what a column of their table says."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from maskwise.palette import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from maskwise.report.pictures import drawing

GREY = "#c5ccd2"
LOOKS = (
    (BLUE, "o"),
    (VERMILION, "^"),
    (GREEN, "s"),
    (PURPLE, "D"),
    (ORANGE, "v"),
    (SKY, "P"),
    (BLACK, "X"),
)
"""Each colour with a marker that says the same without it."""
LONGEST = 40
"""Characters of a value in the legend."""
FEW = 12
"""So many different numbers or fewer are classes."""


def draw_map(
    places: NDArray[np.float64],
    column: str | None,
    values: "pd.Series[Any] | None",
    explained: tuple[float, float] | None,
) -> Figure:
    """Draw points ``(N, 2)``; text is a colour each, numbers are a scale."""
    with drawing():
        figure = Figure(figsize=(8.4, 5.6), layout="constrained")
        panel: Any = figure.add_subplot()
        size = float(np.clip(16_000 / max(1, len(places)), 8, 40))
        if values is None:
            panel.scatter(
                places[:, 0], places[:, 1], s=size, color=LOOKS[0][0], alpha=0.75, linewidths=0
            )
        elif _is_scale(values):
            _draw_scale(figure, panel, places, values, column, size)
        else:
            for name, rows, (colour, marker) in _classes(values):
                panel.scatter(
                    *places[rows].T,
                    s=size,
                    color=colour,
                    marker=marker,
                    alpha=0.75,
                    linewidths=0,
                    label=f"{name} ({int(rows.sum()):,})",
                )
            figure.legend(loc="outside right upper", title=column, alignment="left")
        for axis, number in (("x", 0), ("y", 1)):
            share = (
                "" if explained is None else f" ({100 * explained[number]:.0f} % of variance)"
            )
            panel.set(**{f"{axis}label": f"axis {number + 1}{share}", f"{axis}ticks": []})
        panel.grid(visible=False)
    return figure


def _is_scale(values: "pd.Series[Any]") -> bool:
    numbers = pd.to_numeric(values, errors="coerce")
    return bool(numbers.notna().sum() == values.notna().sum() and numbers.nunique() > FEW)


def _draw_scale(
    figure: Figure,
    panel: Any,
    places: NDArray[np.float64],
    values: "pd.Series[Any]",
    column: str | None,
    size: float,
) -> None:
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
    known = np.isfinite(numbers)
    panel.scatter(*places[~known].T, s=size, color=GREY, linewidths=0)
    drawn = panel.scatter(
        *places[known].T, s=size, c=numbers[known], cmap="viridis", linewidths=0
    )
    figure.colorbar(drawn, ax=panel, label=column)


def _classes(
    values: "pd.Series[Any]",
) -> Iterator[tuple[str, NDArray[np.bool_], tuple[str, str]]]:
    """Yield each value, the commonest first, its rows and its look; unknown ones below all."""
    text = values.map(lambda value: None if pd.isna(value) else str(value))
    missing = text.isna().to_numpy()
    if missing.any():
        yield "not known", missing, (GREY, "o")
    tallies = text.value_counts()
    order = sorted(tallies.index, key=lambda name: (-tallies[name], name))
    own = order if len(order) <= len(LOOKS) else order[: len(LOOKS) - 1]
    others = ~missing & ~text.isin(own).to_numpy()
    if others.any():
        number = len(order) - len(own)
        yield f"{number} others", others, ("#7f7f7f", "o")
    for name, look in zip(own, LOOKS, strict=False):
        shown = name if len(name) <= LONGEST else f"{name[:LONGEST]}…"
        yield shown, text.eq(name).to_numpy(), look
