"""The images: counts, rejects, duplicates, contradictions, leaks, and what files give away."""

from collections.abc import Iterator, Sequence

import pandas as pd

from maskwise.artefacts.splits import count_folds
from maskwise.report.data import Audit
from maskwise.report.elements import Element, Fold, Heading, Items, Paragraph, Section, Table
from maskwise.report.formatting import interval, listing, number
from maskwise.report.pretraining_facts import PretrainingFacts
from maskwise.report.similar_images import similar_images
from maskwise.wording import count

SPLITS = ("train", "validation", "test")
SHOWN = 200
"""Files, or groups of them, that a list names; the artefacts hold all."""


def build(facts: PretrainingFacts) -> Section:
    """Describe the source and its defects."""
    elements: list[Element] = [
        Paragraph(_overview(facts)),
        *_names(facts),
        _counts(facts),
        *_thinning(facts),
        Heading("Left out"),
        *_rejects(facts),
        Heading("Duplicates and contradictions"),
        *_duplicates(facts),
        Heading("Leak audit"),
        *_leak(facts),
        *_similar_images(facts),
    ]
    if facts.label is not None or facts.data.slice_audits:
        elements.append(Heading("What the files give away"))
    if facts.label is not None:
        elements.append(Paragraph(_file_facts(facts)))
        elements.append(Paragraph(_pixel_facts(facts)))
    elements += [Paragraph(text) for text in _slice_numbers(facts)]
    return Section("data", "Data", elements)


def _overview(facts: PretrainingFacts) -> str:
    data = facts.data
    patients = (
        "the source does not name patients"
        if data.patients is None
        else f"from {count(data.patients, 'patient')}"
    )
    return (
        f"{count(data.images, 'image')} in {count(data.groups, 'group')} ({patients}). A group "
        "holds images of one patient, and copies of one picture as far as they were "
        "recognised; the leak audit says whether the split divides any."
    )


def _names(facts: PretrainingFacts) -> list[Element]:
    if facts.config.names:
        return []
    text = (
        "Images are named by their image_id and rejected files by their row, because a file's "
        "name may contain a patient's: manifest.parquet and rejects.csv tell which file is "
        "meant, and `report.names: true` prints the names here."
    )
    return [Paragraph(text)]


def _counts(facts: PretrainingFacts) -> Table:
    table = facts.labelled_images
    named = table["label"].astype(str).map(facts.named_by)
    lines = [
        (name, *_line(table[[name in each for each in named]])) for name in facts.label_classes
    ]
    if len(table):
        lines.append(("all with a label", *_line(table)))
    splits = facts.inputs.splits
    unlabelled = splits[~splits["image_id"].isin(table["image_id"])]
    if len(unlabelled):
        lines.append(("without a label", *_line(unlabelled)))
    head = ("class" if facts.separator is None else "label", *SPLITS, "all")
    turns = " (for seed 0: the parts turn with the seed)" if count_folds(splits) else ""
    return Table(f"Images (groups) in each part of the split{turns}", head, lines)


def _thinning(facts: PretrainingFacts) -> list[Element]:
    if facts.data.thinned is None:
        return []
    removed, images = facts.data.thinned
    return [
        Paragraph(
            f"Pre-training left out {removed:,} of {count(images, 'training image')}, each a "
            "near-copy of a slice of the same series that it saw. No validation or test image "
            "was left out, and fine-tuning had all labels."
        )
    ]


def _line(rows: pd.DataFrame) -> tuple[str, ...]:
    parts = [rows[rows["split"] == split] for split in SPLITS]
    return tuple(f"{len(part):,} ({part['group'].nunique():,})" for part in (*parts, rows))


def _rejects(facts: PretrainingFacts) -> list[Element]:
    rejects, read = facts.inputs.rejects, count(facts.data.images, "image")
    if rejects.empty:
        return [Paragraph(f"Nothing: all files could be used ({read}).")]
    rows = [
        (reason, f"{files:,}", meaning)
        for reason, (files, meaning) in facts.data.reasons.items()
    ]
    listed = [
        (str(row["path"]), str(row["reason"]), str(row["detail"]))
        for _, row in rejects.head(SHOWN).iterrows()
    ]
    return [
        Paragraph(
            f"{read} could be used; {count(len(rejects), 'file')} could not, of which "
            f"{facts.data.rejected:,} should have been an image."
        ),
        Table("Left out, by reason", ("reason", "files", "meaning"), rows),
        Fold(
            f"Which files were left out{_first(len(rejects))}",
            [Table("Files left out", ("file", "reason", "detail"), listed)],
        ),
    ]


def _duplicates(facts: PretrainingFacts) -> list[Element]:
    data = facts.data
    if not data.duplicate_sets:
        return [Paragraph("No image is an exact or near copy of another.")]
    text = (
        f"{count(data.duplicate_images, 'image')} are exact or near copies of another, in "
        f"{count(data.duplicate_sets, 'set')}. {data.mask_agreement}"
    )
    return [
        Paragraph(text.strip()),
        *_named("Duplicates with contradictory labels", data.labels.number, data.labels.named),
        *_named(
            "Duplicates whose lesion outlines disagree", data.masks.number, data.masks.named
        ),
    ]


def _leak(facts: PretrainingFacts) -> list[Element]:
    data, splits, shared = facts.data, facts.inputs.splits, facts.divided
    ours = (
        f"Of {count(splits['group'].nunique(), 'group')}, "
        f"{'none stands' if not shared else f'{shared:,} stand'} in more than one part of the "
        "split used here."
    )
    if not data.official_split:
        return [Paragraph(f"{ours} The source has no official split.")]
    if data.leak is None:
        return [Paragraph(f"{ours} The source's official split keeps groups together.")]
    text = (
        f"{ours} The source's official split shares {count(data.leak.groups, 'group')} "
        f"({count(data.leak.images, 'image')}) between its parts."
    )
    leaking = "Groups that the official split shares between its parts"
    return [Paragraph(text), *_named(leaking, data.leak.groups, data.leak.named)]


def _similar_images(facts: PretrainingFacts) -> list[Element]:
    """Show what the threshold of near-copies leaves between test and training images."""
    if not (facts.inputs.splits["split"] == "test").any():
        return []
    found = similar_images(
        facts.inputs.manifest, facts.inputs.splits, facts.data.duplicate_distance
    )
    if found is None:
        return []
    rule = (
        f"Pictures whose hashes differ in at most {found.distance} of 64 bits count as copies."
    )
    if found.pairs.empty:
        none = f"No test image has a training image up to {found.bound} bits away."
        return [Paragraph(f"{rule} {none}")]
    number_of = len(found.pairs)
    text = (
        f"{rule} Test images whose nearest training image lies beyond that, up to "
        f"{found.bound} bits away: {number_of:,} of "
        f"{(facts.inputs.splits['split'] == 'test').sum():,}. They may be other scans that "
        "look alike; a copy among them was not kept out of training."
    )
    named = [
        f"{row['test']}: {row['train']} ({row['bits']} bits)"
        for _, row in found.pairs.head(SHOWN).iterrows()
    ]
    return [Paragraph(text), *_named("Test images and the nearest of them", number_of, named)]


def _named(words: str, number_of: int, sentences: Sequence[str]) -> list[Element]:
    if not number_of:
        return []
    summary = f"{words}: {number_of:,}{_first(number_of)}"
    return [Fold(summary, [Items(sentences[:SHOWN])])]


def _first(number_of: int) -> str:
    return f" (the first {SHOWN} are named)" if number_of > SHOWN else ""


def _file_facts(facts: PretrainingFacts) -> str:
    everything, header = facts.data.audit, facts.data.header_audit
    if everything is None:
        return f"Whether files give the label away could not be checked: {facts.data.no_audit}."
    asked = f"on {count(everything.images, 'image')} of {count(everything.groups, 'group')}"
    text = f"A small model that never sees a pixel tried to predict the label, {asked}. "
    if header is not None:
        text += (
            f"From format, colour mode and size in pixels: macro AUROC {_auroc(header)} (0.5 = "
            f"guessing). {_header_finding(header)} "
        )
    text += f"With the bytes of each file as well: {_auroc(everything)}."
    if everything.predicts:
        strongest = listing(everything.strongest[:3])
        text += (
            f" Most of that by {strongest}. The bytes of a compressed file depend on what is "
            "shown, so what they add may be the picture itself and need not be a leak."
        )
    return text


def _pixel_facts(facts: PretrainingFacts) -> str:
    audit = facts.data.pixel_audit
    if audit is None:
        return (
            "Whether border, margins, brightness and sharpness of the stored images give the "
            f"label away could not be checked: {facts.data.no_pixel_audit}."
        )
    text = (
        "A small model that knows ten figures of a stored image (its border lines, flat "
        "margins, shares of black and white, mean, deviation and sharpness) learnt from "
        f"training images and was asked on {count(audit.images, 'validation image')} of "
        f"{count(audit.groups, 'group')}: macro AUROC {_auroc(audit)} (0.5 = guessing)."
    )
    if audit.predicts:
        text += f" Most of that by {listing(audit.strongest[:3])}."
    return text


def _slice_numbers(facts: PretrainingFacts) -> Iterator[str]:
    for label, audit in facts.data.slice_audits.items():
        asked = f"on {count(audit.images, 'slice')} of {count(audit.groups, 'group')}"
        yield (
            "A small model that knows nothing but the place of a slice in its volume tried to "
            f"predict {label}, {asked}: macro AUROC {_auroc(audit)} (0.5 = guessing). What a "
            "network reaches says something about its pictures only above that."
        )


def _header_finding(header: Audit) -> str:
    if not header.predicts:
        return "There is no sign that these give the label away."
    return (
        "These give the label away to some degree, most of all "
        f"{listing(header.strongest[:3])}."
    )


def _auroc(audit: Audit) -> str:
    return f"{number(audit.auroc)} {interval(audit.low, audit.high)}"
