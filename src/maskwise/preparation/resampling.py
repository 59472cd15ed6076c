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
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Filter = Literal["triangle", "box"]
"""How what lies under a pixel is weighed: less with the distance (Pillow's BILINEAR), or all
alike (BOX)."""

_REACH: dict[Filter, float] = {"triangle": 1.0, "box": 0.5}
"""How far a filter reaches, in pixels of the smaller of the two planes."""
_AT_ONCE = 2**18
"""Numbers that are weighed at once, two megabytes: they should stay in a core's cache."""


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
    rows, weights = _taps(old, new, kind)
    result = np.empty((new, m), np.float32)
    step = min(m, max(16, _AT_ONCE // weights.size))
    for first in range(0, m, step):
        width = min(step, m - first)
        part, under, sums = _SCRATCH.shaped((old, width), (*rows.shape, width), (new, width))
        part[...] = plane[:, first : first + width]
        part.take(rows, axis=0, out=under, mode="clip")
        # einsum adds tap by tap, as Pillow does; a product of matrices has an order of its own.
        result[:, first : first + width] = np.einsum("tnm,tn->nm", under, weights, out=sums)
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
    """Return which rows each new one is made of, and their weights, both ``(taps, new)``.

    As ``precompute_coeffs`` of Pillow's ``Resample.c``, operation by operation.
    """
    scale = old / new
    shrinking = max(scale, 1.0)
    reach = _REACH[kind] * shrinking
    centre = (np.arange(new) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + reach + 0.5).astype(np.int64), old)
    rows = first + np.arange((end - first).max())[:, None]
    distance = (rows - centre + 0.5) * (1.0 / shrinking)
    if kind == "box":
        weights = ((distance > -0.5) & (distance <= 0.5)).astype(np.float64)
    else:
        weights = np.maximum(1.0 - np.abs(distance), 0.0)
    weights *= rows < end
    total = np.zeros(new)
    for tap in weights:
        total += tap
    weights /= np.where(total == 0, 1.0, total)
    return np.minimum(rows, old - 1), weights
