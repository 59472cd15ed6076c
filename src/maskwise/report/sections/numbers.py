"""Every figure's n."""

import pandas as pd

from maskwise.report.elements import Cell, Paragraph, Row, Section, Table
from maskwise.report.facts import Facts
from maskwise.report.formatting import share


def build(facts: Facts) -> Section:
    """Count images and groups behind scores, labels and masks."""
    text = (
        f"The parts of the split are counted under Data. {facts.words.judged} on the test "
        "images; labels of training and validation images were available at each fraction as "
        "counted here; lift rests on validation images with lesions. Groups are what counts "
        f"as independent{_weighed(facts)}."
    )
    tables = [_labels(facts), _tested(facts), _scored(facts)]
    return Section("numbers", "How many", [Paragraph(text), *tables])


def _weighed(facts: Facts) -> str:
    if facts.inputs.scores["weigh"] != "group":
        return "; in scores every image counts once"
    return ", and in scores each counts once, however many images it has"


def _tested(facts: Facts) -> Table:
    noun = "label" if facts.task == "multilabel" else "class"
    rows = [
        (str(name), f"{row['images']:,}", f"{row['groups']:,}")
        for name, row in facts.tested().iterrows()
    ]
    return Table(f"Test images of each {noun}", (noun, "test images", "test groups"), rows)


def _labels(facts: Facts) -> Table:
    rows = []
    for fraction in reversed(facts.fractions):
        for role in ("train", "validation"):
            counted = facts.labelled(fraction, role)
            cells = [_range(counted, name) for name in facts.classes]
            rows.append((f"{share(fraction)}, {role}", *cells))
    head = ("labels", *(f"{name}: images (groups)" for name in facts.classes))
    return Table("Labels used at each fraction; a range where seeds differ", head, rows)


def _range(counted: pd.DataFrame, name: str) -> str:
    rows = counted[counted["label"] == name]
    return f"{_ends(rows['images'])} ({_ends(rows['groups'])})" if len(rows) else "0 (0)"


def _ends(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _scored(facts: Facts) -> Table:
    table = facts.inputs.predictions
    counted = (
        table[table["split"] == "test"]
        .groupby(["recipe", "mode"], sort=False, as_index=False)
        .agg(
            images=("image_id", "nunique"),
            groups=("group", "nunique"),
            seeds=("seed", "nunique"),
        )
    )
    rows: list[Row] = [
        (
            Cell(facts.title(row["recipe"]), style=facts.styles.get(row["recipe"])),
            facts.mode_name(row["mode"]).lower(),
            *(f"{row[column]:,}" for column in ("images", "groups", "seeds")),
        )
        for _, row in counted.iterrows()
    ]
    head = ("recipe", "mode", "test images", "test groups", "seeds")
    return Table("Test images behind every score, at each fraction", head, rows)
