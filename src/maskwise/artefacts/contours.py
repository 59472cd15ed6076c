"""``contours.npz`` among a cell's models: what a segmenter called lesion in the test images."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskwise.artefacts.atomic import replacing
from maskwise.errors import UserError

CONTOURS = "contours.npz"
"""Its name in the folder of models."""


@dataclass(frozen=True)
class Contours:
    """The outlines of one model: of the largest fraction, fine-tuned where that was done."""

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
    """Pack class indices ``(N, H, W)``, 0 = background, as ``Contours.outlines``."""
    numbers = np.arange(1, classes + 1, dtype=np.uint8)[:, None, None]
    flat = (outlines[:, None] == numbers).reshape(len(outlines), classes, -1)
    return np.packbits(flat, axis=-1)


def write_contours(contours: Contours, path: Path) -> None:
    """Write the arrays, compressed."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        arrays = {f.name: getattr(contours, f.name) for f in fields(contours)}
        np.savez_compressed(file, **arrays)


def read_contours(path: Path) -> Contours:
    """Read what ``write_contours`` wrote; never unpickles.

    Raises:
        UserError: if there is no such file, or it is damaged.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Contours(**{f.name: arrays[f.name] for f in fields(Contours)})
    except MemoryError:  # says nothing about the file
        raise
    except Exception as error:
        # Damaged archives raise anything: BadZipFile, zlib.error, KeyError, …
        raise UserError(f"{path}: cannot be read ({error}); run finetune again") from None
