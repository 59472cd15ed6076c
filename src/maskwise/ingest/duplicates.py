"""Near-duplicates by perceptual hash, without comparing every image with every other.

Two 64-bit hashes that differ in at most d bits agree wholly in at least one of d + 1 blocks of
bits (pigeonhole). So only hashes that share a block are compared, a tile at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]

BITS = 64
_TILE = 2048
"""Hashes per side of the square compared at once: 32 MB."""
_MANY = 2_000_000
"""Links after which they are reduced to what still says who belongs together."""


@dataclass(frozen=True)
class NearDuplicates:
    """Who looks like whom, among N images."""

    component: Rows
    """``(N,)``: images of one number are linked, directly or through others."""
    pairs: int
    """Number of pairs within the distance."""


def parse_hashes(texts: list[str]) -> Hashes:
    """Turn 16 hexadecimal digits each into ``(N,)`` uint64."""
    return np.array([int(text, 16) for text in texts], dtype=np.uint64)


def near_duplicates(hashes: Hashes, distance: int) -> NearDuplicates:
    """Link all ``hashes`` ``(N,)`` that differ in at most ``distance`` bits."""
    unique, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    component = np.arange(len(unique), dtype=np.int64)
    equal = int((counts * (counts - 1) // 2).sum())
    pairs, links, waiting = equal, [], 0
    for first, second in near_pairs(unique, distance):
        pairs += int((counts[first] * counts[second]).sum())
        links.append(np.stack([first, second]))
        waiting += len(first)
        if waiting > _MANY:
            component, links, waiting = join(component, links), [], 0
    return NearDuplicates(join(component, links)[inverse.reshape(-1)], pairs)


def join(component: Rows, links: list[NDArray[np.int64]]) -> Rows:
    """Merge the components ``(N,)`` that ``links``, each ``(2, L)`` of rows, connect."""
    if not links or not len(component):
        return component
    first, second = component[np.concatenate(links, axis=1)]
    size = int(component.max()) + 1
    graph = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(size, size))
    joined: Rows = connected_components(graph, directed=False)[1].astype(np.int64)
    return joined[component]


def near_pairs(hashes: Hashes, distance: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield each pair ``first, second`` of rows within ``distance`` once, in batches."""
    if distance == 0:
        return
    shifts, masks = _blocks(distance + 1)
    keys = (hashes[:, None] >> shifts) & masks  # (N, d + 1)
    for block in range(distance + 1):
        order = np.argsort(keys[:, block], kind="stable")
        ends = np.flatnonzero(np.diff(keys[order, block])) + 1
        for bucket in np.split(order, ends):
            if len(bucket) > 1:
                for first, second in _compare(hashes, bucket, distance):
                    # A pair that shares an earlier block was found there.
                    new = (keys[first, :block] != keys[second, :block]).all(axis=1)
                    if new.any():
                        yield first[new], second[new]


def _blocks(count: int) -> tuple[Hashes, Hashes]:
    """Return shift and mask of each of ``count`` blocks that divide the 64 bits."""
    edges = np.linspace(0, BITS, count + 1).astype(int)
    masks = [(1 << (high - low)) - 1 for low, high in pairwise(edges)]
    return edges[:-1].astype(np.uint64), np.array(masks, dtype=np.uint64)


def _compare(hashes: Hashes, rows: Rows, distance: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield the pairs within ``distance`` among ``rows``, tile by tile above the diagonal."""
    for top in range(0, len(rows), _TILE):
        down = rows[top : top + _TILE]
        for left in range(top, len(rows), _TILE):
            across = rows[left : left + _TILE]
            near = np.bitwise_count(hashes[down][:, None] ^ hashes[across]) <= distance
            if left == top:
                near = np.triu(near, 1)
            i, j = np.nonzero(near)
            if len(i):
                yield down[i], across[j]
