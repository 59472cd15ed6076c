"""Several labels in one cell, and rare combinations of them pooled."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskwise.combinations import OTHERS, pool_rare, shown_by, terms_of

LABELS = ("a", "b", "c")
groups = st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=60)


def shows(*cells: str) -> NDArray[np.bool_]:
    return shown_by([terms_of(cell, "|") for cell in cells], LABELS)


@pytest.mark.parametrize(
    ("cell", "terms"),
    [
        ("ROUND", ("ROUND",)),
        ("ROUND|OVAL", ("ROUND", "OVAL")),
        (" ROUND | OVAL |", ("ROUND", "OVAL")),
        ("OVAL|OVAL", ("OVAL",)),
        ("|", ()),
    ],
)
def test_a_cell_names_each_label_once_without_the_blanks_around_it(
    cell: str, terms: tuple[str, ...]
) -> None:
    assert terms_of(cell, "|") == terms


def test_an_image_shows_each_of_the_labels_that_its_cell_combines() -> None:
    np.testing.assert_array_equal(shows("c|a", "b"), [[1, 0, 1], [0, 1, 0]])


def test_a_combination_of_enough_groups_is_a_stratum_and_rarer_ones_join_by_label() -> None:
    cells = ["a"] * 9 + ["a|b"] * 6 + ["a|c", "b|c", "c"]
    strata = pool_rare(shows(*cells), LABELS, least=3)
    assert Counter(strata) == {"a": 9, "a + b": 6, "rare, with c": 3}


def test_pools_that_are_too_small_join_each_other() -> None:
    cells = ["a"] * 9 + ["b", "b", "c"]
    assert Counter(pool_rare(shows(*cells), LABELS, least=3)) == {"a": 9, OTHERS: 3}


def test_what_is_left_over_and_too_little_joins_the_smallest_stratum() -> None:
    cells = ["a"] * 9 + ["b"] * 5 + ["c"]
    assert Counter(pool_rare(shows(*cells), LABELS, least=3)) == {"a": 9, "b": 6}


@given(groups, st.integers(1, 10))
@settings(deadline=None)
def test_every_stratum_has_enough_groups_unless_it_is_the_only_one(
    shown: list[tuple[bool, ...]], least: int
) -> None:
    sizes = Counter(pool_rare(np.array(shown), LABELS, least))
    assert len(sizes) == 1 or min(sizes.values()) >= least


@given(groups, st.integers(1, 10))
@settings(deadline=None)
def test_a_group_s_stratum_depends_on_its_combination_and_not_on_its_place(
    shown: list[tuple[bool, ...]], least: int
) -> None:
    order = np.random.default_rng(len(shown)).permutation(len(shown))
    strata = pool_rare(np.array(shown), LABELS, least)
    moved = pool_rare(np.array(shown)[order], LABELS, least)
    assert list(moved) == list(strata[order])
    by_combination = {(one, name) for one, name in zip(shown, strata, strict=True)}
    assert len(by_combination) == len(set(shown))


@given(groups, st.integers(1, 10))
@settings(deadline=None)
def test_no_combination_of_enough_groups_is_divided_from_its_name(
    shown: list[tuple[bool, ...]], least: int
) -> None:
    strata = pool_rare(np.array(shown), LABELS, least)
    for one, size in Counter(shown).items():
        names = {name for each, name in zip(shown, strata, strict=True) if each == one}
        if size >= least:
            held = [label for label, there in zip(LABELS, one, strict=True) if there]
            assert names == {" + ".join(held) or "none of them"}
