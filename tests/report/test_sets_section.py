"""What the page says of sets of answers."""

from dataclasses import replace
from typing import Any

from maskwise.report.elements import Cell, Element, Paragraph, Table
from maskwise.report.facts import read_facts
from maskwise.report.sections import sets
from report.synthetic import study


def answer(name: str, held_out: int, value: float, absent: bool = False) -> dict[str, Any]:
    return {
        "name": name, "absent": absent,
        "held_out": held_out, "patients": 20, "value": value, "low": 0.7, "high": 0.97,
        "expected_low": 0.75, "expected_high": 1.0,
    }  # fmt: skip


def shown(found: dict[str, Any] | None, named: bool = True) -> list[Element]:
    inputs = study(seeds=(0, 1, 2), recipes=("scratch", "dqn"))
    if not named:
        inputs = replace(inputs, manifest=inputs.manifest.assign(patient=None))
    facts = read_facts(replace(inputs, scores={**inputs.scores, "sets": found}))
    return sets.elements(facts)


def found(facts_mode: str = "full") -> dict[str, Any]:
    figures = {
        "size": 1.26,
        "single": 0.74,
        "answers": [answer("benign", 30, 0.9), answer("malignant", 4, 1.0, absent=True)],
    }
    curves = {facts_mode: {str(each): figures for each in (0.05, 0.1, 0.2, 0.5, 1.0)}}
    return {"coverage": 0.9, "needed": 9, "scores": {"dqn": curves, "scratch": curves}}


def test_each_answer_has_its_coverage_with_its_patients_and_where_it_should_lie() -> None:
    modes = [shown(found(mode)) for mode in ("full", "probe")]
    elements = next(each for each in modes if each)
    table = next(each for each in elements if isinstance(each, Table))
    assert (
        "1.26 answers in a set on average, one alone for 74\N{NO-BREAK SPACE}%" in table.caption
    )
    rows = [
        tuple(cell.text if isinstance(cell, Cell) else cell for cell in r) for r in table.rows
    ]
    assert rows[0] == (
        "benign", "30", "20", "0.90 [0.70,\N{NO-BREAK SPACE}0.97]",
        "[0.75,\N{NO-BREAK SPACE}1.00]",
    )  # fmt: skip
    assert rows[1][0] == "not malignant"
    assert rows[1][1] == "4 (too few: always in the set)"
    said = next(each.text for each in elements if isinstance(each, Paragraph))
    assert "needs 9 held-out patients of each" in said
    assert "or it is chance, in up to 5 of 100" in said


def test_groups_are_not_called_patients_where_no_patient_is_named() -> None:
    modes = [shown(found(mode), named=False) for mode in ("full", "probe")]
    elements = next(each for each in modes if each)
    table = next(each for each in elements if isinstance(each, Table))
    assert table.head[1:3] == ("held-out groups", "test groups")
    said = next(each.text for each in elements if isinstance(each, Paragraph))
    assert "needs 9 held-out groups of each" in said
    assert "patient" not in said


def test_a_study_scored_by_a_version_without_sets_says_nothing_of_them() -> None:
    assert shown(None) == []
