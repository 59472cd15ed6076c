"""Which images must never be separated: the same patient, the same file, the same picture."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.array_types import Rows
from maskwise.ingest.duplicates import join, near_duplicates, parse_hashes

LARGEST_COMPARED = 64
"""Members of a duplicate component up to which all its pairs are looked at one by one."""


@dataclass(frozen=True)
class Groups:
    """Of the N images of a table, row by row."""

    group: NDArray[np.object_]
    """``(N,)`` name: the least ``image_id`` among those that belong together."""
    duplicate: Rows
    """``(N,)`` number: the same for duplicates and near-duplicates, whoever the patient is."""
    pairs: int
    """Pairs of images within the distance."""


def group_images(images: pd.DataFrame, distance: int) -> Groups:
    """Group by patient, volume, file and picture; blank pictures are alike for no reason.

    ``images`` has the columns ``image_id, path, format, patient, pixels_sha256, phash, blank``.
    ``distance`` 0 takes identical pixels only.
    """
    shown = np.flatnonzero(~images["blank"].to_numpy(dtype=bool))
    hashes = images["pixels_sha256"].iloc[shown]
    duplicate = join(np.arange(len(images)), [_chain(hashes, shown)])
    sizes = hashes.value_counts().to_numpy()
    pairs = int((sizes * (sizes - 1) // 2).sum())
    if distance:
        near = near_duplicates(parse_hashes(list(images["phash"].iloc[shown])), distance)
        duplicate = join(duplicate, [_chain(pd.Series(near.component), shown)])
        pairs = near.pairs
    everyone = np.arange(len(images))
    pages = images["path"].where(images["format"] != "NPZ")  # which is a whole set of images
    links = [_chain(images["patient"], everyone), _chain(pages, everyone)]
    if "volume" in images:
        links.append(_chain(images["volume"], everyone))
    number = join(duplicate, links)
    names = images["image_id"].groupby(number).transform("min")
    return Groups(names.to_numpy(dtype=object), duplicate, pairs)


def duplicate_pairs(
    images: pd.DataFrame, groups: Groups, distance: int
) -> Iterator[tuple[int, int]]:
    """Yield the rows of each pair of duplicates within ``distance``, component by component.

    Of a component larger than ``LARGEST_COMPARED`` each member is paired with the first only.
    """
    hashes = parse_hashes(list(images["phash"]))
    for members in duplicate_sets(groups.duplicate):
        if len(members) > LARGEST_COMPARED:
            yield from ((int(members[0]), int(other)) for other in members[1:])
            continue
        for first, second in combinations(map(int, members), 2):
            if not distance or np.bitwise_count(hashes[first] ^ hashes[second]) <= distance:
                yield first, second


def duplicate_sets(duplicate: Rows) -> list[Rows]:
    """Return the rows of each component of two images or more, by its first row."""
    rows = np.flatnonzero(np.bincount(duplicate)[duplicate] > 1)  # few, and the rest is many
    rows = rows[np.argsort(duplicate[rows], kind="stable")]
    if not len(rows):
        return []
    ends = np.flatnonzero(np.diff(duplicate[rows])) + 1
    return sorted(np.split(rows, ends), key=lambda rows: int(rows[0]))


def sets_that_differ(duplicate: Rows, values: pd.Series) -> NDArray[np.bool_]:
    """Return of each component, by its number, whether its images have several ``values``.

    Null is no value.
    """
    codes = pd.factorize(values)[0]
    known = np.flatnonzero(codes >= 0)
    least = np.full(int(duplicate.max(initial=-1)) + 1, len(codes))
    largest = np.full(len(least), -1)
    np.minimum.at(least, duplicate[known], codes[known])
    np.maximum.at(largest, duplicate[known], codes[known])
    differ: NDArray[np.bool_] = least < largest
    return differ


def _chain(keys: pd.Series, rows: Rows) -> NDArray[np.int64]:
    """Link ``rows`` of equal, non-null ``keys``: each with the next, ``(2, L)``."""
    codes = pd.factorize(keys)[0]
    order = np.argsort(codes, kind="stable")
    order = order[codes[order] >= 0]
    same = codes[order[1:]] == codes[order[:-1]]
    return np.stack([rows[order[:-1][same]], rows[order[1:][same]]])
