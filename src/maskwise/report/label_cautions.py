"""What to distrust where an image may show several labels."""

from collections.abc import Iterator

import pandas as pd

from maskwise.combinations import BETWEEN
from maskwise.report.facts import Facts
from maskwise.report.formatting import labels, listing
from maskwise.report.pretraining_cautions import Caution
from maskwise.wording import count

FEW_POSITIVES = 5
"""Validation images that show a label, below which its threshold is 0.5 whatever they say."""


def thresholds_by_default(facts: Facts) -> Iterator[Caution]:
    """Say which labels are called from 0.5 on, because too few images could choose."""
    if facts.task != "multilabel":
        return
    table = facts.inputs.subsets
    rows = table[(table["fraction"] == facts.fraction) & (table["role"] == "validation")]
    rows = rows.drop_duplicates(["seed", "image_id"])
    named = rows.assign(label=rows["label"].str.split(BETWEEN, regex=False)).explode("label")
    counted = pd.crosstab(named["label"], named["seed"]).reindex(facts.classes, fill_value=0)
    found = counted.min(axis=1).astype(int)
    few = [f"{name} {n}" for name, n in found.items() if n < FEW_POSITIVES]
    if few:
        yield Caution(
            80,
            "Thresholds that nothing chose",
            f"With {labels(facts.fraction)} some seed had fewer than {FEW_POSITIVES} "
            f"validation images that show {'this label' if len(few) == 1 else 'these labels'}: "
            f"{listing(few)}. There it is called from 0.5 on, and its F1 says little; AUROC "
            "and average precision need no threshold.",
        )


def not_scored(facts: Facts) -> Iterator[Caution]:
    """Say which labels no figure speaks of."""
    if facts.task != "multilabel":
        return
    left_out = [name for name in facts.classes if name not in facts.inputs.scores["scored"]]
    if left_out:
        yield Caution(
            82,
            "Not every label was scored",
            f"Of the test images of some seed all or none show {listing(left_out)}: "
            f"{count(len(left_out), 'label')} of {len(facts.classes)} that the networks learnt "
            "stand in no figure here.",
        )
