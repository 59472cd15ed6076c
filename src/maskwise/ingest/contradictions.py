"""What duplicates say against each other, and which groups an official split tears apart."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from maskwise.artefacts.manifest import LABEL, label_columns
from maskwise.ingest.groups import Groups, duplicate_pairs, duplicate_sets
from maskwise.scans.mask_files import read_mask
from maskwise.scans.reading import DEFAULT, Reading

NAMED = 1000
"""Contradictions and leaks that a summary names one by one; the rest are counted."""
COMPARED = 20_000
"""Pairs of masks that are compared; the rest are counted."""
_SIDE = 128
"""Pixels of the square to which two masks are scaled before they are compared."""


@dataclass(frozen=True)
class MaskComparison:
    """How masks are compared."""

    raw: Path
    max_pixels: int
    agreement: float
    """Intersection over union under which two masks of one picture contradict each other."""
    reading: Reading = DEFAULT


def label_contradictions(images: pd.DataFrame, groups: Groups) -> list[dict[str, Any]]:
    """Return one entry per set of duplicates with several values of a label: value -> paths."""
    found, names = [], _names(images)
    for members in duplicate_sets(groups.duplicate):
        for column in label_columns(images):
            values = images[column].iloc[members].to_numpy(dtype=object)
            if len(pd.unique(values[pd.notna(values)])) > 1:
                by_value = _by_value(names[members], values)
                found.append({"label": column.removeprefix(LABEL), "images": by_value})
    return found


def crossing_pairs(images: pd.DataFrame, groups: Groups, distance: int) -> dict[str, int]:
    """Count, a label, the pairs of duplicates that differ in it."""
    pairs = np.array(list(duplicate_pairs(images, groups, distance)), dtype=np.int64)
    first, second = pairs.reshape(-1, 2).T
    counts = {}
    for column in label_columns(images):
        codes = pd.factorize(images[column])[0]
        differ = (codes[first] != codes[second]) & (codes[first] >= 0) & (codes[second] >= 0)
        counts[column.removeprefix(LABEL)] = int(differ.sum())
    return counts


def mask_contradictions(
    images: pd.DataFrame, groups: Groups, distance: int, comparison: MaskComparison
) -> dict[str, Any]:
    """Compare the masks of duplicates; two empty masks agree and are not counted."""
    masks = _Masks(images, comparison)
    compared: list[tuple[float, int, int]] = []
    skipped = 0
    for first, second in duplicate_pairs(images, groups, distance):
        if not (masks.exist(first) and masks.exist(second)):
            continue
        if len(compared) >= COMPARED:
            skipped += 1
            continue
        overlap = intersection_over_union(masks.read(first), masks.read(second))
        if overlap is not None:
            compared.append((overlap, first, second))
    names = _names(images)
    below = sorted(entry for entry in compared if entry[0] < comparison.agreement)
    return {
        "agreement": comparison.agreement,
        "pairs_compared": len(compared),
        "pairs_not_compared": skipped,
        "median_iou": float(np.median([entry[0] for entry in compared])) if compared else None,
        "contradictory": len(below),
        "pairs": [
            {"images": [names[first], names[second]], "iou": overlap}
            for overlap, first, second in below[:NAMED]
        ],
    }


def split_leaks(images: pd.DataFrame) -> dict[str, Any]:
    """Return the groups that lie in several parts of an official split, by name."""
    official = images.assign(name=_names(images)).dropna(subset=["split"])
    parts = official.groupby("group")["split"].nunique()
    leaking = official[official["group"].isin(parts.index[parts > 1])]
    named: list[dict[str, Any]] = []
    for group, rows in leaking.groupby("group", sort=True):
        if len(named) == NAMED:
            break
        by_split = _by_value(rows["name"].to_numpy(), rows["split"].to_numpy(dtype=object))
        named.append({"group": group, "images": by_split})
    return {
        "official_split": bool(len(official)),
        "groups": int((parts > 1).sum()),
        "images": len(leaking),
        "named": named,
    }


def intersection_over_union(
    first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> float | None:
    """Return the IoU of two masks of one shape, or None where both are empty."""
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else None


class _Masks:
    """Masks scaled to one size; remembers the few of the set of duplicates at hand."""

    def __init__(self, images: pd.DataFrame, comparison: MaskComparison) -> None:
        self._masks = list(images["masks"])
        self._frames = list(images["frame"])
        self._comparison = comparison
        self._known: dict[int, NDArray[np.bool_]] = {}

    def exist(self, row: int) -> bool:
        return bool(self._masks[row])

    def read(self, row: int) -> NDArray[np.bool_]:
        if row not in self._known:
            if len(self._known) > 128:
                self._known.clear()
            how = self._comparison
            mask = read_mask(
                how.raw, self._masks[row], self._frames[row], how.max_pixels, how.reading
            )
            scaled = Image.fromarray(mask).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
            self._known[row] = np.asarray(scaled)
        return self._known[row]


def _by_value(names: NDArray[Any], values: NDArray[Any]) -> dict[str, list[str]]:
    """Return value -> names, both sorted; null values left out."""
    given = sorted({str(value) for value in values[pd.notna(values)]})
    return {value: list(names[values == value]) for value in given}


def _names(images: pd.DataFrame) -> NDArray[np.object_]:
    """Return the path of each image, and its frame where one file holds several images."""
    frames = "#" + images["frame"].astype(str)
    several = images["path"].duplicated(keep=False)
    return np.asarray(images["path"] + frames.where(several, ""), dtype=object)
