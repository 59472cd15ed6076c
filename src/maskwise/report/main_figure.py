"""Label-efficiency curves of one metric: pictures for the page, one PNG for kedro-viz."""

import pandas as pd

from maskwise.report.facts import Facts
from maskwise.report.figures import label_efficiency
from maskwise.report.formatting import interval, number, share
from maskwise.report.pictures import Picture, as_svg, png_bytes

GUESSING = {"macro_auroc": 0.5}
"""Metric -> what knows nothing reaches, whatever the classes' shares."""


def efficiency(facts: Facts, metric: str, mode: str) -> Picture:
    """Draw one metric in one mode."""
    table = facts.scores[(facts.scores["metric"] == metric) & (facts.scores["mode"] == mode)]
    return _picture(facts, metric, table, mode)


def main_png(facts: Facts) -> bytes:
    """Draw all modes of the main metric side by side."""
    table = facts.scores[facts.scores["metric"] == facts.metric]
    titles = {mode: facts.mode_name(mode) for mode in facts.modes}
    axis = facts.metric_name
    if not facts.tells_training:
        axis += f"\n({facts.trainings};\nbars: test images only)"
    figure = label_efficiency.draw(
        table, facts.sizes, facts.styles, titles, axis, GUESSING.get(facts.metric)
    )
    return png_bytes(figure)


def _picture(facts: Facts, metric: str, rows: pd.DataFrame, mode: str) -> Picture:
    name, title = facts.in_print(metric), facts.mode_name(mode)
    heading = {mode: f"{name[0].upper()}{name[1:]}, {title.lower()}"}
    figure = label_efficiency.draw(
        rows, facts.sizes, facts.styles, heading, name, GUESSING.get(metric)
    )
    values = "; ".join(
        f"{facts.title(row['recipe'])} at {share(row['fraction'])}: {number(row['value'])} "
        f"{interval(row['low'], row['high'])}"
        for _, row in rows.iterrows()
    )
    alternative = f"{name} over the number of labelled images, {title.lower()}. {values}."
    caption = f"Bars are {facts.bars}; points are moved apart sideways to keep them readable."
    return as_svg(figure, alternative, caption)
