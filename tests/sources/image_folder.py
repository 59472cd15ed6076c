"""A folder of images in miniature: one folder per class, in odd formats and under odd names."""

from pathlib import Path

import numpy as np
from PIL import Image

from sources.drawing import save, scan


def write(raw: Path) -> Path:
    """Write two classes of eight images each."""
    for label, seed in (("Gesund", 0), ("krank 100%", 50)):
        folder = raw / label
        for i in range(4):
            save(scan(seed + i), folder / f"Größe {i} (100%).png")
        save(scan(seed + 4), folder / "photo.jpg")
        save(scan(seed + 5), folder / "palette.png", "P")
        save(scan(seed + 6), folder / "film.pgm")
        deep = scan(seed + 7).astype(np.uint16) * 257
        Image.fromarray(deep).save(folder / "deep.tif")
    return raw
