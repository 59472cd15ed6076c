"""One logged figure over training, one line per seed."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from maskwise.report.pictures import drawing

_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def draw(
    lines: Mapping[str, pd.Series],
    colours: Mapping[str, str],
    title: str,
    bounds: tuple[float, float] | None,
) -> Figure:
    """Draw each series over its index (epochs); dashes tell the seeds apart."""
    with drawing():
        figure = Figure(figsize=(4.4, 3.0))
        # Fixed margins: a layout engine would draw every one of these pictures twice.
        bottom = 0.32 if len(lines) > 1 else 0.18
        panel = figure.add_axes((0.15, bottom, 0.83, 0.88 - bottom))
        for turn, (label, values) in enumerate(lines.items()):
            panel.plot(
                values.index,
                values,
                color=colours[label],
                linestyle=_DASHES[turn % len(_DASHES)],
                label=label,
                marker="." if len(values) < 3 else None,
            )
        panel.set_title(title)
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        if bounds is not None:
            panel.set_ylim(bounds[0] - 0.03, bounds[1] + 0.03)
        if len(lines) > 1:
            figure.legend(loc="lower center", ncols=3)
    return figure
