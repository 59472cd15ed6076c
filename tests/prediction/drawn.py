"""Scans that nobody labelled, and what tables and pages say of them."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from prediction.models import SIDE


def draw(path: Path, shape: tuple[int, ...] = (SIDE, SIDE), seed: int = 0) -> NDArray[np.uint8]:
    """Write noise as an image; return its pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def refusal(table: pd.DataFrame, path: str) -> str:
    """Return why a scan has no prediction."""
    (row,) = table[table["path"] == path].itertuples()
    assert row.prediction == ""
    return str(row.refused)


def shown(page: str) -> list[int]:
    """Return the numbers of the scans ("scan 4 …") on the page, in order."""
    return [
        int(part[0])
        for part in page.split('<p class="name">')[1:]
        for part in [part.split("scan ")[1]]
    ]
