"""What was not measured: how dark it is drawn, and how far pixels say it themselves.

And what is seen through pixels that are not opaque.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from maskwise.scans.decode import Decoded


def darkened(
    pixels: NDArray[Any], background: NDArray[np.bool_] | None, own: bool = False
) -> NDArray[Any]:
    """Return pixels ``(H, W, C)`` whose ``background`` is as dark as the darkest measured.

    ``background`` is ``(H, W)``, None = all was measured. Where nothing was, all are 0. What is
    one's ``own`` is written on, not copied.
    """
    if background is None or not background.any():
        return pixels
    if background.all():
        return np.zeros_like(pixels)
    # Neither pixels[~background] nor min(where=...): of a film of 5,000 rows, either takes
    # longer than all the rest.
    largest = np.inf if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    filled = pixels if own else pixels.copy()
    for channel in range(filled.shape[2]):
        plane = filled[..., channel]
        np.copyto(plane, largest, where=background)
        np.copyto(plane, plane.min(), where=background)
    return filled


def nan_as_background(decoded: "Decoded") -> "Decoded":
    """Return the image with its NaN as background, as dark as the darkest that was measured."""
    if decoded.pixels.dtype.kind != "f":
        return decoded
    unknown = np.isnan(decoded.pixels).any(axis=2)
    if not unknown.any():
        return decoded
    background = unknown if decoded.background is None else unknown | decoded.background
    return replace(decoded, pixels=darkened(decoded.pixels, background), background=background)


def on_paper(decoded: "Decoded", paper: str) -> "Decoded":
    """Return the image as it looks on ``paper``, ``white`` or ``black``; the alpha is used up.

    Where all of it is opaque, its pixels are what they were.
    """
    if decoded.alpha is None or decoded.pixels.dtype.kind != "u":
        return decoded
    pixels, alpha = decoded.pixels, decoded.alpha
    largest = int(np.iinfo(pixels.dtype).max)
    if (alpha == largest).all():
        return replace(decoded, alpha=None)
    opacity = (alpha.astype(np.float64) / largest)[..., None]
    behind = largest if paper == "white" else 0
    mixed = np.rint(pixels * opacity + behind * (1 - opacity)).astype(pixels.dtype)
    return replace(decoded, pixels=mixed, alpha=None)
