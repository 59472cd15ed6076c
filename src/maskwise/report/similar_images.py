"""Test images that look somewhat like a training image, beyond what counts as a copy."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

WIDEST = 16
"""Bits of 64; farther apart, hashes of different pictures begin to meet by chance."""
_BLOCK = 2**22
"""Pairs compared at once: 32 MB."""


@dataclass(frozen=True)
class SimilarImages:
    """What a threshold of near-copies leaves between test and training images."""

    distance: int
    """Bits within which two pictures count as copies."""
    bound: int
    """Bits within which they were looked at here."""
    pairs: pd.DataFrame
    """``test, train, bits``: paths; the nearest training image of each test image, nearest
    first."""


def similar_images(
    manifest: pd.DataFrame, splits: pd.DataFrame, distance: int
) -> SimilarImages | None:
    """Compare the hashes of test and training images; None where only equal pixels are copies.

    Args:
        manifest: ``image_id, path, phash, blank``.
        splits: ``image_id, split``.
        distance: bits within which two pictures count as copies.
    """
    bound = min(2 * distance, WIDEST)
    if bound <= distance:
        return None
    shown = manifest[~manifest["blank"].astype(bool)].merge(
        splits[["image_id", "split"]], on="image_id", suffixes=("_official", "")
    )
    test, train = (shown[shown["split"] == part] for part in ("test", "train"))
    nearest, bits = _nearest(_hashes(test), _hashes(train), distance)
    near = np.flatnonzero(bits <= bound)
    pairs = pd.DataFrame(
        {
            "test": test["path"].to_numpy()[near],
            "train": train["path"].to_numpy()[nearest[near]],
            "bits": bits[near],
        }
    )
    return SimilarImages(
        distance, bound, pairs.sort_values(["bits", "test"], ignore_index=True)
    )


def _hashes(images: pd.DataFrame) -> NDArray[np.uint64]:
    return np.array([int(text, 16) for text in images["phash"]], dtype=np.uint64)


def _nearest(
    test: NDArray[np.uint64], train: NDArray[np.uint64], distance: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and bits of each test hash's nearest training hash beyond ``distance``."""
    none = 65
    nearest, bits = np.zeros(len(test), np.int64), np.full(len(test), none, np.int64)
    step = max(1, _BLOCK // max(1, len(train)))
    for first in range(0, len(test) if len(train) else 0, step):
        part = slice(first, first + step)
        apart = np.bitwise_count(test[part, None] ^ train)
        apart[apart <= distance] = none
        nearest[part], bits[part] = apart.argmin(axis=1), apart.min(axis=1)
    return nearest, bits
