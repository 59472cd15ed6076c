"""The images: counts, rejects, duplicates, contradictions, leaks, and what files give away."""

import pandas as pd

from maskwise.report.blocks import Block, Cell, Fold, Items, Paragraph, Section, Table
from maskwise.report.facts import Facts
from maskwise.report.wording import count, interval, number

SPLITS = ("train", "validation", "test")
SHOWN_REJECTS = 50


def build(facts: Facts) -> Section:
    """Describe the source and its defects."""
    blocks: list[Block] = [_counts(facts), *_rejects(facts), Paragraph(_duplicates(facts))]
    for words, sentences in (
        ("Groups of duplicates with contradictory labels", facts.data.label_contradictions),
        ("Groups of duplicates whose lesion outlines disagree", facts.data.mask_contradictions),
    ):
        if sentences:
            summary = f"{words}: {len(sentences)}"
            blocks.append(Fold(summary, [Items(sentences)]))
    blocks += [Paragraph(_leak(facts)), Paragraph(_file_facts(facts))]
    return Section("data", "Data", blocks)


def _counts(facts: Facts) -> Table:
    table = facts.labelled_images
    lines = [(name, *_line(table[table["label"] == name])) for name in facts.classes]
    lines.append(("all with a label", *_line(table)))
    unlabelled = facts.inputs.splits[~facts.inputs.splits["image_id"].isin(table["image_id"])]
    if len(unlabelled):
        lines.append(("without a label", *_line(unlabelled)))
    head = ("class", *(f"{split}: images (groups)" for split in SPLITS), "all: images (groups)")
    return Table("Images and groups in each part of the split", head, lines)


def _line(rows: pd.DataFrame) -> tuple[str, ...]:
    parts = [rows[rows["split"] == split] for split in SPLITS]
    return tuple(f"{len(part):,} ({part['group'].nunique():,})" for part in (*parts, rows))


def _rejects(facts: Facts) -> list[Block]:
    rejects, read = facts.inputs.rejects, len(facts.inputs.manifest)
    if rejects.empty:
        return [Paragraph(f"All files could be read: {count(read, 'image')}, none left out.")]
    reasons = rejects["reason"].value_counts()
    rows = [(str(reason), f"{n:,}") for reason, n in reasons.items()]
    listed = [
        (str(row["path"]), str(row["reason"]), Cell(str(row["detail"])))
        for _, row in rejects.head(SHOWN_REJECTS).iterrows()
    ]
    more = f" (the first {SHOWN_REJECTS})" if len(rejects) > SHOWN_REJECTS else ""
    return [
        Paragraph(f"{count(read, 'image')} could be used; {len(rejects):,} were left out."),
        Table("Left out, by reason", ("reason", "files"), rows),
        Fold(
            f"Which files were left out{more}",
            [Table("Files left out", ("file", "reason", "detail"), listed)],
        ),
    ]


def _duplicates(facts: Facts) -> str:
    data = facts.data
    if not data.duplicate_images:
        return "No image is an exact or near copy of another."
    return (
        f"{count(data.duplicate_images, 'image')} are exact or near copies of another and form "
        f"{count(data.duplicate_groups, 'group')}; a group always stays in one part of the split."
    )


def _leak(facts: Facts) -> str:
    if facts.data.leak:
        return f"Leak audit: {facts.data.leak}"
    splits = facts.inputs.splits
    parts = splits.groupby(["fold", "group"])["split"].nunique()
    shared = int((parts > 1).sum())
    if shared:
        return f"Leak audit: {count(shared, 'group')} stand in more than one part of the split."
    return (
        f"Leak audit: none of {count(splits['group'].nunique(), 'group')} stands in more than one "
        "part of the split."
    )


def _file_facts(facts: Facts) -> str:
    audit = facts.data.file_facts
    if audit is None:
        return "File facts: there are too few labels to ask whether files give them away."
    finding = (
        "the files give the label away to some degree"
        if audit.low > 0.5
        else "no sign that the files give the label away"
    )
    return (
        f"File facts: a small model that sees only format, colour mode, size and bytes predicts the "
        f"label with an AUROC of {number(audit.value)} {interval(audit.low, audit.high)} on "
        f"{count(audit.images, 'image')} (0.5 = guessing): {finding}."
    )
