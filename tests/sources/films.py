"""A mammogram in miniature: a breast on one edge, air, a label, tape and a frame."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

AIR, TISSUE, LABEL = 0.02, 0.4, 1.0
"""Of the largest value of the pixel type; scanned film has no exact zero."""


def film(
    height: int = 120,
    width: int = 80,
    on_left: bool = True,
    dtype: Any = np.uint8,
    seed: int = 0,
) -> NDArray[Any]:
    """Return a film ``(H, W)`` whose label stands in the upper corner opposite the breast."""
    rng = np.random.default_rng(seed)
    shares = np.full((height, width), AIR) + rng.uniform(0, 0.01, (height, width))
    shares[breast(height, width)] = TISSUE + rng.uniform(0, 0.2, breast(height, width).sum())
    shares[4 : 4 + height // 10, -width // 6 : -4] = LABEL
    shares[-2:] = LABEL  # the frame, thin as it is
    pixels = (shares * np.iinfo(dtype).max).astype(dtype)
    return pixels if on_left else np.ascontiguousarray(pixels[:, ::-1])


def breast(height: int = 120, width: int = 80) -> NDArray[np.bool_]:
    """Return where the breast is on a film ``(H, W)`` that has it on the left."""
    rows, columns = np.mgrid[:height, :width]
    middle, half = 0.5 * height, 0.38 * height
    return np.asarray(((rows - middle) / half) ** 2 + (columns / (0.7 * width)) ** 2 <= 1)
