"""Planes made smaller or larger, as Pillow's ``Image.resize`` makes those of its mode F.

On x86 the two are equal to the bit, which a test holds. So whoever has NumPy prepares an image
exactly as the project did.
"""

import math
import threading
from functools import lru_cache
from itertools import accumulate
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Filter = Literal["triangle", "box"]
"""How what lies under a pixel is weighed: less with the distance (Pillow's BILINEAR), or all
alike (BOX)."""

_REACH: dict[Filter, float] = {"triangle": 1.0, "box": 0.5}
"""How far a filter reaches, in pixels of the smaller of the two planes."""
_AT_ONCE = 2**17
"""Numbers that are weighed at once, a megabyte: they should stay in a core's cache."""

_CROWDED = 512
"""Bytes: numbers that lie such a multiple apart get into each other's way in the cache, as the
columns of an image of 512 pixels do."""
_APART = 8
"""Numbers by which they are moved apart."""


def resized(plane: Plane, height: int, width: int, kind: Filter) -> Plane:
    """Return ``plane`` ``(h, w)`` as ``(height, width)``; sums are in double precision.

    One axis follows the other, with float32 between them. The columns come first, but where the
    height shrinks by more than twice what the width does (so since Pillow 13).
    """
    h, w = plane.shape
    if h > height and h - height > 2 * (w - width):
        return _rows(_rows(plane, height, kind).T, width, kind).T
    return _rows(_rows(plane.T, width, kind).T, height, kind)


def _rows(plane: Plane, new: int, kind: Filter) -> Plane:
    """Turn ``(n, m)`` into ``(new, m)``."""
    old, m = plane.shape
    if old == new:
        return plane
    if m == 1:  # of a single column einsum adds the taps in another order
        return _rows(plane.repeat(2, axis=1), new, kind)[:, :1]
    pieces, weights = _taps(old, new, kind)
    result = np.empty((new, m), np.float32)
    step = math.ceil(m / math.ceil(m / max(16, _AT_ONCE // pieces.size)))
    part, under, sums, apart = _SCRATCH.shaped(
        (old, step), (*pieces.shape, step), (new, step), (step, old + _APART)
    )
    # (new, 1 or 2, taps, step): row n is made of the piece n, or of n and the one behind.
    piece, tap, column = under.strides
    seen = as_strided(under, (*weights.shape, step), (piece, piece, tap, column))
    for first in range(0, m, step):
        columns = slice(min(first, m - step), min(first + step, m))
        if plane.strides[1] % _CROWDED:
            part[...] = plane[:, columns]
        else:
            apart[:, :old] = plane[:, columns].T
            part[...] = apart[:, :old].T
        part.take(pieces, axis=0, out=under, mode="clip")
        # einsum adds tap by tap, as Pillow does; a product of matrices has an order of its own.
        result[:, columns] = np.einsum("nptm,npt->nm", seen, weights, out=sums)
    return result


class _Scratch(threading.local):
    """Memory that a thread keeps: to get it from the system takes longer than to fill it."""

    def __init__(self) -> None:
        self._numbers = np.empty(0)

    def shaped(self, *shapes: tuple[int, ...]) -> list[NDArray[np.float64]]:
        """Return arrays of these shapes, whose values are of earlier use."""
        ends = list(accumulate(map(math.prod, shapes)))
        if ends[-1] > len(self._numbers):
            self._numbers = np.empty(ends[-1])
        parts = zip([0, *ends], ends, shapes, strict=False)
        return [self._numbers[start:end].reshape(shape) for start, end, shape in parts]


_SCRATCH = _Scratch()


@lru_cache(maxsize=256)
def _taps(old: int, new: int, kind: Filter) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return rows in pieces ``(pieces, taps)``, and weights ``(new, 1 or 2, taps)`` of them.

    As ``precompute_coeffs`` of Pillow's ``Resample.c``, operation by operation.
    """
    scale = old / new
    shrinking = max(scale, 1.0)
    reach = _REACH[kind] * shrinking
    centre = (np.arange(new) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + reach + 0.5).astype(np.int64), old)
    rows = first[:, None] + np.arange((end - first).max())
    distance = (rows - centre[:, None] + 0.5) * (1.0 / shrinking)
    if kind == "box":
        weights = ((distance > -0.5) & (distance <= 0.5)).astype(np.float64)
    else:
        weights = np.maximum(1.0 - np.abs(distance), 0.0)
    weights *= rows < end[:, None]
    total = np.zeros(new)
    for tap in weights.T:
        total += tap
    weights /= np.where(total == 0, 1.0, total)[:, None]
    halved = _halved(first, end, weights, scale) if kind == "triangle" and scale > 1 else None
    return (np.minimum(rows, old - 1), weights[:, None]) if halved is None else halved


def _halved(
    first: NDArray[np.int64], end: NDArray[np.int64], weights: NDArray[np.float64], scale: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """Return pieces and weights of windows that overlap by half, so that no row is taken twice.

    A piece reaches from the start of a window to that of the next. None where two of them are
    not a whole window, as its ends are rounded.
    """
    new, old = len(first), int(end[-1])
    starts = (np.arange(new + 2) + 0.5) * scale - scale + 0.5
    borders = np.clip(np.floor(starts).astype(np.int64), 0, old)
    pieces = borders[:-1, None] + np.arange((borders[1:] - borders[:-1]).max())
    own = pieces < borders[1:, None]
    rows = np.stack([pieces[:-1], pieces[1:]], axis=1)  # (new, 2, taps)
    inside = np.stack([own[:-1], own[1:]], axis=1)
    inside &= (rows >= first[:, None, None]) & (rows < end[:, None, None])
    if np.count_nonzero(inside) < (end - first).sum():
        return None
    place = np.where(inside, rows - first[:, None, None], 0)
    found = weights[np.arange(new)[:, None, None], place]
    return np.minimum(pieces, old - 1), np.where(inside, found, 0.0)
