"""Outlines of truth and network: the best, the middle, the worst, and where truth disagrees."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.model_index import read_model_index
from maskwise.artefacts.store import Store
from maskwise.report.elements import (
    Cell,
    Element,
    Paragraph,
    Pictures,
    Row,
    Section,
    Table,
)
from maskwise.report.facts import Facts
from maskwise.report.figures.outlines import Panel, draw
from maskwise.report.formatting import labels, listing, number, share
from maskwise.report.outlines import EMPTY_MASKS, Outlined, read_outlined
from maskwise.report.pictures import Picture, as_png
from maskwise.wording import count

_LENGTHS = {"mm": "millimetres", "px": "pixels of the network's image"}


def build(facts: Facts) -> Section:
    """Draw the recipe that the first sentence speaks of, or the reference."""
    store, title = facts.inputs.store, "Outlines"
    found = [each for recipe in _order(facts) if (each := read_outlined(facts, recipe))]
    if store is None or store.masks is None or not found:
        text = "The models of this page left no outlines to draw."
        return Section("outlines", title, [Paragraph(text)])
    shown = found[0]
    elements: list[Element] = [
        Paragraph(_reading(facts, shown)),
        Paragraph(_conventions(facts)),
    ]
    drawn = _by_dice(facts, shown, store)
    if drawn:
        elements.append(Pictures(drawn))
    learnt = _learnt(facts)
    if learnt is not None:
        elements.append(learnt)
    return Section("outlines", title, [*elements, *_disagreeing(facts, shown, store)])


def _learnt(facts: Facts) -> Table | None:
    """Say how many steps networks made, and which step's weights they have."""
    entries = pd.DataFrame(
        [
            {"recipe": recipe, **entry}
            for (recipe, _), folder in sorted(facts.inputs.models.items())
            for entry in read_model_index(folder)
            if "best_step" in entry
        ]
    )
    if entries.empty:
        return None
    rows: list[Row] = []
    for recipe, style in facts.styles.items():
        own = entries[entries["recipe"] == recipe]
        for (mode, fraction), part in own.groupby(["mode", "fraction"], sort=False):
            cells = [_between(part[name].tolist()) for name in ("steps", "best_step")]
            dice = number(float(part["validation_dice"].mean()), 2)
            title = Cell(style.title, style=style)
            rows.append((title, facts.mode_name(mode), share(fraction), *cells, dice))
    most = facts.inputs.settings.get("finetune", {}).get("steps")
    told = f", of {most:,} at most" if most else ""
    caption = (
        f"How many steps networks made{told}, and after how many their weights outlined "
        "validation images best: these are the weights that were tested"
    )
    head = ("recipe", "mode", "labels", "steps made", "weights of step", "validation Dice")
    return Table(caption, head, rows)


def _between(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _order(facts: Facts) -> list[str]:
    """Return the best of the pre-trained recipes first, then the reference, then others."""
    rows = facts.against_reference(facts.mode, facts.fraction)
    best = [str(rows.iloc[0]["recipe"])] if len(rows) else []
    return list(dict.fromkeys([*best, facts.reference, *facts.styles]))


def _reading(facts: Facts, shown: Outlined) -> str:
    seeds = sorted(set(shown.table["seed"]))
    by = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {listing(map(str, seeds))}"
    return (
        f"Test images with the true outline (solid) and that of {facts.title(shown.recipe)} "
        f"(dashed; {facts.mode_name(shown.mode).lower()}, {labels(shown.fraction)}, {by}). Of "
        f"{count(len(shown.table), 'test image')}, "
        f"{int((shown.table['lesion'] > 0).sum()):,} show a lesion; best, middle and worst are "
        "chosen among these by their Dice, false alarms among the others by their size."
    )


def _conventions(facts: Facts) -> str:
    scores = facts.inputs.scores
    return (
        "Where neither truth nor network outlines anything, "
        f"{EMPTY_MASKS[scores['empty_masks']]}; where only one of the two does, as 0. "
        f"Distances are in {_LENGTHS[scores['distance_unit']]}."
    )


def _by_dice(facts: Facts, shown: Outlined, store: Store) -> list[Picture]:
    table, number_of = shown.table, facts.config.images
    lesions = table[table["lesion"] > 0].sort_values(
        ["dice", "image_id"], ascending=[False, True]
    )
    alarms = table[(table["lesion"] == 0) & (table["called"] > 0)]
    alarms = alarms.sort_values(["called", "image_id"], ascending=[False, True])
    middle = max(0, (len(lesions) - number_of) // 2)
    chosen: Mapping[str, pd.DataFrame] = {
        "Best": lesions.head(number_of),
        "Middle": lesions.iloc[middle : middle + number_of],
        "Worst": lesions.tail(number_of).iloc[::-1],
        "False alarms": alarms.head(number_of),
    }
    pictures = []
    for name, rows in chosen.items():
        if len(rows):
            images = rows["image_id"].tolist()
            titles = [f"Dice {number(shown.dice(image), 2)}" for image in images]
            if name == "False alarms":
                titles = [count(int(pixels), "pixel") for pixels in rows["called"]]
            told = f"{name}: {'; '.join(titles)}."
            pictures.append(_picture(shown, store, images, titles, told))
    return pictures


def _disagreeing(facts: Facts, shown: Outlined, store: Store) -> list[Element]:
    """Draw duplicates whose true outlines disagree, both of a pair side by side."""
    masks = facts.inputs.data_summary["contradictions"]["masks"]
    if not masks["contradictory"]:
        return []
    ids, tested = _ids(facts), set(shown.table["image_id"])
    pairs = [([ids.get(name, "") for name in pair["images"]], pair) for pair in masks["pairs"]]
    pairs = [
        (images, pair) for images, pair in pairs if len(images) == 2 and set(images) <= tested
    ]
    pairs.sort(key=lambda entry: (entry[1]["iou"], entry[0]))
    told = (
        f"Of {count(masks['contradictory'], 'pair')} of duplicates whose true outlines "
        f"disagree, {len(pairs):,} {'is' if len(pairs) == 1 else 'are'} among these test images"
    )
    if not pairs:
        return [Paragraph(f"{told}.")]
    images = [image for both, _ in pairs[: facts.config.images] for image in both]
    titles = [
        f"pair {place}: overlap {number(pair['iou'], 2)}"
        for place, (_, pair) in enumerate(pairs[: facts.config.images], start=1)
        for _ in range(2)
    ]
    words = "Duplicates that disagree: one picture, two truths; no outline can agree with both."
    text = f"{told}. Their Dice is held down by the truth, not by the network."
    return [Paragraph(text), Pictures([_picture(shown, store, images, titles, words)])]


def _ids(facts: Facts) -> dict[str, str]:
    """Return image_id by whatever the summary calls an image: path, path#frame, or its id."""
    manifest = facts.inputs.manifest
    paths, ids = manifest["path"].astype(str), manifest["image_id"].astype(str)
    frames = paths + "#" + manifest["frame"].astype(str)
    return {
        **dict(zip(paths, ids, strict=True)),
        **dict(zip(frames, ids, strict=True)),
        **dict(zip(ids, ids, strict=True)),
    }


def _picture(
    shown: Outlined, store: Store, images: Sequence[str], titles: Sequence[str], told: str
) -> Picture:
    classes = [str(name) for name in next(iter(shown.outlines.values())).classes]
    rows = store.rows(list(images))
    scans = store.intensities(rows).mean(axis=1)
    truths = _truths(store, rows, len(classes))
    panels = [
        Panel(title, scan, truth, shown.of(image))
        for title, scan, truth, image in zip(titles, scans, truths, images, strict=True)
    ]
    return as_png(draw(panels, classes), f"Scans with two outlines. {told}", told)


def _truths(store: Store, rows: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    """Return the true outlines ``(n, K, H, W)``."""
    masks = np.asarray(store.masks)[rows].astype(np.uint8)
    return np.asarray(masks[:, None] == np.arange(1, classes + 1)[:, None, None])
