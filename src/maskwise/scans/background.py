"""What was not measured, as far as pixels say it themselves."""

from dataclasses import replace

import numpy as np

from maskwise.scans.decode import Decoded


def nan_as_background(decoded: Decoded) -> Decoded:
    """Return the image with its NaN as background, as dark as the darkest that was measured."""
    if decoded.pixels.dtype.kind != "f":
        return decoded
    unknown = np.isnan(decoded.pixels).any(axis=2)
    if not unknown.any():
        return decoded
    background = unknown if decoded.background is None else unknown | decoded.background
    pixels = decoded.pixels.copy()
    measured = pixels[~background]
    pixels[background] = measured.min() if measured.size else 0
    return replace(decoded, pixels=pixels, background=background)
