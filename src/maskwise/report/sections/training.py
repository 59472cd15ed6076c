"""Training curves of every recipe that trains."""

from maskwise.report.blocks import Paragraph, Pictures, Section
from maskwise.report.facts import Facts
from maskwise.report.figures import curves
from maskwise.report.pictures import Picture, as_svg
from maskwise.report.wording import number

_CURVES = {
    "loss": "loss",
    "reward": "reward",
    "policy_loss": "the policy's loss",
    "gradient_norm": "gradient norm",
    "learning_rate": "learning rate",
    "epsilon": "share of random places (ε)",
}


def build(facts: Facts) -> Section:
    """Draw what was logged, a picture a recipe and quantity."""
    pictures = [
        picture
        for name in facts.styles
        for column, words in _CURVES.items()
        for picture in _picture(facts, name, (column, words))
    ]
    if not pictures:
        text = "No recipe of this page was trained before it met the labels."
        return Section("training", "Training curves", [Paragraph(text)])
    text = "Losses of different recipes measure different tasks: compare shapes, not heights."
    return Section("training", "Training curves", [Paragraph(text), Pictures(pictures)])


def _picture(facts: Facts, name: str, quantity: tuple[str, str]) -> list[Picture]:
    column, words = quantity
    lines = {
        f"seed {seed}": history.set_index("epoch")[column]
        for seed, history in facts.histories(name).items()
        if column in history and history[column].notna().any()
    }
    if not lines:
        return []
    title = facts.title(name)
    colours = dict.fromkeys(lines, facts.styles[name].colour)
    first, last = (
        ", ".join(number(line.dropna().iloc[end]) for line in lines.values()) for end in (0, -1)
    )
    figure = curves.draw(lines, colours, f"{title}: {words}", words)
    alternative = f"{title}: {words} over training, from {first} to {last}."
    return [as_svg(figure, alternative, f"{title}: {words}, {first} → {last}.")]
