"""The probe: validation images, fixed before training, on which a policy is looked at."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from maskwise import seeds
from maskwise.array_types import Floats
from maskwise.artefacts.store import Store
from maskwise.masks import Grid
from maskwise.pretrain.contracts import Batch, ChoosesRows, Policy
from maskwise.pretrain.diagnostics.lift import bootstrap_counts

LIMIT = 256
"""At most so many images are measured."""
AVERAGED = 2048
"""At most so many training images make the mean image."""


@dataclass(frozen=True)
class Probe:
    """At most 256 validation images with lesions, or without where the source shows none."""

    images: Tensor
    """``(P, C, H, W)`` float32, normalised, not augmented."""
    lesions: Tensor | None
    """``(P, H, W)`` bool, True = lesion; measured, never learnt from."""
    index: Tensor
    """``(P,)`` int64, rows of the store."""
    groups: NDArray[np.int64]
    """``(P,)``, 0 to G - 1."""
    image_ids: NDArray[np.str_]
    mean_image: Tensor
    """``(C, H, W)``, of training images, normalised."""
    grid: Grid
    mean: Tensor
    """``(C, 1, 1)``: intensity = normalised * std + mean."""
    std: Tensor
    counts: Floats
    """``(draws, G)`` of the bootstrap, the same for all epochs."""

    @staticmethod
    def build(store: Store, splits: pd.DataFrame, grid: Grid, seed: int) -> "Probe":
        """Choose the images; never of the test split.

        Without any validation image, training images are taken; without any lesion, the probe
        has none and ``measure`` leaves the lifts out.
        """
        training = _rows(store, splits, "train")
        rows = _rows(store, splits, "validation")
        rows = rows if len(rows) else training
        shows = _with_lesion(store, rows)
        order = seeds.stream(seed, "probe", "images")
        rows = np.sort(order.permutation(rows[shows] if shows.any() else rows)[:LIMIT])
        averaged = np.sort(order.permutation(training)[:AVERAGED])
        names = store.index["group"].to_numpy()[rows]
        _, groups = np.unique(names.astype(str), return_inverse=True)
        lesions = (
            torch.from_numpy(store.lesions(rows))
            if store.masks is not None and shows.any()
            else None
        )
        return Probe(
            images=torch.from_numpy(store.normalised(rows)),
            lesions=lesions,
            index=torch.from_numpy(rows),
            groups=groups.astype(np.int64),
            image_ids=store.index["image_id"].to_numpy()[rows].astype(str),
            mean_image=_mean_image(store, averaged),
            grid=grid,
            mean=torch.tensor(store.header.preparation.mean)[:, None, None],
            std=torch.tensor(store.header.preparation.std)[:, None, None],
            counts=bootstrap_counts(
                len(np.unique(groups)), seeds.stream(seed, "probe", "bootstrap")
            ),
        )

    def to(self, device: torch.device | str) -> "Probe":
        """Return the same probe with its images where the policy is."""
        return replace(
            self,
            images=self.images.to(device),
            lesions=None if self.lesions is None else self.lesions.to(device),
            index=self.index.to(device),
            mean_image=self.mean_image.to(device),
            mean=self.mean.to(device),
            std=self.std.to(device),
        )

    def masks(self, policy: Policy[Any], generator: Generator) -> Tensor:
        """Choose masks for all images; in full precision, wherever it is asked."""
        with torch.no_grad(), torch.autocast(self.images.device.type, enabled=False):
            if isinstance(policy, ChoosesRows):
                return policy.choose_rows(self.index, self.images, self.grid, generator)
            return policy.choose_masks(self.images, self.grid, generator)

    def batch(self, number: int) -> Batch:
        """Return the first ``number`` images as the objective takes them."""
        return Batch(
            images=self.images[:number],
            index=self.index[:number],
            group=torch.from_numpy(self.groups[:number]).to(self.index.device),
            augmentation_seed=self.index[:number],
            progress=0.0,
        )

    def grey(self, images: Tensor) -> NDArray[np.uint8]:
        """Turn normalised ``(P, C, H, W)`` into grey levels, channels averaged."""
        intensities = (images * self.std + self.mean).mean(1).nan_to_num(0.0)
        return (255 * intensities).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def _rows(store: Store, splits: pd.DataFrame, split: str) -> NDArray[np.int64]:
    return store.rows(splits.loc[splits["split"] == split, "image_id"].to_numpy())


def _with_lesion(store: Store, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which rows show a lesion; one mask at a time, as a store may exceed memory."""
    if store.masks is None:
        return np.zeros(len(rows), bool)
    return np.fromiter((bool(store.masks[row].any()) for row in rows), bool, len(rows))


def _mean_image(store: Store, rows: NDArray[np.int64]) -> Tensor:
    seen = store.header.preparation
    total = np.zeros((seen.channels, seen.height, seen.width), np.float64)
    for chunk in np.array_split(rows, max(1, len(rows) // LIMIT)):
        total += store.normalised(chunk).sum(0, dtype=np.float64)
    return torch.from_numpy((total / max(1, len(rows))).astype(np.float32))
