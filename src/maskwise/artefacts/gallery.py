"""``gallery.npz``: what the policy hid, and the network drew, of the probe images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskwise.artefacts.arrays import read_arrays


@dataclass(frozen=True)
class Gallery:
    """E moments of training, P probe images; empty arrays where a recipe has no such thing."""

    epochs: NDArray[np.int64]
    """``(E,)``."""
    image_ids: NDArray[np.str_]
    """``(P,)``."""
    images: NDArray[np.uint8]
    """``(P, H, W)``, channels averaged."""
    lesions: NDArray[np.bool_]
    """``(P, H, W)``, True = lesion; only drawn and measured, never learnt from."""
    masks: NDArray[np.bool_]
    """``(E, P, gh, gw)``, True = hidden."""
    maps: NDArray[np.float16]
    """``(E, P, ph, pw)``: Q-map or policy map, larger = rather hidden."""
    map_box: NDArray[np.int64]
    """``(2,)``: height and width of the box of a map's places, cells; 0 without maps. Place
    (i, j) has its top-left cell at (i, j) * ``map_stride`` and may leave the grid."""
    map_stride: NDArray[np.int64]
    """``()``, cells."""
    learns: NDArray[np.bool_]
    """``()``: whether training changes where the policy hides."""
    reconstructions: NDArray[np.uint8]
    """``(E, P, H, W)``."""
    probe_ids: NDArray[np.str_]
    """``(M,)``: all images on which the history's figures were measured; the first P are
    drawn."""
    probe_masks: NDArray[np.uint8]
    """``(E, M, ceil(gh * gw / 8))``: the masks behind the history's figures of these epochs,
    row by row, packed by ``numpy.packbits``; lift can be computed anew from them."""


def read_gallery(path: Path) -> Gallery:
    """Read the file; ``UserError`` as ``read_arrays``."""
    return read_arrays(Gallery, path, "pretrain")
