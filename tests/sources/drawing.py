"""Pictures for the miniatures: speckled grey scenes, no two alike, and their masks."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def scan(seed: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Return a grey picture ``(H, W)`` with large structures of its own."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float64)
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def disc(
    height: int, width: int, y: float = 0.5, x: float = 0.5, r: float = 0.2
) -> NDArray[np.bool_]:
    """Return a disc at share ``y, x`` with radius ``r`` of the shorter side."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows - y * (height - 1), columns - x * (width - 1))
    return np.asarray(distance <= r * min(height, width))


def save(pixels: NDArray[np.uint8], path: Path, mode: str = "L") -> Path:
    """Save a grey picture in the given mode, its folder made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def save_mask(mask: NDArray[np.bool_], path: Path, mode: str = "1") -> Path:
    """Save a mask, black and white, in the given mode."""
    return save(mask.astype(np.uint8) * np.uint8(255), path, mode)
