"""Every option of every stage, registry and depth: misspelt keys and numbers that cannot be."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, get_args, get_origin

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from maskwise.annotations import option_kinds, plain, stated
from maskwise.bounds import Length, Share
from maskwise.config import Choice, parse
from maskwise.errors import UserError
from maskwise.pipelines import parsing
from options import ROOTS, Number, Place, numbers, places

PLACES = places()
NUMBERS = numbers(PLACES)


@dataclass(frozen=True)
class Leaf:
    """Found wherever a block may stand."""

    reach: Share = 0.5


@dataclass(frozen=True)
class Other:
    """The other of two."""

    strength: Share = 0.5


@dataclass(frozen=True)
class Tree:
    """Holds blocks in all ways."""

    one: Leaf = field(default_factory=Leaf)
    either: Leaf | Other | None = None
    many: tuple[Leaf, ...] = ()
    named: Mapping[str, Leaf] = field(default_factory=dict)
    nested: Mapping[str, tuple[Leaf, ...]] = field(default_factory=dict)
    chosen: Annotated[Any, Choice(lambda: {"leaf": Leaf, "other": Other})] = None
    perhaps: Annotated[Any, Choice(lambda: {"leaf": Leaf})] | None = None


def tree(block: Any, where: str) -> Tree:
    """Parse a tree."""
    return parse(Tree, block, where)


TREE = places({tree: Tree})


def told(place: Place, options: Mapping[Any, Any]) -> list[str]:
    """Return the lines of what ``options`` in this place are refused with."""
    with pytest.raises(UserError) as caught:
        place.parse(place.written(options), "block")
    return str(caught.value).split("\n")


@st.composite
def misspelt(draw: st.DrawFn, key: str) -> str:
    """Leave a letter out, write it twice, swap two, add one, or write capitals."""
    i = draw(st.integers(0, len(key) - 1))
    return draw(
        st.sampled_from(
            [
                key[:i] + key[i + 1 :],
                key[:i] + 2 * key[i] + key[i + 1 :],
                key[: i - 1] + key[i : i + 1] + key[i - 1 : i] + key[i + 1 :],
                key + "s",
                key.upper(),
                key.capitalize(),
            ]
        )
    )


def test_the_walk_begins_at_every_block_that_a_stage_or_source_has() -> None:
    assert {
        *parsing.STAGE_BLOCKS.values(),
        *parsing.SOURCE_BLOCKS.values(),
        parsing.recipe,
    } == set(ROOTS)


def test_the_walk_finds_blocks_however_they_are_held() -> None:
    assert {place.path for place in TREE} == {
        (),
        ("one",),
        ("either",),
        ("many", 0),
        ("named", "mine"),
        ("nested", "mine", 0),
        ("chosen",),
        ("perhaps",),
    }


@pytest.mark.parametrize("place", [*PLACES, *TREE], ids=str)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_all_misspelt_keys_of_a_block_are_told_with_their_paths(
    place: Place, data: st.DataObject
) -> None:
    keys = list(option_kinds(place.config))
    wrong = {data.draw(misspelt(key)): key for key in keys}
    assume(not set(wrong) & {*keys, "", "name"})
    wrong = wrong or {"anything": ""}
    lines = told(place, dict.fromkeys(wrong, 1))
    for key, meant in wrong.items():
        (line,) = [each for each in lines if each.startswith(f"{place.where(key)}: ")]
        assert "there is no such option" in line
        # An option of another choice, as a policy's, is told to be one of that.
        if len(meant) > 3 and "of another name" not in line:
            assert "did you mean" in line
    assert len(lines) == len(wrong)


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_a_key_that_is_no_text_is_no_option(place: Place) -> None:
    for key in (True, False, 5, 1.5, None, ("a", "b")):
        (line,) = told(place, {key: 1})
        assert line.startswith(f"{place.where(_yaml(key))}: ")


def _yaml(key: object) -> object:
    return {True: "true", False: "false", None: "null"}.get(key, key)  # type: ignore[call-overload]


def test_every_number_is_bounded() -> None:
    for number in NUMBERS:
        bounds = number.bounds
        assert bounds is not None, (
            f"{number}: say Annotated[{plain(number.kind).__name__}, Within(low, high)]"
        )
        assert -(10**12) < bounds.low < bounds.high < 10**12, number


@pytest.mark.parametrize("number", NUMBERS, ids=str)
def test_a_number_out_of_bounds_is_refused_by_its_own_key(number: Number) -> None:
    bounds = number.bounds
    assert bounds is not None
    wrong: list[Any] = [math.nan, math.inf, -math.inf, bounds.low - 1, bounds.high * 10]
    wrong += [10**12, 10**400, 10**5000, True, "wide", [], {}]
    wrong += [bounds.low] if bounds.above else []
    wrong += [bounds.high] if bounds.below else []
    wrong += [bounds.low + 0.5] if number.whole else []
    for value in wrong:
        with pytest.raises(UserError) as caught:
            number.place.parse(number.written(value), "block")
        (line,) = str(caught.value).split("\n")
        assert line.startswith(f"{number.where()}: ")
        assert len(line) < 400


def test_every_list_of_numbers_has_a_bounded_length() -> None:
    lists = [
        (place, key, kind)
        for place in PLACES
        for key, kind in option_kinds(place.config).items()
        if get_origin(plain(kind)) is tuple and plain(get_args(plain(kind))[0]) in (int, float)
    ]
    assert lists
    for place, key, kind in lists:
        if get_args(plain(kind))[-1] is Ellipsis:
            assert stated(kind, Length), (
                f"{place}: say how long {key} may be: Length(low, high)"
            )
        (line,) = told(place, {key: [1] * 100_000})
        assert line.startswith(f"{place.where(key)}: ")
        assert "100,000" in line or "99,990" in line
        assert len(line) < 400


def test_a_block_that_is_none_is_refused_by_its_path() -> None:
    inner = [place for place in PLACES if place.path]
    assert inner
    for place in inner:
        outer = Place(place.parse, place.path[:-1], place.config, place.around[:-1])
        for value in (3, ["a"], "text", [1] * 100_000):
            (line,) = told(outer, {place.path[-1]: value})
            # Or one of some words, where the option may be a word too.
            assert line.startswith(f"{place.where()}: should be ")
            assert "should be a block of options, but is " in line or " or {" in line
            assert len(line) < 400
