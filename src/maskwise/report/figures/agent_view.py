"""What a policy looked at: masks and its map over probe images, at moments of training."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from maskwise.artefacts.gallery import Gallery
from maskwise.report.pictures import drawing

_HIDDEN = "#ff8c1a"
_LESION = "#35d6f0"


def draw(gallery: Gallery, moments: NDArray[np.int64], images: NDArray[np.int64]) -> Figure:
    """Draw a column a moment; for each image a row of masks and, where there is one, of maps.

    ``moments`` and ``images`` are positions in the gallery's arrays.
    """
    with_maps = gallery.maps.size > 0
    rows = len(images) * (2 if with_maps else 1)
    with drawing():
        figure = Figure(figsize=(1.25 * len(moments) + 0.1, 1.25 * rows + 0.35))
        figure.subplots_adjust(0.005, 0.005, 0.995, 1 - 0.33 / (1.25 * rows + 0.35), 0.04, 0.04)
        panels = figure.subplots(rows, len(moments), squeeze=False)
        for column, moment in enumerate(moments):
            panels[0, column].set_title(
                f"epoch {gallery.epochs[moment]}", loc="center", size=10
            )
            for row, image in enumerate(images):
                line = row * (2 if with_maps else 1)
                _scan(panels[line, column], gallery, (int(moment), int(image)))
                if with_maps:
                    _map(panels[line + 1, column], gallery, (int(moment), int(image)))
    return figure


def _scan(panel: Axes, gallery: Gallery, at: tuple[int, int]) -> None:
    panel.imshow(gallery.images[at[1]], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    _outline(panel, gallery, at)
    _bare(panel)


def _map(panel: Axes, gallery: Gallery, at: tuple[int, int]) -> None:
    """Draw the map with each place at the centre of its box, on a scale of its own."""
    height, width = gallery.images.shape[1:]
    gh, gw = gallery.masks.shape[2:]
    values = gallery.maps[at].astype(np.float32)
    ph, pw = values.shape
    top, left = (gh - ph) / 2 * height / gh, (gw - pw) / 2 * width / gw
    panel.set_facecolor("#00204d")  # the lower end of cividis: no box has its centre there
    panel.imshow(
        values,
        cmap="cividis",
        extent=(left - 0.5, width - left - 0.5, height - top - 0.5, top - 0.5),
        interpolation="nearest",
    )
    _outline(panel, gallery, at)
    panel.set_xlim(-0.5, width - 0.5)
    panel.set_ylim(height - 0.5, -0.5)
    _bare(panel)


def _outline(panel: Axes, gallery: Gallery, at: tuple[int, int]) -> None:
    mask, lesion = gallery.masks[at], gallery.lesions[at[1]]
    height, width = gallery.images.shape[1:]
    scale_y, scale_x = height / mask.shape[0], width / mask.shape[1]
    if lesion.any():
        panel.contour(lesion.astype(float), levels=[0.5], colors=_LESION, linewidths=1.1)
    pixels = np.kron(mask, np.ones((round(scale_y), round(scale_x))))
    if _is_box(mask):
        ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        corner = (xs[0] * scale_x - 0.5, ys[0] * scale_y - 0.5)
        sides = (len(xs) * scale_x, len(ys) * scale_y)
        panel.add_patch(Rectangle(corner, *sides, fill=False, edgecolor=_HIDDEN, linewidth=1.8))
    elif mask.any() and not mask.all():
        panel.contour(pixels, levels=[0.5], colors=_HIDDEN, linewidths=1.5)


def _is_box(mask: NDArray[np.bool_]) -> bool:
    return bool(mask.any()) and bool(mask[np.ix_(mask.any(axis=1), mask.any(axis=0))].all())


def _bare(panel: Axes) -> None:
    panel.set_xticks([])
    panel.set_yticks([])
    panel.grid(visible=False)
    for spine in panel.spines.values():
        spine.set_visible(False)
