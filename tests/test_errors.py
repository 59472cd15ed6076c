"""Values and names in messages: as a user wrote them, and never longer than can be read."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskwise.errors import MOST_NAMES, closest, hint, joined, listed, shown

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inside: (
        st.lists(inside, max_size=30) | st.dictionaries(st.text() | st.integers(), inside)
    ),
)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "null"),
        (True, "true"),
        (math.nan, "nan"),
        ("a", "'a'"),
        ([1, "b"], "[1, 'b']"),
        ((1, 2), "(1, 2)"),
        ({"a": 1}, "{'a': 1}"),
        ([0] * 10_000, "[0, 0, 0, 0, 0, 0, 0, 0, 0, 0 and 9,990 more]"),
        (10**5000, "a number of 16,610 bits"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown_as_it_was_written_and_cut_where_it_is_long(
    value: Any, said: str
) -> None:
    assert shown(value) == said


@given(ANYTHING)
def test_whatever_a_file_holds_is_shown_in_a_few_lines(value: Any) -> None:
    assert len(shown(value)) < 3_000
    assert "\n" not in shown(value)


def test_a_value_that_holds_itself_is_shown() -> None:
    value: list[Any] = [1]
    value.append(value)
    assert len(shown(value)) < 100


def test_a_long_text_keeps_its_two_ends() -> None:
    said = shown("begin" + "x" * 10**6 + "end")
    assert said.startswith("'begin")
    assert said.endswith("end'")
    assert len(said) <= 80


def test_of_many_names_the_first_are_listed_and_the_others_counted() -> None:
    names = [f"n{i:05}" for i in range(10_000)]
    assert listed(names).endswith(f"n{MOST_NAMES - 1:05} and 9,960 more")
    assert hint("", names).startswith("choose from n00000, n00001, ")


def test_of_many_problems_the_first_are_told_and_the_others_counted() -> None:
    lines = joined(f"key{i}: wrong" for i in range(1_000)).split("\n")
    assert (lines[0], lines[-1], len(lines)) == ("key0: wrong", "and 900 more", 101)
    assert joined(["a: wrong", "b: wrong\na: wrong"]) == "a: wrong\nb: wrong"


def test_a_name_in_capitals_is_near_the_one_in_small_letters() -> None:
    assert closest("RATIO", ["ratio", "rate"]) == "ratio"
    assert closest("x" * 10**6, ["ratio"]) is None
