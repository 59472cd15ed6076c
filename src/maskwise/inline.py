"""Pictures inside a page, which then needs no other file."""

import base64
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """Return a file's content as the address of a picture; ``kind`` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def scan_uri(scan: NDArray[np.floating[Any]]) -> str:
    """Encode intensities in [0, 1], ``(h, w)`` or ``(h, w, 3)``, as a PNG's address."""
    pixels = np.round(np.clip(scan, 0, 1) * 255).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return data_uri(buffer.getvalue())
