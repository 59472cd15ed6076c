"""What the page says of labels that vanish: order, who stands higher, and who loses less."""

from dataclasses import replace
from typing import Any

import pytest

from maskwise.report.elements import Cell, Table
from maskwise.report.facts import read_facts
from maskwise.report.sections import shrinkage
from report.synthetic import study


def figure(value: float | None, half: float = 0.1) -> dict[str, float | None]:
    if value is None:
        return dict.fromkeys(("value", "low", "high"))
    return {"value": value, "low": value - half, "high": value + half}


FOUND = {
    "recipes": {
        "scratch": {"images": [20, 200], "area": figure(0.6), "drop": figure(None)},
        "dqn": {"images": [20, 200], "area": figure(0.8), "drop": figure(0.25)},
    },
    "wins": {"dqn": {"scratch": figure(0.2)}, "scratch": {"dqn": figure(-0.2)}},
    "pairs": [
        {"recipe": "dqn", "against": "scratch", "area": figure(0.2), "drop": figure(0.3)},
        {"recipe": "gone", "against": "scratch", "area": figure(0.2), "drop": figure(0.3)},
    ],
}


def tables(covers: str) -> tuple[list[Table], str]:
    inputs = study(seeds=(0, 1, 2), recipes=("scratch", "dqn"))
    scores: dict[str, Any] = {**inputs.scores, "shrinkage": {"full": FOUND}, "covers": covers}
    scores["leading"] = "macro_auroc"
    elements = shrinkage.elements(read_facts(replace(inputs, scores=scores)))
    return [each for each in elements if isinstance(each, Table)], str(elements)


def test_recipes_stand_in_the_order_of_their_areas() -> None:
    (areas, _, _), _ = tables("training and test images")
    names = [row[0].text for row in areas.rows if isinstance(row[0], Cell)]
    assert names == ["Intelligent Masking", "no pre-training"]
    assert areas.rows[0][1:] == (
        "0.800 [0.700,\N{NO-BREAK SPACE}0.900]",
        "0.25 [0.15,\N{NO-BREAK SPACE}0.35]",
    )
    assert areas.rows[1][2] == "—"
    assert "from 200 to 20 labelled images" in areas.caption


@pytest.mark.parametrize(
    ("covers", "shaded"), [("training and test images", 0.5), ("test images only", None)]
)
def test_a_difference_is_shaded_only_where_training_was_repeated(
    covers: str, shaded: float | None
) -> None:
    (_, wins, _), said = tables(covers)
    cell = wins.rows[0][2]
    assert isinstance(cell, Cell)
    assert cell.text == "+0.20 [0.10, 0.30]"
    assert cell.shade == shaded
    assert ("no difference is shaded" in said) == (shaded is None)


def test_who_stands_higher_and_loses_more_does_not_read_as_the_winner() -> None:
    (_, _, pairs), said = tables("training and test images")
    assert "Who loses less" in pairs.caption
    ((recipe, against, area, lost, words),) = pairs.rows
    assert isinstance(recipe, Cell)
    assert isinstance(area, Cell)
    assert isinstance(lost, Cell)
    assert (recipe.text, against) == ("Intelligent Masking", "no pre-training")
    assert (area.text, lost.text) == ("+0.20 [0.10, 0.30]", "+0.30 [0.20, 0.40]")
    assert words == "higher, but loses more"
    assert "To stand higher is not to lose less" in said


def test_one_fraction_has_no_such_part() -> None:
    assert shrinkage.elements(read_facts(study())) == []
