"""BUSI in miniature: its folders, names and modes; 18 images, two of them one picture."""

from pathlib import Path

import numpy as np

from sources.drawing import disc, save, save_mask, scan

COUNTS = {"benign": 7, "malignant": 6, "normal": 5}
"""Images a class; ``benign (7)`` and ``malignant (6)`` are one picture with two labels."""


def write(raw: Path, times: int = 1) -> Path:
    """Write the published layout, with so many times the images, and return ``raw``."""
    base = raw / "Dataset_BUSI_with_GT"
    for seed, label in enumerate(COUNTS):
        for number in range(1, times * COUNTS[label] + 1):
            picture = scan(100 * seed + number)
            if (label, number) == ("malignant", 6):
                picture = scan(7)  # benign (7)
            stem = base / label / f"{label} ({number})"
            save(picture, stem.with_name(f"{stem.name}.png"), "RGB")
            _write_mask(stem, label, number)
    return raw


def _write_mask(stem: Path, label: str, number: int) -> None:
    path = stem.with_name(f"{stem.name}_mask.png")
    if label == "normal":
        save_mask(np.zeros((48, 64), bool), path, "RGB")
        return
    # The twin's mask lies elsewhere, as in pairs of the published set.
    place = 0.2 if (label, number) == ("malignant", 6) else 0.8
    save_mask(disc(48, 64, x=place, r=0.15), path)
    if (label, number) == ("benign", 4):
        save_mask(disc(48, 64, x=0.2, r=0.1), path.with_name(f"{path.stem}_1.png"), "RGBA")
