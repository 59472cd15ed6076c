"""Mask lift and content lift of one recipe over training, with the controls beside them."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from maskwise.palette import BLUE, GREEN, VERMILION
from maskwise.report.pictures import drawing

LINES = {
    "lift": ("mask lift", BLUE, "-"),
    "content_lift": ("content lift", VERMILION, "-"),
}
CONTROLS = {
    "lift_oracle": ("oracle", "#5b6670", ":"),
    "lift_variance": ("most variance", "#5b6670", (0, (5, 1, 1, 1, 1, 1))),
    "lift_mean_map": ("its mean map", "#a7723a", (0, (1, 1))),
    "lift_centre": ("centre", "#5b6670", "-."),
    "lift_uniform": ("uniform", "#5b6670", "--"),
}


def draw(histories: Mapping[int, pd.DataFrame], title: str) -> Figure:
    """Draw the seeds' histories of one recipe: the interval of one, the spread of several."""
    with drawing():
        figure = Figure(figsize=(5.4, 4.1), layout="constrained")
        panel = figure.subplots()
        panel.axhline(0, color="#1d2730", linewidth=1.0)
        for column, (label, colour, _) in LINES.items():
            _measured(panel, histories, column, (label, colour))
        first = next(iter(histories.values()))
        for column, (label, colour, dashes) in CONTROLS.items():
            if column in first and first[column].notna().any():
                mean = _over_seeds(histories, column).mean(axis=1)
                panel.plot(mean.index, mean, color=colour, linestyle=dashes, label=label)
        _sparing(panel, histories)
        panel.set_title(title)
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_ylabel("lift")
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def _sparing(panel: Axes, histories: Mapping[int, pd.DataFrame]) -> None:
    """Shade what lies below masks anywhere, where the policy ends there."""
    ends = {
        column: float(table.mean(axis=1).iloc[-1])
        for column in ("lift", "lift_uniform")
        if not (table := _over_seeds(histories, column)).empty
    }
    if len(ends) == 2 and ends["lift"] < ends["lift_uniform"]:
        panel.axhspan(
            0,
            ends["lift_uniform"],
            color=GREEN,
            alpha=0.1,
            linewidth=0,
            label="spares the lesion",
        )


def _measured(
    panel: Axes, histories: Mapping[int, pd.DataFrame], column: str, look: tuple[str, str]
) -> None:
    label, colour = look
    table = _over_seeds(histories, column)
    if table.empty:
        return
    panel.plot(table.index, table.mean(axis=1), color=colour, label=label, linewidth=2.4)
    if len(histories) > 1:
        for _, values in table.items():
            panel.plot(table.index, values, color=colour, linewidth=0.8, alpha=0.55)
        return
    low, high = (_over_seeds(histories, f"{column}_{end}") for end in ("low", "high"))
    if not low.empty and not high.empty:
        panel.fill_between(
            low.index, low.iloc[:, 0], high.iloc[:, 0], color=colour, alpha=0.16, linewidth=0
        )


def _over_seeds(histories: Mapping[int, pd.DataFrame], column: str) -> pd.DataFrame:
    """Return ``column``, one row per epoch at which it was measured, one column per seed."""
    seeds = {
        seed: history.set_index("epoch")[column].dropna()
        for seed, history in histories.items()
        if column in history
    }
    return pd.DataFrame(seeds).sort_index()
