"""How often each grey level occurs in some images: what a threshold is chosen from."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskwise.artefacts.store import Store

BINS = 256
"""Of intensities from 0 to 1: as many as most scans have grey levels."""
CHUNK = 256
"""Images read at a time."""


def histogram(store: Store, rows: NDArray[np.int64]) -> Tensor:
    """Count the pixels of the images ``rows`` by intensity: float64 ``(BINS,)``.

    Bin i holds intensities from i / BINS on, the last also 1; channels are averaged.
    """
    counts = np.zeros(BINS, np.int64)
    for chunk in np.array_split(rows, max(1, -(-len(rows) // CHUNK))):
        grey = store.intensities(chunk).mean(axis=1)
        bins = (grey * BINS).astype(np.int64).clip(0, BINS - 1)
        counts += np.bincount(bins.ravel(), minlength=BINS)
    return torch.from_numpy(counts).double()
