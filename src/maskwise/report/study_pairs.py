"""Pairs of recipes as labels vanish: who stands higher, and who loses less."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from maskwise.report.facts import Facts
from maskwise.report.formatting import interval, signed
from maskwise.report.typeset import Printed

Figure = Mapping[str, float | None]

COLUMNS = (
    "mode",
    "recipe",
    "against",
    "title",
    "title_against",
    "metric",
    "covers",
    *(f"{name}_difference{end}" for name in ("area", "drop") for end in ("", "_low", "_high")),
    "in_words",
)
CAPTION = (
    "Pairs of recipes, the first less the second, on the same draws. Area: by how much the "
    "first stands higher, over all shares of the labels. Drop: by how much more it loses of "
    "what it has above chance, from all labels to the fewest; below 0 it loses less. A recipe "
    "can stand higher and lose more. 95 % intervals ({covers}); all of this is exploration, "
    "and nothing has a p."
)
_HEIGHT = {1: "higher", -1: "lower", 0: "no clear difference in height"}
_LOSS = {
    1: "loses more",
    -1: "loses less",
    0: "no clear difference in loss",
    None: "loss not known, for one of the two is no better than chance",
}


def pairs(facts: Facts, mode: str) -> list[Mapping[str, Any]]:
    """Return evaluate's comparisons of a mode, of recipes that the page shows."""
    found = facts.inputs.scores.get("shrinkage", {}).get(mode, {}).get("pairs", [])
    return [pair for pair in found if {pair["recipe"], pair["against"]} <= set(facts.styles)]


def study_pairs(facts: Facts) -> pd.DataFrame:
    """Return one row a mode and pair, ``COLUMNS``; none where there is one fraction."""
    rows = [_row(facts, mode, pair) for mode in facts.modes for pair in pairs(facts, mode)]
    numbers = [name for name in COLUMNS if "_difference" in name]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(numbers, float))


def printed(facts: Facts, rows: pd.DataFrame) -> Printed:
    """Lay out what ``study_pairs`` returned for print."""
    parts = [
        (
            facts.mode_name(mode),
            [_cells(row) for row in rows[rows["mode"] == mode].to_dict("records")],
        )
        for mode in facts.modes
        if (rows["mode"] == mode).any()
    ]
    head = ("recipe", "against", "area", "drop", "in words")
    return Printed(CAPTION.format(covers=facts.inputs.scores["covers"]), head, "llccl", parts)


def in_words(facts: Facts, pair: Mapping[str, Any]) -> str:
    """Say what a pair's intervals leave no doubt of: "higher, but loses more"."""
    if not facts.tells_training:
        return "training was not repeated often enough to tell"
    height = _side(pair["area"])
    loss = None if pair["drop"]["value"] is None else _side(pair["drop"])
    if height and loss:
        joint = ", but" if height == loss else ", and"
    elif height == loss == 0:
        return "no clear difference in either"
    else:
        joint = ";"
    return f"{_HEIGHT[height]}{joint} {_LOSS[loss]}"


def _side(figure: Figure) -> int:
    """Return on which side of 0 the interval lies; 0 where it holds it, or there is none."""
    low, high = figure["low"], figure["high"]
    if low is None or high is None:
        return 0
    return int(low > 0) - int(high < 0)


def _row(facts: Facts, mode: str, pair: Mapping[str, Any]) -> list[Any]:
    return [
        mode,
        pair["recipe"],
        pair["against"],
        facts.title(pair["recipe"]),
        facts.title(pair["against"]),
        facts.leading,
        facts.inputs.scores["covers"],
        *(pair[name][end] for name in ("area", "drop") for end in ("value", "low", "high")),
        in_words(facts, pair),
    ]


def _cells(row: Mapping[Any, Any]) -> list[str]:
    figures = []
    for name, digits in (("area", 3), ("drop", 2)):
        value, low, high = (row[f"{name}_difference{end}"] for end in ("", "_low", "_high"))
        figures.append(f"{signed(value, digits)} {interval(low, high, digits)}".strip())
    return [row["title"], row["title_against"], *figures, row["in_words"]]
