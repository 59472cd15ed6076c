"""Training curves of every recipe that trains."""

import pandas as pd

from maskwise.report.elements import Element, Heading, Paragraph, Pictures, Section
from maskwise.report.figures import curves
from maskwise.report.formatting import significant
from maskwise.report.pictures import Picture, as_svg
from maskwise.report.pretraining_facts import PretrainingFacts
from maskwise.wording import count

_CURVES = {
    "loss": "loss",
    "reward": "reward",
    "policy_loss": "the policy's loss",
    "epsilon": "share of random places (ε)",
    "gradient_norm": "gradient norm",
    "learning_rate": "learning rate",
}


def build(facts: PretrainingFacts) -> Section:
    """Draw what was logged, one picture per recipe and quantity."""
    elements = [element for name in facts.styles for element in _recipe(facts, name)]
    text = (
        "Losses of different recipes measure different tasks: compare shapes, not heights."
        if elements
        else "No recipe of this page was trained without labels."
    )
    return Section("training", "Training curves", [Paragraph(text), *elements])


def _recipe(facts: PretrainingFacts, name: str) -> list[Element]:
    pictures = [
        drawing(facts, name, (column, words), lines)
        for column, words in _CURVES.items()
        if (lines := series(facts, name, column))
    ]
    if not pictures:
        return []
    return [Heading(facts.title(name), facts.styles[name]), Pictures(pictures)]


def losses(facts: PretrainingFacts) -> list[Picture]:
    """Draw the loss of each recipe that trains, with the recipe's name."""
    return [
        drawing(facts, name, ("loss", f"loss of {facts.title(name)}"), lines)
        for name in facts.styles
        if (lines := series(facts, name, "loss"))
    ]


def series(facts: PretrainingFacts, name: str, column: str) -> dict[str, pd.Series]:
    """Return a logged figure over epochs, one series per seed that has it."""
    return {
        f"seed {seed}": history.set_index("epoch")[column].dropna()
        for seed, history in facts.histories(name).items()
        if column in history and history[column].notna().any()
    }


def drawing(
    facts: PretrainingFacts, name: str, quantity: tuple[str, str], lines: dict[str, pd.Series]
) -> Picture:
    """Draw one quantity ``(column, words)`` of one recipe."""
    column, words = quantity
    first, last = (
        significant(sum(float(line.iloc[end]) for line in lines.values()) / len(lines))
        for end in (0, -1)
    )
    told = f"{words}, from {first} to {last}"
    told += f" (mean of {count(len(lines), 'seed')})" if len(lines) > 1 else ""
    colours = dict.fromkeys(lines, facts.styles[name].colour)
    bounds = (0.0, 1.0) if column in SHARES else None
    figure = curves.draw(lines, colours, words, bounds)
    return as_svg(figure, f"{facts.title(name)}: {told}.", f"{told[0].upper()}{told[1:]}.")


SHARES = frozenset({"entropy", "top_share", "position_share", "epsilon"})
"""Figures that lie in [0, 1] and are drawn so."""
