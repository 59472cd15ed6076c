"""What is left as labels vanish: who stands higher, and who loses less."""

from collections.abc import Mapping
from typing import Any

from maskwise.report.elements import Cell, Element, Heading, Paragraph, Row, Table
from maskwise.report.facts import Facts
from maskwise.report.formatting import listing, measured, number, share, signed
from maskwise.report.study_pairs import in_words, pairs

_READING = (
    "The area under a curve, over the logarithm of the number of labelled images and "
    "divided by its width, is a mean over fractions in units of the metric: a recipe that "
    "needs fewer labels has more of it. What is lost is the share of what a recipe has "
    "above chance that is gone at the smallest fraction; of weak recipes, which have "
    "little to lose, it says little, so the order is that of the areas."
)
_WINS = (
    "To stand higher is not to lose less: a recipe can have the larger area and lose more of "
    "what it has above chance. So areas are compared, row minus column, and then areas and "
    "losses of the pairs that this page compares, recipe minus the other; where the "
    "difference of the shares lost is above 0, the recipe loses more. All differences are of "
    "the same draws. All of this is exploration, and of many comparisons some leave 0 out by "
    "chance."
)
_APART = "A difference whose 95 % interval leaves 0 out is shaded."
_UNTOLD = (
    "The intervals hold the choice of test images alone, because training was not "
    "repeated often enough: no difference is shaded."
)


def elements(facts: Facts) -> list[Element]:
    """Return what the curves come to; nothing where there is one fraction."""
    found: Mapping[str, Any] = facts.inputs.scores.get("shrinkage", {})
    modes = [mode for mode in facts.modes if mode in found]
    if not modes:
        return []
    shaded = _APART if facts.tells_training else _UNTOLD
    parts: list[Element] = [
        Heading("As labels vanish"),
        Paragraph(_READING),
        Paragraph(f"{_WINS} {shaded}"),
    ]
    for mode in modes:
        parts += _of_mode(facts, mode, found[mode])
    return parts


def _of_mode(facts: Facts, mode: str, found: Mapping[str, Any]) -> list[Element]:
    recipes = sorted(
        (name for name in found["recipes"] if name in facts.styles),
        key=lambda name: -(found["recipes"][name]["area"]["value"] or 0.0),
    )
    parts: list[Element] = [_areas(facts, mode, found["recipes"], recipes)]
    parts += _lacking(facts, found.get("lacking", {}))
    if len(recipes) > 1:
        parts.append(_wins(facts, found["wins"], recipes))
    return [*parts, *_pairs(facts, mode)]


def _lacking(facts: Facts, found: Mapping[str, list[float]]) -> list[Element]:
    """Name the recipes without an area, whose curve is not as wide as the others'."""
    without = [
        f"{facts.title(name)} (not at {listing(map(share, fractions))})"
        for name, fractions in found.items()
        if name in facts.styles
    ]
    if not without:
        return []
    text = f"Without an area, because not run at every fraction: {listing(without)}."
    return [Paragraph(text)]


def _areas(facts: Facts, mode: str, found: Mapping[str, Any], recipes: list[str]) -> Table:
    rows: list[Row] = []
    for name in recipes:
        area, lost = found[name]["area"], found[name]["drop"]
        rows.append(
            (
                Cell(facts.title(name), style=facts.styles[name]),
                measured(area),
                measured(lost, 2),
            )
        )
    fewest, most = found[recipes[0]]["images"]
    name = facts.in_print(facts.inputs.scores["leading"])
    head = ("recipe", f"area under the {name}", "share lost")
    title = f"{facts.mode_name(mode)}, from {most} to {fewest} labelled images"
    return Table(f"{title}, with 95 % intervals", head, rows)


def _wins(facts: Facts, wins: Mapping[str, Any], recipes: list[str]) -> Table:
    rows: list[Row] = []
    for one in recipes:
        cells: list[str | Cell] = [Cell(facts.title(one), style=facts.styles[one])]
        for other in recipes:
            gap = wins.get(one, {}).get(other)
            cells.append("" if gap is None else _cell(gap, facts.tells_training))
        rows.append(tuple(cells))
    head = ("", *(facts.title(name) for name in recipes))
    return Table("Who stands higher: differences of areas, with 95 % intervals", head, rows)


def _pairs(facts: Facts, mode: str) -> list[Element]:
    rows: list[Row] = [
        (
            Cell(facts.title(pair["recipe"]), style=facts.styles[pair["recipe"]]),
            facts.title(pair["against"]),
            *(_cell(pair[name], facts.tells_training) for name in ("area", "drop")),
            in_words(facts, pair),
        )
        for pair in pairs(facts, mode)
    ]
    head = ("recipe", "against", "area", "share lost", "in words")
    caption = "Who loses less: differences within pairs, with 95 % intervals"
    return [Table(caption, head, rows)] if rows else []


def _cell(gap: Mapping[str, float | None], verdict: bool) -> Cell:
    low, high = gap["low"], gap["high"]
    apart = verdict and low is not None and high is not None and (low > 0 or high < 0)
    ends = f" [{number(low, 2)}, {number(high, 2)}]" if low is not None else ""
    return Cell(f"{signed(gap['value'], 2)}{ends}", shade=0.5 if apart else None)
