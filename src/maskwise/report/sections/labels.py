"""Several labels per image: each by itself, in a table and as ROC curves."""

import numpy as np
import pandas as pd

from maskwise.report.elements import Element, Fold, Paragraph, Pictures, Row, Section, Table
from maskwise.report.facts import Facts
from maskwise.report.figures import roc
from maskwise.report.formatting import measured, number, share
from maskwise.report.pictures import Picture, as_svg
from maskwise.report.scores import OF_LABEL
from maskwise.report.sections import sets
from maskwise.wording import count


def build(facts: Facts) -> Section:
    """Show the labels at the first sentence's mode and fraction."""
    test = facts.test_predictions()
    where = f"{facts.mode_name(facts.mode).lower()}, {share(facts.fraction)} of the labels"
    n = test["image_id"].nunique()
    text = (
        f"Test images, {where} ({count(n, 'image')} of "
        f"{count(test['group'].nunique(), 'group')}). An image counts for every label that it "
        "shows. Beside a label stand how many test images and groups show it, and the "
        "threshold from which on the networks called it, which validation images chose. "
        "Guessing gives an AUROC of 0.5 and an average precision of the label's share."
    )
    shown = facts.compared(facts.mode, facts.fraction)
    others = [name for name in facts.styles if name not in shown]
    elements: list[Element] = [Paragraph(text)]
    elements += [_table(facts, test, recipe) for recipe in shown]
    folded = [_table(facts, test, name) for name in others if (test["recipe"] == name).any()]
    if folded:
        elements.append(Fold("The other recipes", folded))
    elements.append(Fold("ROC curves", [Pictures(_curves(facts, test, where))]))
    elements += sets.elements(facts)
    return Section("labels", "Label by label", elements)


def _table(facts: Facts, test: pd.DataFrame, recipe: str) -> Table:
    rows, images = test[test["recipe"] == recipe], test.drop_duplicates("image_id")
    lines: list[Row] = []
    for name in facts.classes:
        positive = images[images[f"truth_{name}"] > 0]
        found = f"{len(positive):,} ({positive['group'].nunique():,})"
        rate = share(round(len(positive) / len(images), 3))
        figures = [_figure(facts, recipe, f"{metric}_{name}") for metric in OF_LABEL]
        lines.append((name, found, rate, *figures, _thresholds(rows[f"threshold_{name}"])))
    head = (
        "label",
        "test images (groups) that show it",
        "share",
        *OF_LABEL.values(),
        "called from",
    )
    seeds = count(rows["seed"].nunique(), "seed")
    return Table(f"{facts.title(recipe)}, {seeds}", head, lines)


def _figure(facts: Facts, recipe: str, metric: str) -> str:
    table = facts.scores
    found = table[
        (table["recipe"] == recipe)
        & (table["mode"] == facts.mode)
        & (table["fraction"] == facts.fraction)
        & (table["metric"] == metric)
    ]
    if found.empty:
        return "—"
    return measured(found.iloc[0])


def _thresholds(values: pd.Series) -> str:
    """Write the networks' thresholds: one number, or the lowest and the highest."""
    low, high = (number(value, 2) for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _curves(facts: Facts, test: pd.DataFrame, where: str) -> list[Picture]:
    pictures = []
    for name in facts.inputs.scores["scored"]:
        shows = test[f"truth_{name}"] > 0
        told = test.assign(truth=np.where(shows, name, ""))
        shown = test.loc[shows, ["image_id", "group"]].nunique()
        pictures.append(
            as_svg(
                roc.draw(told, name, facts.styles),
                f"ROC curves of {name}, one per recipe, {where}.",
                f"{name}: {count(shown['image_id'], 'test image')} of "
                f"{count(shown['group'], 'group')}.",
            )
        )
    return pictures
