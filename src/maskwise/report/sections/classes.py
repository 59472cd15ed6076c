"""ROC curves and confusion of the test images."""

import numpy as np
import pandas as pd

from maskwise.report.elements import Cell, Element, Paragraph, Pictures, Row, Section, Table
from maskwise.report.facts import Facts
from maskwise.report.figures import roc
from maskwise.report.formatting import share
from maskwise.report.pictures import Picture, as_svg
from maskwise.report.sections import sets
from maskwise.wording import count


def build(facts: Facts) -> Section:
    """Draw both at the first sentence's mode and fraction, from the predictions."""
    test = facts.test_predictions()
    mode = facts.mode_name(facts.mode).lower()
    where = f"{mode}, {share(facts.fraction)} of the labels"
    n = test["image_id"].nunique()
    text = (
        f"Test images, {where} ({count(n, 'image')} of "
        f"{count(test['group'].nunique(), 'group')}). Curves are averaged over seeds, and "
        "images count in them as in the scores. A confusion table counts each image once for "
        "each seed; a row is what the image truly showed, a column what the network called it."
    )
    elements: list[Element] = [Paragraph(text), Pictures(_curves(facts, test, where))]
    elements += [
        _confusion(facts, test, recipe) for recipe in facts.compared(facts.mode, facts.fraction)
    ]
    elements += sets.elements(facts)
    return Section("classes", "ROC and confusion", elements)


def _curves(facts: Facts, test: pd.DataFrame, where: str) -> list[Picture]:
    pictures = []
    for name in facts.classes:
        positive = test["truth"] == name
        if positive.any() and not positive.all():
            shown = test.loc[positive, ["image_id", "group"]].nunique()
            pictures.append(
                as_svg(
                    roc.draw(test, name, facts.styles),
                    f"ROC curves of {name} against the rest, one per recipe, {where}.",
                    f"{name}: {count(shown['image_id'], 'test image')} of "
                    f"{count(shown['group'], 'group')}.",
                )
            )
    return pictures


def _confusion(facts: Facts, test: pd.DataFrame, recipe: str) -> Table:
    rows = test[test["recipe"] == recipe]
    columns = [f"p_{name}" for name in facts.classes]
    called = rows[columns].to_numpy().argmax(axis=1)
    lines: list[Row] = []
    for name in facts.classes:
        numbers = np.bincount(called[rows["truth"] == name], minlength=len(columns)).tolist()
        total = sum(numbers)
        cells = [Cell(f"{n:,}", shade=n / total if total else 0.0) for n in numbers]
        lines.append((f"truly {name}", *cells, f"{total:,}"))
    head = ("", *(f"called {name}" for name in facts.classes), "all")
    seeds = count(rows["seed"].nunique(), "seed")
    return Table(f"{facts.title(recipe)}, {seeds}", head, lines)
