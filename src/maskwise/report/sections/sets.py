"""How often sets of answers hold the truth on test images."""

from collections.abc import Mapping
from typing import Any

from maskwise.report.elements import Cell, Element, Heading, Paragraph, Row, Table
from maskwise.report.facts import Facts
from maskwise.report.formatting import interval, measured, number, share
from maskwise.wording import count


def elements(facts: Facts) -> list[Element]:
    """Return a table at the first sentence's mode and fraction; nothing where none was made."""
    sets: Mapping[str, Any] | None = facts.inputs.scores.get("sets")
    recipes = facts.compared(facts.mode, facts.fraction)
    found = {name: _of(sets, name, facts.mode, facts.fraction) for name in recipes}
    known = {name: figures for name, figures in found.items() if figures}
    if not sets or not known:
        return []
    level = share(sets["coverage"])
    person = _person(facts)
    least = count(sets["needed"], f"held-out {person}")
    text = (
        f"Where one answer would be too bold, `predict` gives a set of answers "
        f"(predict.coverage). A {level} set should hold the truth, for all images of a "
        f"{person} at once, in {level} of the {person}s of each class; it is made by the "
        f"validation {person}s, and needs {least} of each. Here it is measured on test "
        f"{person}s, with Wilson's 95 % interval. With so few {person}s to calibrate by, one "
        "network's coverage lies anywhere in the column “expected” in 95 of 100 cases, though "
        f"all is in order; outside it, validation and test images differ, or validation images "
        "chose too much, or it is chance, in up to 5 of 100. Where there are several networks, "
        "“coverage” is the mean over them, and “expected” is of a single one, with the fewest "
        f"held-out and the fewest test {person}s."
    )
    parts: list[Element] = [Heading("Sets of answers"), Paragraph(text)]
    return parts + [_table(facts, name, figures, sets) for name, figures in known.items()]


def _person(facts: Facts) -> str:
    """Return whom sets are counted by: groups, where some image's patient is unknown."""
    return "group" if facts.inputs.manifest["patient"].isna().any() else "patient"


def _of(
    sets: Mapping[str, Any] | None, recipe: str, mode: str, fraction: float
) -> Mapping[str, Any] | None:
    scores: Mapping[str, Any] = (sets or {}).get("scores", {})
    found: Mapping[str, Any] | None = (
        scores.get(recipe, {}).get(mode, {}).get(str(float(fraction)))
    )
    return found


def _table(
    facts: Facts, recipe: str, figures: Mapping[str, Any], sets: Mapping[str, Any]
) -> Table:
    rows: list[Row] = []
    for one in figures["answers"]:
        enough = one["held_out"] >= sets["needed"]
        ends = interval(one.get("expected_low"), one.get("expected_high"), 2)
        held_out = f"{one['held_out']:,}" + ("" if enough else " (too few: always in the set)")
        answer = f"not {one['name']}" if one["absent"] else one["name"]
        rows.append((Cell(answer), held_out, f"{one['patients']:,}", measured(one, 2), ends))
    person = _person(facts)
    head = ("answer", f"held-out {person}s", f"test {person}s", "coverage", "expected")
    title = (
        f"{facts.title(recipe)}: {number(figures['size'], 2)} answers in a set on average, "
        f"one alone for {share(round(figures['single'], 3))} of the images"
    )
    return Table(title, head, rows)
