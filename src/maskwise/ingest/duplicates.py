"""Near-duplicates by perceptual hash, without comparing every image with every other.

Two 64-bit hashes that differ in at most d bits agree wholly in at least one of d + 1 blocks of
bits (pigeonhole). So only hashes that share a block are compared, a tile at a time. Where d is
large the blocks are short, most hashes share one, and FAISS, where it is installed, is faster.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from maskwise.array_types import Rows

log = logging.getLogger(__name__)

Hashes = NDArray[np.uint64]

BITS = 64
_TILE = 2048
"""Hashes per side of the square compared at once: 32 MB."""
FAISS_BEYOND = 6
"""Bits up to which blocks are long enough to tell most images apart (docs/scale.md)."""
FEW = 10_000
"""Hashes that are compared in a second whatever the distance."""
_TABLES, _MOST_FLIPS = 4, 2
_WORTH_TABLES = 100_000
"""Hashes of which tables of blocks are quicker than comparing all with all."""
_QUERIES = 8192
"""Hashes whose neighbours are held at once."""
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
    if distance > FAISS_BEYOND and len(hashes) > FEW:
        if find_spec("faiss") is not None:
            yield from faiss_pairs(hashes, distance)
            return
        log.warning(
            "Near-duplicates among %d images by up to %d bits take long; faiss finds the same "
            "ones sooner: pip install 'maskwise[faiss]' -c constraints.txt",
            len(hashes),
            distance,
        )
    yield from block_pairs(hashes, distance)


def faiss_pairs(hashes: Hashes, distance: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield what ``block_pairs`` does, with one of FAISS's exact indexes."""
    index = _faiss_index(len(hashes), distance)
    codes = hashes.view(np.uint8).reshape(len(hashes), BITS // 8)
    index.add(codes)
    for start in range(0, len(hashes), _QUERIES):
        ends, _, found = index.range_search(codes[start : start + _QUERIES], distance + 1)
        rows = np.repeat(
            np.arange(start, start + len(ends) - 1), np.diff(ends.astype(np.int64))
        )
        later = found > rows  # each pair is found from both sides, and each from itself
        if later.any():
            yield rows[later], found[later].astype(np.int64)


def _faiss_index(images: int, distance: int) -> Any:
    """Return an empty index: of few hashes a flat one, which compares all with all.

    Of many it is multi-index hashing (Norouzi et al., CVPR 2012): of four blocks of 16 bits at
    least one differs in at most a quarter of ``distance``, so all blocks that near are looked
    up. Beyond two bits of 16 that is more work than comparing all.
    """
    import faiss

    flips = distance // _TABLES
    if images < _WORTH_TABLES or flips > _MOST_FLIPS:
        return faiss.IndexBinaryFlat(BITS)
    index = faiss.IndexBinaryMultiHash(BITS, _TABLES, BITS // _TABLES)
    index.nflip = flips
    return index


def block_pairs(hashes: Hashes, distance: int) -> Iterator[tuple[Rows, Rows]]:
    """Yield each pair of rows within ``distance``, above 0, once, by blocks of equal bits."""
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
