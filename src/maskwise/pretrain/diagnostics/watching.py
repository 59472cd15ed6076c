"""What features are worth while they are learnt: neighbours, rank and spread.

Nothing learns from these figures. Labels and outlines of training images tell those of
validation images by their nearest neighbours; the test part is never looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskwise import seeds
from maskwise.artefacts.labels import LABEL, label_names
from maskwise.artefacts.store import Store
from maskwise.encoders.pooling import pool
from maskwise.pretrain.contracts import Objective

TRAINING, VALIDATION, BLOCK = 512, 256, 64
"""At most so many images are looked at, and at a time."""
NEIGHBOURS, MOST_CLASSES = 10, 50
PLACES = 4096
"""At most so many places of feature maps of training images, half of them in a lesion."""


@dataclass(frozen=True)
class Watch:
    """Images whose features are looked at, and what is known of them."""

    store: Store
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    """Rows of the store."""
    labels: Mapping[str, tuple[NDArray[np.str_], NDArray[np.str_]]] = field(
        default_factory=dict
    )
    """By their name: of ``training`` and of ``validation``; empty where unknown."""

    @staticmethod
    def build(store: Store, splits: pd.DataFrame, seed: int) -> "Watch":
        """Choose the images, in an order that follows from the seed."""
        order = seeds.stream(seed, "watch")
        training, validation = (
            np.sort(order.permutation(_rows(store, splits, part))[:most])
            for part, most in (("train", TRAINING), ("validation", VALIDATION))
        )
        labels = {}
        for name in label_names(store.index):
            values = (
                store.index[f"{LABEL}{name}"].fillna("").astype(str).to_numpy(dtype=np.str_)
            )
            told = values[training], values[validation]
            if 2 <= len(set(told[0]) - {""}) <= MOST_CLASSES and (told[1] != "").any():
                labels[name] = told
        return Watch(store, training, validation, labels)

    def measure(self, objective: Objective, device: torch.device) -> dict[str, float]:
        """Return the figures; the objective is asked in eval mode and left in its own."""
        mode = objective.training
        objective.train(False)
        try:
            with torch.no_grad():
                return self._figures(objective, device)
        finally:
            objective.train(mode)

    def _figures(self, objective: Objective, device: torch.device) -> dict[str, float]:
        training = self._maps(objective, self.training, device)
        pooled = _pooled(training)
        if not bool(pooled.isfinite().all()):
            return {}  # the loop says what is wrong, and where
        figures = {"feature_rank": rank(pooled)}
        projected = objective.project(pooled.to(device))
        if projected is not None:
            unit = torch.nn.functional.normalize(projected.cpu().float(), dim=1)
            figures["projection_rank"] = rank(unit)
            figures["projection_spread"] = spread(unit)
        outlined = self.store.masks is not None
        if not len(self.validation) or not (self.labels or outlined):
            return figures
        validation = self._maps(objective, self.validation, device)
        unseen = _pooled(validation)
        for name, (known, asked) in self.labels.items():
            figures[f"knn_{name}"] = by_neighbours(pooled, known, unseen, asked)
        if outlined:
            figures["knn_dice"] = self._dice(training, validation)
        return {name: value for name, value in figures.items() if np.isfinite(value)}

    def _maps(
        self, objective: Objective, rows: NDArray[np.int64], device: torch.device
    ) -> list[Tensor]:
        """Return the encoder's last features ``(b, C, h, w)``, block by block."""
        return [
            objective.encoder(
                torch.from_numpy(self.store.normalised(rows[start : start + BLOCK])).to(device)
            )[-1]
            .float()
            .cpu()
            for start in range(0, len(rows), BLOCK)
        ]

    def _dice(self, training: list[Tensor], validation: list[Tensor]) -> float:
        """Return the Dice of places of validation images, told by those of training images."""
        features, lesion = self._places(training, self.training)
        order = np.random.default_rng(0)
        chosen = np.concatenate(
            [
                order.permutation(np.flatnonzero(lesion == here))[: PLACES // 2]
                for here in (False, True)
            ]
        )
        if not lesion[chosen].any():
            return float("nan")
        asked, truth = self._places(validation, self.validation)
        if not len(asked):
            return float("nan")
        called = _neighbours(features[chosen], lesion[chosen], asked).astype(bool)
        both = (called & truth).sum()
        return float(2 * both / max(1, called.sum() + truth.sum()))

    def _places(
        self, maps: list[Tensor], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return features ``(P, C)`` of outlined images' places, and which show a lesion."""
        outlined = self.store.index["has_mask"].to_numpy(dtype=bool)[rows]
        features = torch.cat(maps)[torch.from_numpy(outlined)]
        masks = torch.from_numpy(self.store.lesions(rows[outlined])).float()[:, None]
        shares = torch.nn.functional.adaptive_avg_pool2d(
            masks, (features.shape[2], features.shape[3])
        )
        flat = features.permute(0, 2, 3, 1).flatten(0, 2).numpy()
        return flat, (shares >= 0.5).flatten().numpy()


def rank(vectors: Tensor) -> float:
    """Return the effective rank of ``(n, D)`` about their mean, as a share of the largest.

    RankMe (Garrido et al. 2023): the exponential of the entropy of the singular values; the
    largest that n vectors of D numbers can have is the smaller of n - 1 and D.
    """
    n, d = vectors.shape
    if n < 2:
        return float("nan")
    singular = torch.linalg.svdvals((vectors - vectors.mean(0)).double())
    shares = singular / singular.sum().clamp_min(1e-12) + 1e-12
    entropy = -(shares * shares.log()).sum().item()
    return float(np.exp(entropy) / min(n - 1, d))


def spread(unit: Tensor) -> float:
    """Return the mean deviation of unit vectors ``(n, D)`` per axis: 1 = even, 0 = one point.

    In units of 1 / sqrt(D). Not enough by itself: a narrow cone of many directions has little.
    """
    if len(unit) < 2:
        return float("nan")
    return float(unit.double().std(0).mean() * unit.shape[1] ** 0.5)


def by_neighbours(
    known: Tensor, labels: NDArray[np.str_], asked: Tensor, truth: NDArray[np.str_]
) -> float:
    """Return the balanced accuracy of ten nearest neighbours by cosine, weighted by nearness.

    Labels that are empty are unknown: their images neither tell nor are asked.
    """
    has, wants = labels != "", truth != ""
    called = _neighbours(known.numpy()[has], labels[has], asked.numpy()[wants])
    right = called == truth[wants]
    recalls = [right[truth[wants] == name].mean() for name in sorted(set(truth[wants]))]
    return float(np.mean(recalls))


def told(figures: Mapping[str, float]) -> str:
    """Return the figures for a bar or a line of the log: ``knn_diagnosis 0.61, rank 0.30``."""
    names = {"feature_rank": "rank of features", "projection_spread": "spread"}
    return ", ".join(
        f"{names.get(name, name)} {value:.2f}"
        for name, value in figures.items()
        if name.startswith("knn_") or name in names
    )


def _neighbours(
    known: NDArray[np.float32], labels: NDArray[np.generic], asked: NDArray[np.float32]
) -> NDArray[np.generic]:
    from sklearn.neighbors import KNeighborsClassifier  # takes a second to import

    model = KNeighborsClassifier(
        min(NEIGHBOURS, len(known)), weights="distance", metric="cosine", algorithm="brute"
    )
    called: NDArray[np.generic] = model.fit(known, labels).predict(asked)
    return called


def _pooled(maps: list[Tensor]) -> Tensor:
    return torch.cat([pool(each, "mean") for each in maps])


def _rows(store: Store, splits: pd.DataFrame, part: str) -> NDArray[np.int64]:
    return store.rows(splits.loc[splits["split"] == part, "image_id"].to_numpy())
