"""Which way up a picture is shown: the orientation that EXIF and TIFF count from 1 to 8."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from maskwise.scans.remarks import Remark

UPRIGHT = 1
_HOLDERS = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
"""Where Pillow looks for it; most files have none of these, and are asked no further."""
_TURNS: dict[int, tuple[bool, int]] = {
    1: (False, 0),
    2: (True, 0),
    3: (False, 2),
    4: (True, 2),
    5: (True, 1),
    6: (False, -1),
    7: (True, -1),
    8: (False, 1),
}
"""Orientation -> whether left and right are swapped first, and quarter turns to the left."""


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return ``pixels`` ``(H, W, ...)`` as viewers show them."""
    swapped, quarters = _TURNS[orientation]
    shown = pixels[:, ::-1] if swapped else pixels
    return np.ascontiguousarray(np.rot90(shown, quarters)) if quarters or swapped else pixels


def orientation_in(image: Image.Image) -> tuple[int, tuple[Remark, ...]]:
    """Return the orientation of a decoded PNG or JPEG, and a remark where it cannot be told."""
    if not any(holder in image.info for holder in _HOLDERS):
        return UPRIGHT, ()
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception as error:  # the block may hold any bytes; the pixels are sound
        detail = f"the EXIF block cannot be parsed ({type(error).__name__})"
        return UPRIGHT, (Remark("orientation", detail),)
    return checked(value)


def checked(value: Any) -> tuple[int, tuple[Remark, ...]]:
    """Return an orientation that may be absent (None), and a remark where it is none of 1-8.

    Viewers show such a file as it is stored, and so it is read.
    """
    if value is None:
        return UPRIGHT, ()
    if isinstance(value, int) and value in _TURNS:
        return int(value), ()
    shown = str(value) if isinstance(value, int) else "no number"
    return UPRIGHT, (Remark("orientation", f"it is {shown}, not 1 to 8"),)
