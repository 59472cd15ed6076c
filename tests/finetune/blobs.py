"""A miniature of what preprocess hands on where lesions are outlined: bright discs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from finetune.patches import SPLIT_SHARES, header
from maskwise.artefacts.store import Store, open_store, writing_store

VIEWS = 2
"""Images a group."""


def write_blobs(
    path: Path,
    groups: int = 30,
    side: int = 16,
    empty: int = 5,
    seed: int = 0,
    folds: int = 0,
    classes: tuple[str, ...] = (),
) -> tuple[Store, pd.DataFrame]:
    """Write a store with a disc in every image, but none in every ``empty``-th group.

    With ``classes`` each disc is of one of them in its left half, of the next in its right.
    """
    generator = np.random.default_rng(seed)
    n = groups * VIEWS
    group = np.arange(n) // VIEWS
    centres = generator.uniform(5, side - 5, (n, 2))
    radii = generator.uniform(2.5, 4.5, n)
    y, x = np.mgrid[:side, :side]
    far = np.hypot(y - centres[:, :1, None], x - centres[:, 1:, None])
    lesions = (far < radii[:, None, None]) & (group % empty != 0)[:, None, None]
    pixels = generator.normal(90, 15, (n, 1, side, side)) + 90 * lesions[:, None]
    index = pd.DataFrame(
        {
            "image_id": [f"i{i:04d}" for i in range(n)],
            "group": [f"g{i:03d}" for i in group],
            "has_mask": True,
            "scale": 1 / 255,
            "offset": 0.0,
            "label_diagnosis": np.where(lesions.any(axis=(1, 2)), "lesion", "normal"),
        }
    )
    left = x < centres[:, 1:, None]
    numbers = np.where(left, 1 + group[:, None, None] % 2, 2 - group[:, None, None] % 2)
    masks = (lesions * numbers).astype(np.uint8) if classes else lesions
    kind = "uint8" if classes else "bool"
    with writing_store(path, pixels.shape, "uint8", True, kind) as writer:
        assert writer.masks
        np.save(writer.images, pixels.clip(0, 255).astype(np.uint8))
        np.save(writer.masks, masks)
        described = replace(header(side), mask_classes=classes)
        if folds:
            described = replace(
                described,
                fold_mean=(described.preparation.mean,) * folds,
                fold_std=(described.preparation.std,) * folds,
            )
        writer.finish(index, described)
    edges = np.cumsum([share for _, share in SPLIT_SHARES])
    names = np.array([name for name, _ in SPLIT_SHARES])
    place = generator.permutation(groups)[group] / groups
    split = names[np.searchsorted(edges - 1e-9, place, side="right")]
    splits = index[["image_id", "group"]].assign(split=split, fold=-1)
    if folds:
        splits = splits.assign(split="train", fold=generator.permutation(groups)[group] % folds)
    return open_store(path), splits
