"""The search for near-duplicates against a comparison of everyone with everyone."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskwise.array_types import Rows
from maskwise.ingest import duplicates
from maskwise.ingest.duplicates import (
    BITS,
    block_pairs,
    faiss_pairs,
    near_duplicates,
    near_pairs,
)

Search = Callable[[NDArray[np.uint64], int], Iterator[tuple[Rows, Rows]]]
needs_faiss = pytest.mark.skipif(find_spec("faiss") is None, reason="faiss is not installed")


def by_tables(hashes: NDArray[np.uint64], distance: int) -> Iterator[tuple[Rows, Rows]]:
    """Search as FAISS does among many images, however few these are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_WORTH_TABLES", 0)
        patch.setattr(duplicates, "_MOST_FLIPS", 16)
        yield from faiss_pairs(hashes, distance)


BY_FAISS = [pytest.param(search, marks=needs_faiss) for search in (faiss_pairs, by_tables)]


def all_pairs(hashes: NDArray[np.uint64], distance: int) -> set[tuple[int, int]]:
    """Return every pair within ``distance``, the slow way."""
    values = [int(value) for value in hashes]
    return {
        (i, j)
        for i in range(len(values))
        for j in range(i + 1, len(values))
        if (values[i] ^ values[j]).bit_count() <= distance
    }


def found_pairs(
    hashes: NDArray[np.uint64], distance: int, search: Search = near_pairs
) -> list[tuple[int, int]]:
    """Return what a search yields, each pair in ascending order."""
    return [
        (min(pair), max(pair))
        for first, second in search(hashes, distance)
        for pair in zip(first.tolist(), second.tolist(), strict=True)
    ]


@st.composite
def clustered(draw: st.DrawFn) -> NDArray[np.uint64]:
    """Draw hashes of which many are a few bits apart, as duplicates' are."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 63), max_size=6)
    members = draw(
        st.lists(st.tuples(st.sampled_from(centres), flips), min_size=1, max_size=30)
    )
    return np.array([c ^ sum({1 << bit for bit in bits}) for c, bits in members], np.uint64)


@pytest.mark.parametrize("search", [block_pairs, *BY_FAISS])
@settings(deadline=None)  # the first asks for an import
@given(hashes=clustered(), distance=st.integers(1, 16))
def test_every_pair_within_the_distance_is_found_once(
    search: Search, hashes: NDArray[np.uint64], distance: int
) -> None:
    found = found_pairs(hashes, distance, search)
    assert len(found) == len(set(found))
    assert set(found) == all_pairs(hashes, distance)


@pytest.mark.parametrize("search", BY_FAISS)
@pytest.mark.parametrize("distance", [7, 10, 16])
def test_pairs_at_just_the_distance_are_found_wherever_their_bits_differ(
    search: Search, distance: int
) -> None:
    generator = np.random.default_rng(distance)
    hashes = generator.integers(0, 2**63, 2000, np.uint64)
    for row in range(0, 2000, 2):  # one bit too many for every tenth
        places = generator.permutation(BITS)[: distance + (row % 10 == 0)].astype(np.uint64)
        hashes[row + 1] = hashes[row] ^ np.bitwise_or.reduce(np.uint64(1) << places)
    found = set(found_pairs(hashes, distance, search))
    assert found == set(found_pairs(hashes, distance, block_pairs))
    assert len(found & {(row, row + 1) for row in range(0, 2000, 2)}) == 800


def test_a_long_search_without_faiss_says_what_would_shorten_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hashes = np.arange(30, dtype=np.uint64)
    monkeypatch.setattr(duplicates, "FEW", 20)
    monkeypatch.setattr(duplicates, "find_spec", lambda name: None)
    assert set(found_pairs(hashes, 7)) == all_pairs(hashes, 7)
    assert "pip install 'maskwise[faiss]'" in caplog.text


@given(hashes=clustered(), distance=st.integers(0, 16))
def test_linked_images_get_one_number_and_pairs_are_counted(
    hashes: NDArray[np.uint64], distance: int
) -> None:
    pairs = all_pairs(hashes, distance)
    near = near_duplicates(hashes, distance)
    number = list(range(len(hashes)))
    for _ in number:
        for i, j in pairs:
            number[i] = number[j] = min(number[i], number[j])
    assert near.pairs == len(pairs)
    for i, j in combinations(range(len(hashes)), 2):
        assert (near.component[i] == near.component[j]) == (number[i] == number[j])


@pytest.mark.parametrize("tile", [1, 3, 2048])
def test_the_size_of_the_tiles_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tile: int
) -> None:
    hashes = np.arange(40, dtype=np.uint64)
    monkeypatch.setattr("maskwise.ingest.duplicates._TILE", tile)
    assert set(found_pairs(hashes, 2)) == all_pairs(hashes, 2)


def test_many_links_are_reduced_on_the_way_without_losing_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashes = np.array([(1 << i) - 1 for i in range(60)], dtype=np.uint64)  # a chain
    monkeypatch.setattr("maskwise.ingest.duplicates._MANY", 3)
    assert set(near_duplicates(hashes, 1).component) == {0}
