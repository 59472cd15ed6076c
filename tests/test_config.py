"""YAML to dataclasses: every mistake of a block in one message."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import pytest

from maskwise.bounds import Within
from maskwise.config import choose, parse
from maskwise.errors import UserError, hint

Count = Annotated[int, Within(1, 100)]


@dataclass(frozen=True)
class Inner:
    """A block inside a block."""

    depth: Count = 1
    height: Count = 1


@dataclass(frozen=True)
class Outer:
    """A block with a preset."""

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"share": 0.5, "side": 9},
        "deep": {"inner": {"depth": 7, "height": 7}},
    }

    share: float = 0.1
    side: Count = 5
    sides: tuple[Count, ...] = (1,)
    preset: str | None = None
    flag: bool = False
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share is {self.share}, but should lie between 0 and 1")


KNOWN: dict[str, type[Any]] = {"outer": Outer, "inner": Inner}


def test_a_block_becomes_a_dataclass_with_its_nested_blocks() -> None:
    parsed = parse(Outer, {"side": 7, "inner": {"depth": 3}}, "recipe")
    assert parsed == Outer(side=7, inner=Inner(depth=3))


def test_all_mistakes_of_a_block_are_named_at_once_by_their_path() -> None:
    with pytest.raises(UserError) as caught:
        parse(Outer, {"shar": 0.2, "side": "wide", "inner": {"depth": "deep"}}, "recipe")
    message = str(caught.value)
    assert "recipe.shar: there is no such option; did you mean 'share'?" in message
    assert "recipe.side: " in message
    assert "recipe.inner.depth: " in message


def test_a_key_that_yaml_reads_as_true_or_a_number_is_no_option() -> None:
    for key, name in ((True, "true"), (5, "5")):  # on: …, 5: …
        block: Any = {key: 1, "side": 3}
        with pytest.raises(UserError, match=f"recipe.{name}: "):
            parse(Outer, block, "recipe")


@pytest.mark.parametrize(
    ("block", "place"),
    [
        ({"side": True}, "recipe.side: should not be true"),
        ({"sides": [2, True]}, r"recipe.sides\[1\]: should not be true"),
        ({"inner": {"depth": True}}, "recipe.inner.depth: should not be true"),
    ],
)
def test_true_is_not_the_number_1(block: dict[str, Any], place: str) -> None:
    with pytest.raises(UserError, match=place):
        parse(Outer, block, "recipe")
    assert parse(Outer, {"flag": True, "sides": [1, 2]}, "recipe").flag


def test_a_refused_value_keeps_the_sentence_that_refuses_it() -> None:
    with pytest.raises(
        UserError, match=r"recipe: share is 2.0, but should lie between 0 and 1"
    ):
        parse(Outer, {"share": 2}, "recipe")


def test_a_preset_that_is_no_name_is_refused() -> None:
    presets: tuple[Any, ...] = (["paper"], {})
    for preset in presets:
        with pytest.raises(UserError, match=r"recipe.preset: there is no .*paper"):
            parse(Outer, {"preset": preset}, "recipe")


def test_a_preset_gives_defaults_that_written_keys_win_over() -> None:
    assert parse(Outer, {"preset": "paper", "side": 4}, "recipe") == Outer(
        0.5, 4, preset="paper"
    )


def test_a_key_inside_a_block_wins_and_leaves_the_presets_other_keys_alone() -> None:
    parsed = parse(Outer, {"preset": "deep", "inner": {"depth": 2}}, "recipe")
    assert parsed.inner == Inner(depth=2, height=7)


def test_an_unknown_preset_names_the_close_match() -> None:
    with pytest.raises(UserError, match=r"recipe.preset: there is no 'papre'; .*'paper'"):
        parse(Outer, {"preset": "papre"}, "recipe")


def test_a_name_picks_the_class_and_an_unknown_one_names_the_close_match() -> None:
    assert choose(KNOWN, {"name": "inner", "depth": 2}, "recipe") == Inner(depth=2)
    with pytest.raises(UserError, match=r"recipe.name: there is no 'iner'; .*'inner'"):
        choose(KNOWN, {"name": "iner"}, "recipe")


@pytest.mark.parametrize("block", [None, 3, ["outer"]])
def test_what_is_no_block_is_refused(block: Any) -> None:
    with pytest.raises(UserError, match="recipe: should be a block of options, but is"):
        choose(KNOWN, block, "recipe")


def test_a_missing_name_lists_what_there_is() -> None:
    with pytest.raises(UserError, match=r"recipe.name: missing; choose from inner, outer"):
        choose(KNOWN, {}, "recipe")


def test_a_hint_without_anything_to_choose_says_so() -> None:
    assert hint("word", []) == "there is nothing to choose from"
