"""A miniature of what preprocess hands on where an image may have several labels."""

from pathlib import Path

import numpy as np
import pandas as pd

from finetune.patches import SPLIT_SHARES, header
from maskwise.artefacts.store import Store, open_store, writing_store

PLACES = {"left": (4, 2), "right": (4, 10), "low": (10, 6)}
"""Label -> where its bright square begins, row and column."""
CELLS = ("left", "right", "left|right", "right|left", "none", "low", "left|low")
"""What images are labelled with, in turn, group by group."""


def write_marks(
    path: Path,
    groups: int = 70,
    cells: tuple[str | None, ...] = CELLS,
    side: int = 16,
    seed: int = 0,
) -> tuple[Store, pd.DataFrame]:
    """Write a store of noise with a bright square for every label; return it with its splits.

    There are two images per group; every tenth group was not rated.
    """
    generator = np.random.default_rng(seed)
    group = np.arange(2 * groups) // 2
    named = [None if g % 10 == 9 else cells[g % len(cells)] for g in group]
    pixels = generator.normal(90, 12, (2 * groups, 1, side, side))
    for image, cell in enumerate(named):
        for name in (cell or "").split("|"):
            if name in PLACES:
                y, x = PLACES[name]
                pixels[image, 0, y : y + 4, x : x + 4] += 60
    index = pd.DataFrame(
        {
            "image_id": [f"i{i:04d}" for i in range(2 * groups)],
            "group": [f"g{g:03d}" for g in group],
            "has_mask": False,
            "scale": 1 / 255,
            "offset": 0.0,
            "label_marks": pd.Series(named, dtype=object),
        }
    )
    with writing_store(path, pixels.shape, "uint8", masks=False) as writer:
        np.save(writer.images, pixels.clip(0, 255).astype(np.uint8))
        writer.finish(index, header(side))
    edges = np.cumsum([share for _, share in SPLIT_SHARES])
    names = np.array([name for name, _ in SPLIT_SHARES])
    place = (group // len(cells)) / (groups / len(cells))  # each cell has its share of each
    split = names[np.searchsorted(edges - 1e-9, place, side="right")]
    splits = index[["image_id", "group"]].assign(split=split, fold=-1)
    return open_store(path), splits
