"""A scan with the outlines drawn into it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion

from maskwise.prediction.dicom.objects import Author

DARKEST, BRIGHTEST = 0.5, 99.5
"""Percentiles that become black and white, where the model's images had no one window."""


def drawn(
    pixels: NDArray[Any], classes: NDArray[np.uint8], author: Author
) -> NDArray[np.uint8]:
    """Return ``(h, w, 3)``: the scan ``(h, w, c)``, and the rim of each class in its colour."""
    picture = _greys(pixels, author)
    for number in range(1, 1 + len(author.classes)):
        area = classes == number
        # What touches the border of the scan has a rim there, too.
        picture[area & ~binary_erosion(area)] = author.colour(number)
    return picture


def _greys(pixels: NDArray[Any], author: Author) -> NDArray[np.uint8]:
    if pixels.shape[2] == 3 and pixels.dtype == np.uint8:
        return pixels.copy()
    low, high = author.window or np.percentile(pixels, (DARKEST, BRIGHTEST))
    if not high > low:
        high = low + 1
    greys = ((pixels.astype(np.float64) - low) / (high - low)).clip(0, 1)
    return np.broadcast_to((greys * 255).round().astype(np.uint8), (*greys.shape[:2], 3)).copy()
