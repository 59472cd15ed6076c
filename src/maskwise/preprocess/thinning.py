"""Thinning: of slices that look alike, pre-training sees one.

Neighbouring slices of a scan hardly differ. To a contrastive objective they are strangers that
look the same, and to every other one more of the same (Wolf et al., Computers in Biology and
Medicine 183 (2024) 109242: 64-bit difference hash, distance 6, inside one volume).
"""

import logging
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.splits import count_folds
from maskwise.bounds import Within
from maskwise.errors import UserError
from maskwise.wording import count

log = logging.getLogger(__name__)

_COLUMNS = {"series": "volume", "group": "group"}


@dataclass(frozen=True)
class ThinConfig:
    """The block ``thin``."""

    hash: Literal["dhash"] = "dhash"
    """64-bit difference hash: whether each of 8 x 8 pixels is darker than the next one."""
    distance: Annotated[int, Within(0, 16)] = 6
    """Bits, 0 to 16, by which slices differ that look alike."""
    within: Literal["series", "group"] = "series"
    """``series``: slices of one volume; ``group``: images of one group (a patient), for sources
    whose files do not say which volume an image is of."""


def thinned(
    manifest: pd.DataFrame, splits: pd.DataFrame, config: ThinConfig, where: str
) -> NDArray[np.bool_]:
    """Return which images pre-training leaves out, ``(N,)``; they are training images alone.

    Greedy, in the manifest's order: the first image of a series is kept, all within the
    distance of it go, and so on with those that are left. Nothing is compared across parts of
    the split. With folds, which keep series whole, each image trains for some seed, and is left
    out whenever it does.

    Raises:
        UserError: if no image names its volume, or the manifest has no difference hashes.
    """
    column = _COLUMNS[config.within]
    if column not in manifest or manifest[column].isna().all():
        raise UserError(
            f"{where}.thin.within: is 'series', but no image says which volume it is a slice "
            "of; set `within: group`, which thins images of one patient"
        )
    if "dhash" not in manifest:
        raise UserError(
            f"{where}.thin: the manifest has no difference hashes; run ingest again"
        )
    hashes = np.array([int(text, 16) for text in manifest["dhash"]], dtype=np.uint64)
    trains = (splits["split"] == "train").to_numpy() | bool(count_folds(splits))
    rows = np.flatnonzero(trains & manifest[column].notna().to_numpy())
    gone = np.zeros(len(manifest), bool)
    for _, one in pd.Series(rows).groupby(manifest[column].to_numpy()[rows]):
        members = one.to_numpy()
        gone[members[_alike(hashes[members], config.distance)]] = True
    log.info(
        "%s.thin: pre-training leaves out %s of %s; each differs in at most %d of 64 bits from "
        "one of its %s that is kept",
        where,
        count(int(gone.sum()), "image"),
        count(int(trains.sum()), "training image"),
        config.distance,
        config.within,
    )
    return gone


def _alike(hashes: NDArray[np.uint64], distance: int) -> NDArray[np.intp]:
    """Return the places of the hashes that a greedy pass leaves out."""
    left = np.arange(len(hashes))
    gone = []
    while len(left):
        first, others = left[0], left[1:]
        near = np.bitwise_count(hashes[others] ^ hashes[first]) <= distance
        gone.append(others[near])
        left = others[~near]
    return np.concatenate(gone) if gone else left
