"""What the network was shown, what it filled in, and what was really there."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from maskwise.artefacts.gallery import Gallery
from maskwise.report.pictures import drawing

COLUMNS = {
    "scan": "gray",
    "shown to the network": "gray",
    "filled in": "gray",
    "missed by": "magma",
}
"""Titles and their scales of colour."""


def draw(gallery: Gallery, moment: int, images: NDArray[np.int64]) -> Figure:
    """Draw one row per image: the scan, the scan with its hole, the filling, the error.

    The filling is the network's own output in units of intensity. Nothing of the hidden
    original, such as its mean or contrast, is used to make it look better.
    """
    with drawing():
        height = 1.6 * len(images) + 0.35
        figure = Figure(figsize=(6.4, height))
        figure.subplots_adjust(0.005, 0.005, 0.995, 1 - 0.33 / height, 0.03, 0.03)
        panels = figure.subplots(len(images), len(COLUMNS), squeeze=False)
        for title, panel in zip(COLUMNS, panels[0], strict=True):
            panel.set_title(title, loc="center", size=10)
        for row, image in zip(panels, images, strict=True):
            pictures = _pictures(gallery, moment, int(image))
            for panel, picture, scale in zip(row, pictures, COLUMNS.values(), strict=True):
                panel.imshow(picture, cmap=scale, vmin=0, vmax=255, interpolation="nearest")
                panel.set_axis_off()
    return figure


def _pictures(gallery: Gallery, moment: int, image: int) -> tuple[NDArray[np.float32], ...]:
    scan = gallery.images[image].astype(np.float32)
    hidden = _to_pixels(gallery.masks[moment, image], scan.shape)
    filled = np.where(hidden, gallery.reconstructions[moment, image].astype(np.float32), scan)
    shown = np.where(hidden, np.float32(128), scan)
    return scan, shown, filled, np.abs(filled - scan)


def _to_pixels(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    cell = (shape[0] // mask.shape[0], shape[1] // mask.shape[1])
    return np.kron(mask, np.ones(cell)).astype(bool)
