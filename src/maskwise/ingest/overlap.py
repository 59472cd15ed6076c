"""How far the masks of two images agree; worker processes import it, so it knows no table."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskwise.scans.mask_files import read_mask
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.region import Region

_SIDE = 128
"""Pixels of the square to which two masks are scaled before they are compared."""

Outline = tuple[tuple[str, ...], int, Region | None]
"""The masks of an image, its frame, and which part of that it is."""


@dataclass(frozen=True)
class MaskComparison:
    """How masks are compared."""

    raw: Path
    max_pixels: int
    agreement: float
    """Intersection over union under which two masks of one picture contradict each other."""
    reading: Reading = DEFAULT


def overlap_of(how: MaskComparison, pair: tuple[Outline, ...]) -> float | None:
    """Return the overlap of the masks of two images, None where both are empty."""
    first, second = (_scaled(how, *outline) for outline in pair)
    return intersection_over_union(first, second)


@lru_cache(maxsize=128)
def _scaled(
    how: MaskComparison, paths: tuple[str, ...], frame: int, region: Region | None
) -> NDArray[np.bool_]:
    """Read a mask at one size; the few of the set of duplicates at hand are remembered."""
    mask = read_mask(how.raw, paths, frame, how.max_pixels, how.reading)
    mask = mask if region is None else region.cut(mask)
    scaled = Image.fromarray(mask).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
    return np.asarray(scaled)


def intersection_over_union(
    first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> float | None:
    """Return the IoU of two masks of one shape, or None where both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else None
