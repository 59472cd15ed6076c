"""Scans with two outlines: the true one and the network's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from maskwise.palette import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, YELLOW
from maskwise.report.pictures import drawing

TRUTH, CALLED = ORANGE, SKY
"""Of one class; told apart by the dashes as well."""
CLASSES = (ORANGE, SKY, GREEN, PURPLE, VERMILION, BLUE, YELLOW)
"""Of several: one colour per class, the network's line dashed."""
COLUMNS = 4


@dataclass(frozen=True)
class Panel:
    """One scan."""

    title: str
    scan: NDArray[np.float32]
    """``(H, W)``, intensities in [0, 1]."""
    truth: NDArray[np.bool_]
    """``(K, H, W)``."""
    called: NDArray[np.bool_]
    """``(K, H, W)``."""


def draw(panels: Sequence[Panel], classes: Sequence[str]) -> Figure:
    """Draw the panels in rows of ``COLUMNS``, and below them what the lines mean."""
    rows = -(-len(panels) // COLUMNS)
    with drawing():
        height = 1.95 * rows + 0.4
        figure = Figure(figsize=(6.8, height))
        figure.subplots_adjust(0.005, 0.4 / height, 0.995, 1 - 0.25 / height, 0.03, 0.16)
        axes = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
        for place in axes:
            place.set_axis_off()
        for place, panel in zip(axes, panels, strict=False):
            _draw(place, panel)
        figure.legend(
            handles=_legend(classes), loc="lower center", ncols=len(classes) + 2, fontsize=9
        )
    return figure


def _draw(place: Axes, panel: Panel) -> None:
    place.imshow(panel.scan, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    place.set_title(panel.title, loc="center", size=9, weight="normal")
    for number in range(len(panel.truth)):
        for mask, colour, line in (
            (panel.truth[number], _colour(number, len(panel.truth), TRUTH), "solid"),
            (panel.called[number], _colour(number, len(panel.truth), CALLED), (0, (3, 1.5))),
        ):
            if mask.any():
                # The rim lets the line of a lesion that is cut off by the image close.
                padded = np.pad(mask, 1).astype(float)
                sides = (np.arange(-1, side + 1) for side in mask.shape[::-1])
                place.contour(
                    *sides, padded, [0.5], colors=[colour], linestyles=[line], linewidths=1.3
                )
    height, width = panel.scan.shape
    place.set_xlim(-1, width)
    place.set_ylim(height, -1)


def _colour(number: int, classes: int, alone: str) -> str:
    return alone if classes == 1 else CLASSES[number % len(CLASSES)]


def _legend(classes: Sequence[str]) -> list[Line2D]:
    if len(classes) == 1:
        return [
            Line2D([], [], color=TRUTH, linestyle="solid", label="truth"),
            Line2D([], [], color=CALLED, linestyle="dashed", label="network"),
        ]
    grey = "#3d4852"
    return [
        Line2D([], [], color=grey, linestyle="solid", label="truth"),
        Line2D([], [], color=grey, linestyle="dashed", label="network"),
        *(
            Line2D([], [], color=_colour(number, len(classes), TRUTH), linewidth=4, label=name)
            for number, name in enumerate(classes)
        ),
    ]
