"""Where on a mammogram the breast is: without labels, tape, frame and air.

Films that were scanned have no exact zero, so a threshold relative to the film's maximum tells
what is exposed; labels and tape are smaller than the breast and hang together with it by
threads at most.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

GRID = 256
"""Pixels of the longer side at most, on which the breast is looked for: its outline is as
coarse, so that a film of 5,000 rows takes no memory to speak of."""
EXPOSED = 0.08
"""Of the film's maximum: what is brighter is breast, label or tape. Between 0.05 and 0.1 the
322 films of mini-MIAS make no difference."""
THREAD = 192
"""Parts of the longer side: what is thinner than two of them connects nothing."""
EDGE = 0.05
"""Of the breast's width: what is compared of its left and its right end."""
LEAST, MOST = 0.01, 0.99
"""Share of the film that a breast takes."""


class Breast(NamedTuple):
    """What was found on a film ``(H, W)``."""

    piece: NDArray[np.bool_]
    """True = breast, of every ``step``-th pixel down and across."""
    step: int
    top: int
    left: int
    height: int
    """Pixels of the smallest box round it."""
    width: int
    on_left: bool
    """Whether the chest wall is on the left: there the breast is cut off straight, and reaches
    its box along more rows than with its tip."""

    def mask(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """Return which pixels of those rows and columns of the film are breast."""
        coarse, trimmed = zip(*map(self._coarse, (rows, columns)), strict=True)
        # Whole rows are copied last, which is far faster than one pixel at a time.
        wide = self.piece[coarse].repeat(self.step, axis=1)[:, trimmed[1]]
        found: NDArray[np.bool_] = wide.repeat(self.step, axis=0)[trimmed[0]]
        return found

    def _coarse(self, pixels: slice) -> tuple[slice, slice]:
        """Return the places that cover ``pixels``, and which of their pixels these are."""
        first, last = pixels.start // self.step, -(-pixels.stop // self.step)
        offset = pixels.start - first * self.step
        return slice(first, last), slice(offset, offset + pixels.stop - pixels.start)


def find_breast(pixels: NDArray[Any]) -> Breast | None:
    """Return the largest piece of the film that is exposed, its holes filled; None = nothing.

    ``pixels`` are ``(H, W, C)``, black = low.
    """
    from scipy import ndimage  # late: few files need it

    step = max(1, -(-max(pixels.shape[:2]) // GRID))
    coarse = pixels[::step, ::step].max(axis=2)
    exposed = coarse > EXPOSED * coarse.max()
    thickness = max(1, round(max(coarse.shape) / THREAD))
    pieces, found = ndimage.label(ndimage.binary_opening(exposed, iterations=thickness))
    if not found:
        return None
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0  # what is not exposed
    piece = ndimage.binary_fill_holes(pieces == sizes.argmax())
    if not LEAST < piece.mean() < MOST:
        return None
    return _of_film(piece, step, (pixels.shape[0], pixels.shape[1]))


def _of_film(piece: NDArray[np.bool_], step: int, shape: tuple[int, int]) -> Breast:
    """Return what was found on a grid of every ``step``-th pixel, on the film itself."""
    (top, bottom), (left, right) = (
        (int(hit[0]) * step, min((int(hit[-1]) + 1) * step, side))
        for hit, side in zip(
            (np.flatnonzero(piece.any(axis=axis)) for axis in (1, 0)), shape, strict=True
        )
    )
    across = piece[:, piece.any(axis=0)].sum(axis=0)
    edge = max(1, round(EDGE * len(across)))
    return Breast(
        piece=piece,
        step=step,
        top=top,
        left=left,
        height=bottom - top,
        width=right - left,
        on_left=bool(across[:edge].sum() > across[-edge:].sum()),
    )
