"""The whole study as one table that a paper can print."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from maskwise.report.facts import Facts
from maskwise.report.formatting import listing, share, with_interval
from maskwise.report.study_pairs import printed, study_pairs
from maskwise.report.typeset import NONE, Printed, latex, markdown


@dataclass(frozen=True)
class StudyTable:
    """The same rows in three forms."""

    rows: pd.DataFrame
    """One row a mode and recipe, ``columns(fractions)``."""
    pairs: pd.DataFrame
    """``study_pairs.COLUMNS``; in the other forms it stands below the rows."""
    markdown: str
    latex: str
    """For the package booktabs, which the document has to load."""


def study_table(facts: Facts) -> StudyTable:
    """Lay out the leading metric of every recipe, what is left of it, and who stands higher.

    A recipe wins against another where the 95 % interval of the difference of their areas lies
    above 0; nothing is counted where training was repeated too little to tell. Who loses less
    is another question, which the pairs answer.
    """
    rows = pd.DataFrame(
        [_row(facts, mode, name) for mode in facts.modes for name in _ordered(facts, mode)],
        columns=columns(facts.fractions),
    ).astype({"wins": "Int64", "of": "Int64"})
    pairs = study_pairs(facts)
    tables = [_printed(facts, rows)]
    if len(pairs):
        tables.append(printed(facts, pairs))
    forms = ("\n".join(map(form, tables)) for form in (markdown, latex))
    return StudyTable(rows, pairs, *forms)


def _printed(facts: Facts, rows: pd.DataFrame) -> Printed:
    head = _head(facts)
    parts = [
        (facts.mode_name(mode), [_cells(facts, row) for row in _records(rows, mode)])
        for mode in facts.modes
    ]
    return Printed(caption(facts), head, f"lr{'c' * (len(head) - 2)}", parts)


def columns(fractions: Sequence[float]) -> list[str]:
    """Return the names of the columns; shares of the labels stand from large to small."""
    points = [f"at_{fraction:g}" for fraction in sorted(fractions, reverse=True)]
    figures = [
        f"{name}{end}" for name in (*points, "area", "drop") for end in ("", "_low", "_high")
    ]
    return ["mode", "recipe", "title", "metric", "covers", "seeds", *figures, "wins", "of"]


def caption(facts: Facts) -> str:
    """Say what the figures are, in whole sentences."""
    name = facts.in_print(facts.leading)
    sentences = [
        f"{name[0].upper()}{name[1:]} on the test images at each share of the labels, with "
        f"95 % intervals ({facts.inputs.scores['covers']})."
    ]
    if _shrinks(facts):
        sentences.append(
            "Area: under the curve over the logarithm of the number of labelled images, "
            "divided by its width. Drop: share of what a recipe has above chance that is lost "
            "from all labels to the fewest. Wins: recipes whose area is smaller, the 95 % "
            "interval of the difference leaving 0 out; they say who stands higher, not who "
            "loses less, and none of these comparisons was named beforehand."
        )
    sentences += [_lacking(facts, mode) for mode in facts.modes if _of(facts, mode, "lacking")]
    return " ".join(sentences)


def _lacking(facts: Facts, mode: str) -> str:
    without = [
        f"{facts.title(name)} (not at {listing(map(share, fractions))})"
        for name, fractions in _of(facts, mode, "lacking").items()
    ]
    return (
        f"{facts.mode_name(mode)}: without an area, because not run at every fraction: "
        f"{listing(without)}."
    )


def _of(facts: Facts, mode: str, part: str) -> Mapping[str, Any]:
    """Return a part of what evaluate says of several fractions, by recipe."""
    found = facts.inputs.scores.get("shrinkage", {}).get(mode, {})
    return dict(found.get(part, {}))


def _ordered(facts: Facts, mode: str) -> list[str]:
    """Return the recipes that were run in a mode, the largest area first."""
    table = facts.scores
    ran = set(table.loc[table["mode"] == mode, "recipe"])
    areas = _of(facts, mode, "recipes")

    def last(name: str) -> float:
        value = areas[name]["area"]["value"] if name in areas else None
        return float("inf") if value is None else -float(value)

    return sorted((name for name in facts.styles if name in ran), key=last)


def _row(facts: Facts, mode: str, recipe: str) -> list[Any]:
    figures: list[Any] = []
    for fraction in reversed(facts.fractions):
        figures += _score(facts, recipe, mode, fraction)
    own = _of(facts, mode, "recipes").get(recipe, {})
    for name in ("area", "drop"):
        figure = own.get(name, {})
        figures += [figure.get(end) for end in ("value", "low", "high")]
    return [
        mode,
        recipe,
        facts.title(recipe),
        facts.leading,
        facts.inputs.scores["covers"],
        len(facts.seeds_of(recipe)),
        *figures,
        *_wins(facts, mode, recipe),
    ]


def _score(facts: Facts, recipe: str, mode: str, fraction: float) -> list[Any]:
    table = facts.scores
    found = table[
        (table["recipe"] == recipe)
        & (table["mode"] == mode)
        & (table["fraction"] == fraction)
        & (table["metric"] == facts.leading)
    ]
    return list(found[["value", "low", "high"]].iloc[0]) if len(found) else [None] * 3


def _wins(facts: Facts, mode: str, recipe: str) -> tuple[int | None, int | None]:
    """Count the recipes that this one surely stands above, and all it was compared with."""
    gaps = _of(facts, mode, "wins").get(recipe, {})
    if not gaps or not facts.tells_training:
        return None, None
    return sum((gap["low"] or 0.0) > 0 for gap in gaps.values()), len(gaps)


def _head(facts: Facts) -> list[str]:
    head = ["recipe", "seeds", *(share(fraction) for fraction in reversed(facts.fractions))]
    return [*head, "area", "drop", "wins (area)"] if _shrinks(facts) else head


def _shrinks(facts: Facts) -> bool:
    return bool(facts.inputs.scores.get("shrinkage"))


def _cells(facts: Facts, row: Mapping[str, Any]) -> list[str]:
    """Return one row as it is printed."""
    figures = [_figure(row, f"at_{fraction:g}") for fraction in reversed(facts.fractions)]
    if _shrinks(facts):
        wins = NONE if pd.isna(row["wins"]) else f"{row['wins']} of {row['of']}"
        figures += [_figure(row, "area"), _figure(row, "drop", 2), wins]
    return [str(row["title"]), str(row["seeds"]), *figures]


def _figure(row: Mapping[str, Any], name: str, digits: int = 3) -> str:
    value, low, high = (_number(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return with_interval(value, low, high, digits)


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _records(rows: pd.DataFrame, mode: str) -> list[dict[str, Any]]:
    return [
        {str(name): value for name, value in row.items()}
        for row in rows[rows["mode"] == mode].to_dict("records")
    ]
