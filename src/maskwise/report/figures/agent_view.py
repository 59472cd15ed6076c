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
_NOWHERE = "#00204d"
"""The lower end of the map's colours: no place has its centre so near the edge."""
_GAP = 0.05
_INCHES = 1.25
Place = tuple[float, float]
"""Left and top of a tile of side 1."""


def draw(gallery: Gallery, moments: NDArray[np.int64], images: NDArray[np.int64]) -> Figure:
    """Draw one column per moment; for each image a row of masks and, if there is one, of maps.

    ``moments`` and ``images`` are positions in the gallery's arrays. All tiles stand in one
    panel, because one panel each would take seconds.
    """
    lines = 2 if gallery.maps.size else 1
    width = len(moments) * (1 + _GAP) - _GAP
    height = len(images) * lines * (1 + _GAP) - _GAP
    with drawing():
        figure = Figure(figsize=(_INCHES * width, _INCHES * (height + 0.25)))
        panel = figure.add_axes((0, 0, 1, height / (height + 0.25)))
        for column, moment in enumerate(moments):
            left = column * (1 + _GAP)
            words = f"epoch {gallery.epochs[moment]}"
            panel.text(left + 0.5, -0.05, words, ha="center", weight="bold", size=10)
            for row, image in enumerate(images):
                top = row * lines * (1 + _GAP)
                at = (int(moment), int(image))
                _scan(panel, gallery, at, (left, top))
                if lines == 2:
                    _map(panel, gallery, at, (left, top + 1 + _GAP))
        panel.set_xlim(0, width)
        panel.set_ylim(height, 0)
        panel.set_axis_off()
    return figure


def _scan(panel: Axes, gallery: Gallery, at: tuple[int, int], place: Place) -> None:
    left, top = place
    panel.imshow(
        gallery.images[at[1]],
        cmap="gray",
        vmin=0,
        vmax=255,
        interpolation="nearest",
        extent=(left, left + 1, top + 1, top),
    )
    _outline(panel, gallery, at, place)


def _map(panel: Axes, gallery: Gallery, at: tuple[int, int], place: Place) -> None:
    """Draw the map with each place at the centre of its box, on a scale of its own."""
    left, top = place
    gh, gw = gallery.masks.shape[2:]
    rows, columns = (
        _nearest(cells, int(side), int(gallery.map_stride), places)
        for cells, side, places in zip(
            (gh, gw), gallery.map_box, gallery.maps.shape[2:], strict=True
        )
    )
    values = gallery.maps[at].astype(np.float32)[np.ix_(rows, columns)]
    nowhere = (rows < 0)[:, None] | (columns < 0)
    # Below the images, which matplotlib draws at 0.
    panel.add_patch(Rectangle(place, 1, 1, facecolor=_NOWHERE, zorder=-1))
    panel.imshow(
        np.ma.masked_array(values, nowhere),
        cmap="cividis",
        interpolation="nearest",
        extent=(left, left + 1, top + 1, top),
    )
    _outline(panel, gallery, at, place)


def _nearest(cells: int, side: int, stride: int, places: int) -> NDArray[np.int64]:
    """Return for each half cell of an axis the place whose centre is nearest; -1 = none.

    Centres, ``side`` / 2 cells behind the first cell, may lie between two cells.
    """
    middles = (np.arange(2 * cells) + 0.5) / 2
    nearest = np.floor((middles - (side - stride) / 2) / stride).astype(np.int64)
    return np.where((nearest >= 0) & (nearest < places), nearest, -1)


def _outline(panel: Axes, gallery: Gallery, at: tuple[int, int], place: Place) -> None:
    mask, lesion = gallery.masks[at], gallery.lesions[at[1]]
    if lesion.any():
        _contour(panel, lesion, place, (_LESION, 1.1))
    if _is_box(mask):
        gh, gw = mask.shape
        ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        corner = (place[0] + xs[0] / gw, place[1] + ys[0] / gh)
        sides = (len(xs) / gw, len(ys) / gh)
        box = Rectangle(corner, *sides, fill=False, edgecolor=_HIDDEN, linewidth=1.8)
        panel.add_patch(box)
    elif mask.any() and not mask.all():
        _contour(panel, np.kron(mask, np.ones((4, 4))) > 0, place, (_HIDDEN, 1.5))


def _contour(
    panel: Axes, region: NDArray[np.bool_], place: Place, look: tuple[str, float]
) -> None:
    height, width = region.shape
    x = place[0] + (np.arange(width) + 0.5) / width
    y = place[1] + (np.arange(height) + 0.5) / height
    colour, line = look
    panel.contour(x, y, region.astype(float), levels=[0.5], colors=colour, linewidths=line)


def _is_box(mask: NDArray[np.bool_]) -> bool:
    rows, columns = mask.any(axis=1), mask.any(axis=0)
    return bool(mask.any()) and bool(mask[np.ix_(rows, columns)].all())
