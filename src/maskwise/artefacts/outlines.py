"""What networks outlined: of a study's test images one file, of new scans a folder of PNGs.

In such a folder there is one grey PNG per scan, of the scan's own size. A pixel's value is the
number of its class, 0 = background: such a picture looks black, and is for programs. No name of
a scan is a file's name; the table of predictions says which is whose.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskwise.artefacts.arrays import read_arrays

NOTHING = "no lesion"
"""What an image in which nothing is outlined is called."""
MODEL_OUTLINES = "contours.npz"
"""The name of a ``ModelOutlines`` among a replicate's models."""


@dataclass(frozen=True)
class ModelOutlines:
    """What one model outlined: that of the largest fraction, fine-tuned where that was done."""

    image_ids: NDArray[np.str_]
    """``(N,)``, of the test part."""
    outlines: NDArray[np.uint8]
    """``(N, K, ceil(H * W / 8))``: what is of each class, packed by ``numpy.packbits``."""
    classes: NDArray[np.str_]
    """``(K,)``."""
    size: NDArray[np.int64]
    """``(2,)``: height and width, pixels."""
    mode: NDArray[np.str_]
    """``()``: ``probe`` or ``full``."""
    fraction: NDArray[np.float64]
    """``()``: share of the labels that the model saw."""

    def of(self, image_id: str) -> NDArray[np.bool_]:
        """Return what was outlined of an image, ``(K, H, W)``.

        Raises:
            KeyError: if it is none of the test images.
        """
        (found,) = np.nonzero(self.image_ids == image_id)
        if not len(found):
            raise KeyError(image_id)
        height, width = (int(side) for side in self.size)
        flat = np.unpackbits(self.outlines[found[0]], axis=-1, count=height * width)
        return flat.reshape(-1, height, width).astype(bool)


def pack(outlines: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    """Pack class indices ``(N, H, W)``, 0 = background, as ``ModelOutlines.outlines``."""
    numbers = np.arange(1, classes + 1, dtype=np.uint8)[:, None, None]
    places = outlines.shape[1] * outlines.shape[2]  # of no image, -1 would be of no length
    flat = (outlines[:, None] == numbers).reshape(len(outlines), classes, places)
    return np.packbits(flat, axis=-1)


def read_model_outlines(path: Path) -> ModelOutlines:
    """Read the file; ``UserError`` as ``read_arrays``."""
    return read_arrays(ModelOutlines, path, "finetune")


def to_png(classes: NDArray[np.uint8]) -> bytes:
    """Encode class indices ``(h, w)`` without loss."""
    buffer = io.BytesIO()
    Image.fromarray(classes).save(buffer, format="PNG")
    return buffer.getvalue()


def from_png(content: bytes) -> NDArray[np.uint8]:
    """Decode what ``to_png`` encoded."""
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        return np.asarray(image)
