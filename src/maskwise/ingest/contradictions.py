"""What duplicates say against each other, and which groups an official split tears apart."""

from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.labels import LABEL, label_columns
from maskwise.artefacts.manifest import REGION, regions_of
from maskwise.ingest.groups import Groups, duplicate_pairs, duplicate_sets, sets_that_differ
from maskwise.ingest.overlap import MaskComparison, overlap_of
from maskwise.scans.objects import in_turn
from maskwise.workers import Pool

NAMED = 1000
"""Contradictions and leaks that a summary names one by one; the rest are counted."""
COMPARED = 20_000
"""Pairs of masks that are compared; the rest are counted."""
_AT_ONCE = 64
"""Pairs that a process is handed at once."""


def label_contradictions(
    images: pd.DataFrame, groups: Groups
) -> tuple[int, list[dict[str, Any]]]:
    """Return how many sets of duplicates have several values of a label, and the first of them.

    An entry stands for a set and a label: value -> paths.
    """
    columns = label_columns(images)
    differ = {name: sets_that_differ(groups.duplicate, images[name]) for name in columns}
    values = {name: images[name].to_numpy(dtype=object) for name in columns}
    names = _names(images)
    found = (
        {
            "label": column.removeprefix(LABEL),
            "images": _by_value(names[members], values[column][members]),
        }
        for members in duplicate_sets(groups.duplicate)
        for column in columns
        if differ[column][groups.duplicate[members[0]]]
    )
    return sum(int(one.sum()) for one in differ.values()), list(islice(found, NAMED))


def crossing_pairs(images: pd.DataFrame, groups: Groups, distance: int) -> dict[str, int]:
    """Count, per label, the pairs of duplicates that differ in it."""
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
    outlined = [bool(paths) for paths in images["masks"]]
    pairs = (
        pair
        for pair in (duplicate_pairs(images, groups, distance) if any(outlined) else ())
        if outlined[pair[0]] and outlined[pair[1]]
    )
    chosen = list(islice(pairs, COMPARED))
    overlaps = _overlaps(images, chosen, comparison)
    compared = [
        (overlap, *pair)
        for overlap, pair in zip(overlaps, chosen, strict=True)
        if overlap is not None
    ]
    names = _names(images)
    below = sorted(entry for entry in compared if entry[0] < comparison.agreement)
    return {
        "agreement": comparison.agreement,
        "pairs_compared": len(compared),
        "pairs_not_compared": sum(1 for _ in pairs),
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


def _overlaps(
    images: pd.DataFrame, pairs: list[tuple[int, int]], how: MaskComparison
) -> Iterator[float | None]:
    """Yield the overlap of each pair; None where both are empty, or one can be read no more."""
    masks, frames, regions = list(images["masks"]), list(images["frame"]), regions_of(images)
    tasks = [
        tuple((tuple(masks[row]), int(frames[row]), regions[row]) for row in pair)
        for pair in pairs
    ]
    chunks = (tasks[start : start + _AT_ONCE] for start in range(0, len(tasks), _AT_ONCE))
    with Pool(1) as pool:
        yield from chain.from_iterable(
            in_turn(
                how.raw,
                chunks,
                lambda pair: chain.from_iterable(paths for paths, _, _ in pair),
                lambda brought: pool.map(
                    partial(overlap_of, how), brought, lambda pair, loss: None
                ),
            )
        )


def _by_value(names: NDArray[Any], values: NDArray[Any]) -> dict[str, list[str]]:
    """Return value -> names, both sorted; null values left out."""
    given = sorted({str(value) for value in values[pd.notna(values)]})
    return {value: list(names[values == value]) for value in given}


def _names(images: pd.DataFrame) -> NDArray[np.object_]:
    """Return the path of each image, and its frame where one file holds several images.

    Where these are parts of one frame, it is the part.
    """
    frames = "#" + images["frame"].astype(str)
    if REGION in images:
        places = pd.Series(regions_of(images), images.index, dtype=object)
        frames = frames.where(places.isna(), "#" + places.astype(str))
    several = images["path"].duplicated(keep=False)
    return np.asarray(images["path"] + frames.where(several, ""), dtype=object)
