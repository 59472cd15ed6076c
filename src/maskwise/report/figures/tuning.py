"""A study in pictures: its history, what mattered, all trials at once, who was given up."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from maskwise.array_types import Floats
from maskwise.palette import BLUE, VERMILION
from maskwise.report.pictures import drawing

GREY = "#a3abb2"


def draw_history(trials: pd.DataFrame, metric: str) -> Figure:
    """Draw each complete trial's score, the best so far, and when others were given up."""
    complete = trials[trials["state"] == "complete"]
    given_up = trials[trials["state"] == "given up"]
    with drawing():
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        panel = figure.add_subplot()
        panel.plot(complete["trial"], complete["score"], "o", color=BLUE, label="complete")
        panel.step(
            complete["trial"],
            complete["score"].cummax(),
            where="post",
            color=VERMILION,
            label="best so far",
        )
        panel.plot(
            given_up["trial"],
            np.zeros(len(given_up)),
            "|",
            color=GREY,
            markersize=10,
            transform=panel.get_xaxis_transform(),
            clip_on=False,
            label="given up",
        )
        panel.set_xlabel("trial")
        panel.set_ylabel(f"{metric}, validation")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside lower center", ncols=3)
    return figure


def draw_importances(shares: Mapping[str, float]) -> Figure:
    """Draw each parameter's share of what scores differ by."""
    names = sorted(shares, key=lambda name: shares[name])
    with drawing():
        figure = Figure(figsize=(6.4, 0.9 + 0.38 * len(names)), layout="constrained")
        panel = figure.add_subplot()
        panel.barh(names, [100 * shares[name] for name in names], color=BLUE, height=0.6)
        panel.set_xlabel("% of what complete trials' scores differ by (fANOVA)")
        panel.grid(axis="y", visible=False)
        panel.set_axisbelow(True)
    return figure


def draw_curves(
    curves: Mapping[str, Mapping[str, float]], trials: pd.DataFrame, reports: int
) -> Figure:
    """Draw what each trial's first seed reported, and where others were given up."""
    states = dict(zip(trials["trial"], trials["state"], strict=True))
    labelled: set[str] = set()
    with drawing():
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        panel = figure.add_subplot()
        for trial, reported in curves.items():
            state = states.get(int(trial))
            if not reported or state not in ("complete", "given up"):
                continue
            steps = sorted(map(int, reported))
            values = [reported[str(step)] for step in steps]
            gone = state == "given up"
            panel.plot(
                steps,
                values,
                color=GREY if gone else BLUE,
                linewidth=1.2,
                marker="x" if gone else None,
                markevery=[len(steps) - 1] if gone else None,
                label=None if state in labelled else state,
            )
            labelled.add(str(state))
        panel.set_xlabel(f"report of the first seed's pre-training, of {reports}")
        panel.set_ylabel("nearest neighbours, validation")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def draw_parallel(trials: pd.DataFrame, parameters: Mapping[str, bool], metric: str) -> Figure:
    """Draw each trial as a line over the parameters' axes and the score.

    Args:
        trials: the table.
        parameters: path -> whether its axis is logarithmic.
        metric: what the score is called.
    """
    shown = trials[trials["state"].isin(["complete", "given up"])]
    axes = {path: _axis(shown[path], log) for path, log in parameters.items()}
    scores = shown["score"].to_numpy(np.float64)
    known = scores[np.isfinite(scores)]
    low, high = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    normalise, colours = Normalize(low, max(high, low + 1e-9)), colormaps["viridis"]
    places = np.stack([*(place for place, _ in axes.values()), normalise(scores)], axis=1)
    order = np.argsort(np.where(np.isfinite(scores), scores, -np.inf), kind="stable")
    with drawing({"axes.grid": False}):
        figure = Figure(figsize=(max(6.4, 2.1 * (len(axes) + 1)), 4.2), layout="constrained")
        panel = figure.add_subplot()
        for row in order:
            there = np.isfinite(places[row])
            complete = np.isfinite(scores[row])
            panel.plot(
                np.flatnonzero(there),
                places[row][there],
                color=colours(normalise(scores[row])) if complete else GREY,
                linewidth=1.6 if complete else 0.7,
                alpha=0.9 if complete else 0.5,
            )
        ticks = [
            *(each for _, each in axes.values()),
            [(0.0, f"{low:.3f}"), (1.0, f"{high:.3f}")],
        ]
        for place, marks in enumerate(ticks):
            panel.axvline(place, color="#5b6670", linewidth=0.8, zorder=0)
            for height, text in marks:
                panel.annotate(
                    text, (place, height), xytext=(4, 0), textcoords="offset points",
                    fontsize=8, bbox={"color": "white", "alpha": 0.8, "pad": 1}, va="center",
                )  # fmt: skip
        names = [path.rpartition(".")[2] for path in axes]
        panel.set_xticks(range(len(ticks)), [*names, metric])
        panel.set_yticks([])
        panel.set_xlim(-0.1, len(ticks) - 0.5)
        panel.spines["left"].set_visible(False)
    return figure


def _axis(values: pd.Series, log: bool) -> tuple[Floats, Sequence[tuple[float, str]]]:
    """Return each value's height in [0, 1], NaN where there is none, and the axis' marks."""
    if not pd.api.types.is_numeric_dtype(values):
        names = sorted(set(values) - {""})
        heights = {name: i / max(1, len(names) - 1) for i, name in enumerate(names)}
        places = np.array([heights.get(value, np.nan) for value in values])
        return places, [(height, str(_read(name))) for name, height in heights.items()]
    numbers = values.to_numpy(np.float64)
    found = numbers[np.isfinite(numbers)]
    if not len(found):
        return numbers, []
    low, high = found.min(), found.max()
    scaled, ends = (np.log(numbers), np.log([low, high])) if log else (numbers, [low, high])
    width = max(ends[1] - ends[0], 1e-12)
    return (scaled - ends[0]) / width, [(0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")]


def _read(name: str) -> str:
    """Return a choice without the quotes of JSON."""
    try:
        value = json.loads(name)
    except json.JSONDecodeError:
        return name
    return value if isinstance(value, str) else name
