"""One logged figure over training, a line a seed or a quantity."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from maskwise.report.pictures import drawing

_DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def draw(
    lines: Mapping[str, pd.Series], colours: Mapping[str, str], title: str, axis: str
) -> Figure:
    """Draw each series over its index (epochs); line styles repeat what colours say."""
    with drawing():
        figure = Figure(figsize=(4.2, 3.1), layout="constrained")
        panel = figure.subplots()
        for turn, (label, series) in enumerate(lines.items()):
            values = series.dropna()
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
        panel.set_ylabel(axis)
        if len(lines) > 1:
            figure.legend(loc="outside lower center", ncols=2)
    return figure
