"""The folder of outlines of new scans: one grey PNG a scan, of the scan's own size.

A pixel's value is the number of its class, 0 = background: such a picture looks black, and is
for programs. No name of a scan is a file's name; the table of predictions says which is whose.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskwise.artefacts.atomic import replacing_folder


def to_png(classes: NDArray[np.uint8]) -> bytes:
    """Encode class indices ``(h, w)`` without loss."""
    buffer = io.BytesIO()
    Image.fromarray(classes).save(buffer, format="PNG")
    return buffer.getvalue()


def from_png(content: bytes) -> NDArray[np.uint8]:
    """Decode what ``to_png`` encoded."""
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        return np.asarray(image)


def write_outlines(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the folder, which replaces an earlier one once it is complete."""
    with replacing_folder(folder) as temporary:
        for name, content in files.items():
            (temporary / name).write_bytes(content)
