"""One picture of the data: counts, sizes, intensities, duplicates, rejects, file facts."""

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from maskwise.artefacts.labels import LABEL, label_columns
from maskwise.palette import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, YELLOW

COLOURS = (
    BLUE,
    ORANGE,
    GREEN,
    PURPLE,
    SKY,
    VERMILION,
    YELLOW,
    BLACK,
)
_POINTS = 5000
"""Sizes drawn as points; of more, every n-th."""
_CLASSES = 12


def draw(images: pd.DataFrame, summary: dict[str, Any], title: str) -> bytes:
    """Return a PNG of six panels; the same data, the same bytes."""
    figure = Figure(figsize=(12, 7), dpi=100)
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    # Fixed margins: a layout engine takes longer than everything else in the picture.
    figure.subplots_adjust(0.07, 0.09, 0.98, 0.9, wspace=0.42, hspace=0.4)
    panels: tuple[Callable[[Axes, pd.DataFrame, dict[str, Any]], None], ...] = (
        _counts,
        _sizes,
        _intensities,
        _duplicates,
        _rejects,
        _audit,
    )
    for axes, panel in zip(figure.subplots(2, 3).flat, panels, strict=True):
        panel(axes, images, summary)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A class named in letters that the font lacks is drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _counts(axes: Axes, images: pd.DataFrame, summary: dict[str, Any]) -> None:
    axes.set_title("Images per class and official split")
    labels = summary["labels"]
    if not labels:
        axes.bar(["unlabelled"], [summary["images"]], color=COLOURS[0])
        return
    classes = dict(list(next(iter(labels.values())).items())[:_CLASSES])
    parts = list(next(iter(classes.values()))["by_split"])
    names, bottom = [_literal(name) for name in classes], np.zeros(len(classes))
    for part, colour in zip(parts, COLOURS, strict=False):
        heights = np.array([counts["by_split"][part] for counts in classes.values()])
        axes.bar(names, heights, bottom=bottom, label=part, color=colour)
        bottom += heights
    axes.tick_params(axis="x", rotation=30 if len(classes) > 3 else 0)
    axes.legend(fontsize="small")


def _sizes(axes: Axes, images: pd.DataFrame, summary: dict[str, Any]) -> None:
    axes.set_title("Sizes")
    axes.set_xlabel("width (pixels)")
    axes.set_ylabel("height (pixels)")
    for (name, rows), colour in zip(_by_class(images), COLOURS, strict=False):
        sizes = rows[["width", "height"]].drop_duplicates()
        shown = sizes.iloc[:: max(1, len(sizes) // _POINTS)]
        axes.scatter(shown["width"], shown["height"], s=8, alpha=0.5, color=colour, label=name)
    axes.legend(fontsize="small")


def _intensities(axes: Axes, images: pd.DataFrame, summary: dict[str, Any]) -> None:
    axes.set_title("Mean intensity of an image")
    axes.set_xlabel("stored units")
    axes.set_ylabel("share of the class's images")
    values = images["intensity_mean"]
    edges = list(np.linspace(values.min(), max(values.max(), values.min() + 1e-6), 31))
    for (name, rows), colour in zip(_by_class(images), COLOURS, strict=False):
        weights = np.full(len(rows), 1 / max(1, len(rows)))
        means = rows["intensity_mean"]
        axes.hist(means, edges, weights=weights, histtype="step", color=colour, label=name)
    axes.legend(fontsize="small")


def _duplicates(axes: Axes, images: pd.DataFrame, summary: dict[str, Any]) -> None:
    axes.set_title("Sets of duplicates, by their number of images")
    sizes = summary["duplicates"]["sets_by_size"]
    if not sizes:
        _say(axes, "no duplicates found")
        return
    places = range(len(sizes))
    axes.bar(places, list(sizes.values()), color=COLOURS[0])
    axes.set_xticks(places, list(sizes))
    axes.set_xlabel("images in the set")
    axes.set_ylabel("sets")


def _rejects(axes: Axes, images: pd.DataFrame, summary: dict[str, Any]) -> None:
    axes.set_title("Files that were not taken, by reason")
    reasons = summary["rejects"]["by_reason"]
    if not reasons:
        _say(axes, "every file was taken")
        return
    axes.barh(list(reasons), [entry["files"] for entry in reasons.values()], color=COLOURS[1])
    axes.tick_params(axis="y", labelsize="small")
    axes.set_xlabel("files")


def _audit(axes: Axes, images: pd.DataFrame, summary: dict[str, Any]) -> None:
    axes.set_title("What file facts alone predict")
    audits = {
        label: facts
        for label, facts in summary["file_facts_audit"].items()
        if facts["auroc"] is not None
    }
    if not audits:
        _say(axes, "no label to predict")
        return
    for place, facts in enumerate(audits.values()):
        asked = (("known", facts), ("unknown", facts["without_bytes"]))
        for row, (name, found) in enumerate(asked):
            value, low, high = (found[key] for key in ("auroc", "low", "high"))
            axes.errorbar(
                [value],
                [place + 0.1 - 0.2 * row],
                xerr=[[max(0.0, value - low)], [max(0.0, high - value)]],
                fmt="o",
                color=COLOURS[row],
                capsize=4,
                label=name if not place else None,
            )
    axes.legend(fontsize="small", title="bytes of the file", loc="lower left")
    axes.axvline(0.5, color="#666666", linestyle="--")
    axes.set_yticks(range(len(audits)), list(audits))
    axes.set_ylim(-0.5, len(audits) - 0.5)
    axes.set_xlim(0.0, 1.0)
    axes.set_xlabel("AUROC with its 95 % interval; 0.5 = nothing")


def _by_class(images: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    columns = label_columns(images)
    if not columns:
        return [("all", images)]
    values = images[columns[0]].fillna("unlabelled")
    name = columns[0].removeprefix(LABEL)
    classes = sorted(values.unique())
    return [(_literal(f"{name}: {value}"), images[values == value]) for value in classes]


def _literal(text: str) -> str:
    """Keep a class name from being read as a formula."""
    return text.replace("$", r"\$")


def _say(axes: Axes, sentence: str) -> None:
    axes.text(0.5, 0.5, sentence, ha="center", va="center", transform=axes.transAxes)
    axes.set_axis_off()
