"""Small stores and runs that the tests of pre-training share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from maskwise.artefacts.store import Laterality, Store, StoreHeader, open_store, writing_store
from maskwise.encoders.vit import SIZES
from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.recipe import Budget, PretrainConfig, parse_recipe
from maskwise.pretrain.replicate import Pretrained, PretrainRun, pretraining
from preparations import preparation

SMALL = {"name": "context_cnn", "widths": [8, 8], "convolutions": [1, 1]}
"""An encoder that needs no time."""
TOKENS = {"name": "vit", "depths": [1, 2]}
"""A transformer that needs none, within ``small_tokens``."""
RANDOM_BOX: dict[str, Any] = {
    "objective": {"name": "context_encoder"},
    "policy": {"name": "random_box", "box": [2, 2]},
    "encoder": SMALL,
}
SIMCLR: dict[str, Any] = {
    "objective": {"name": "simclr", "hidden": 8, "embedding": 8},
    "policy": {"name": "none"},
    "encoder": SMALL,
}


@contextmanager
def small_tokens() -> Iterator[None]:
    """Let the smallest transformer have two blocks of 24 channels, not 5 million weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "tiny", (24, 2, 3))
        yield


def make_setting(**changes: Any) -> Setting:
    """Return the setting of grey ultrasound of 32 x 32 pixels, changed as asked."""
    values: dict[str, Any] = {
        "channels": 1,
        "height": 32,
        "width": 32,
        "grid": (8, 8),
        "steps_per_epoch": 5.0,
        "batch_size": 8,
        "modality": "ultrasound",
        "images": lambda index, augmentation_seed: index,
        "mean": (0.0,),
        "std": (1.0,),
        "laterality": "free",
        "rows": 4096,
        "steps": 100,
        "trained_on": 4096,
        "lesions": lambda index, seeds: torch.zeros(len(index), 1, 32, 32),
        "histogram": lambda: torch.ones(256),
    }
    return Setting(**{**values, **changes})


def smooth_images(number: int, side: int) -> np.ndarray:
    """Return uint8 ``(number, 1, side, side)`` whose hidden parts follow from their edges."""
    walks = np.random.default_rng(0).normal(size=(number, 1, side, side)).cumsum(2).cumsum(3)
    low, high = walks.min((2, 3), keepdims=True), walks.max((2, 3), keepdims=True)
    images: np.ndarray = (255 * (walks - low) / (high - low)).astype(np.uint8)
    return images


def make_store(
    path: Path,
    number: int = 24,
    side: int = 32,
    modality: str = "ultrasound",
    scale: float = 1.0,
    laterality: Laterality = "free",
    channels: int = 1,
    fine: int = 1,
) -> tuple[Store, pd.DataFrame]:
    """Write a store of ``number`` images, two per group, and split it 2 : 1 : 1.

    They are kept at ``fine`` times the side.
    """
    names = [f"image_{i:02}" for i in range(number)]
    groups = [f"group_{i // 2}" for i in range(number)]
    index = pd.DataFrame(
        {
            "image_id": names,
            "group": groups,
            "has_mask": True,
            "scale": scale / 255,
            "offset": 0.0,
        }
    )
    if fine > 1:
        index["detail"] = float(fine)
    seen = preparation(
        side, channels, mean=(0.5,) * channels, std=(0.25,) * channels, modality=modality
    )
    header = StoreHeader(
        preparation=replace(seen, fine=fine),
        laterality=laterality,
        largest_rounding_error=0.0,
        data_hash="toy",
    )
    shape = (number, channels, side, side)
    with writing_store(path, shape, "uint8", masks=True, fine=fine) as writer:
        np.load(writer.images, mmap_mode="r+")[:] = smooth_images(number, side * fine)
        assert writer.masks is not None
        np.load(writer.masks, mmap_mode="r+")[:, side // 4 : side // 2, side // 2 :] = True
        writer.finish(index, header)
    half, quarter = number // 2, number // 4
    split = ["train"] * half + ["validation"] * quarter + ["test"] * (number - half - quarter)
    splits = pd.DataFrame({"image_id": names, "group": groups, "split": split, "fold": -1})
    return open_store(path), splits


@dataclass(frozen=True)
class Crashing(Store):
    """A store whose disk fails as the second batch is read."""

    batches: list[int] = field(default_factory=list)

    def fine_normalised(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        self.batches.append(len(rows) == 4)
        if sum(self.batches) == 2:
            raise OSError("the disk is gone")
        return super().fine_normalised(rows)


def crashing(store: Store) -> Crashing:
    return Crashing(*(getattr(store, each.name) for each in fields(Store)))


def pretrain(store: Store, splits: pd.DataFrame, run: PretrainRun) -> Pretrained:
    """Run one replicate whose outputs need no saving."""
    with pretraining(store, splits, run) as result:
        return result


def make_run(folder: Path, block: dict[str, Any], **options: Any) -> PretrainRun:
    """Return a replicate of 9 steps of 4 images; ``options`` change its budget or the loop."""
    budget: dict[str, Any] = {"grid": (8, 8), "steps": 9, "batch_size": 4}
    config: dict[str, Any] = {"device": "cpu", "checkpoint_every": 2}
    seed = options.pop("seed", 0)
    for name, value in options.items():
        (budget if name in Budget.__dataclass_fields__ else config)[name] = value
    return PretrainRun(
        recipe=parse_recipe(block, "recipe"),
        budget=Budget(**budget),
        config=PretrainConfig(**config),
        source="toy",
        recipe_name="recipe",
        seed=seed,
        checkpoints=folder,
    )


def at_rate(run: PretrainRun, rate: float) -> PretrainRun:
    """Return the run at a learning rate that no recipe may ask for, without a warm-up."""
    optimisation = replace(run.recipe.optimisation, learning_rate=rate, warm_up=0.0)
    return replace(run, recipe=replace(run.recipe, optimisation=optimisation))
