"""What the agent looked at: its masks and maps, and lift beside the controls."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.gallery import Gallery
from maskwise.report.blocks import Block, Cell, Fold, Paragraph, Pictures, Section, Table
from maskwise.report.facts import Facts
from maskwise.report.figures import agent_view, curves, lift
from maskwise.report.pictures import Picture, as_png, as_svg
from maskwise.report.wording import count, interval, number

_BEHAVIOUR = {
    "entropy": "entropy of the places",
    "top_share": "share of the top place",
    "position_share": "position share",
    "variance_correlation": "correlation with variance",
    "hidden_share": "share hidden",
}


def build(facts: Facts) -> Section:
    """Show where masks fell over training, and whether they followed the image."""
    masked = {name: facts.histories(name) for name in facts.masking}
    if not masked:
        text = (
            "No recipe of this page hides a part of the image, so there are no masks to show."
        )
        return Section("agent", "What the agent looked at", [Paragraph(text)])
    blocks: list[Block] = [Paragraph(_reading(facts))]
    measured = {name: seeds for name, seeds in masked.items() if _has(seeds, "lift")}
    if measured:
        blocks += [_table(facts, measured), Pictures(_lifts(facts, measured))]
    else:
        blocks.append(
            Paragraph("No validation image has an outlined lesion, so lift cannot be measured.")
        )
    learning = [name for name in masked if facts.learns_where(name)]
    for name in learning:
        blocks += _view(facts, name)
        blocks.append(Pictures(_behaviour(facts, name)))
    others = [block for name in masked if name not in learning for block in _view(facts, name)]
    if others:
        blocks.append(Fold("Masks of the policies that do not learn", others))
    return Section("agent", "What the agent looked at", blocks)


def _reading(facts: Facts) -> str:
    return (
        "Mask lift says how much more of a lesion is hidden than of the image: 1 would be "
        "indifference on average over all places, but boxes that lie inside the image favour its "
        "middle, so the figure to beat is that of uniform boxes. Content lift takes away what the "
        "same boxes would hide on other patients' images: only what is left was learnt from the "
        "image itself. Lesion outlines were used for this measure alone; no network saw them. All "
        "is measured on at most 256 validation images with lesions, never on test images."
    )


def _table(facts: Facts, measured: Mapping[str, Mapping[int, pd.DataFrame]]) -> Table:
    head = (
        "recipe",
        "seed",
        "mask lift",
        "content lift",
        "uniform",
        "centre",
        "oracle",
        "entropy",
        "top share",
        "position share",
        "correlation with variance",
    )
    rows = []
    for name, seeds in measured.items():
        for seed, history in seeds.items():
            last = history.dropna(subset=["lift"]).iloc[-1]
            rows.append(
                (
                    Cell(facts.title(name), style=facts.styles[name]),
                    str(seed),
                    _lift(last, "lift"),
                    _lift(last, "content_lift"),
                    *(
                        number(last.get(column), 2)
                        for column in (
                            "lift_uniform",
                            "lift_centre",
                            "lift_oracle",
                            "entropy",
                            "top_share",
                            "position_share",
                            "variance_correlation",
                        )
                    ),
                )
            )
    return Table("At the end of training, with 95 % intervals over groups", head, rows)


def _lift(row: pd.Series, column: str) -> str:
    low, high = row.get(f"{column}_low"), row.get(f"{column}_high")
    return f"{number(row.get(column), 2)} {interval(low, high, 2)}".strip()


def _lifts(facts: Facts, measured: Mapping[str, Mapping[int, pd.DataFrame]]) -> list[Picture]:
    pictures = []
    for name, seeds in measured.items():
        title = facts.title(name)
        several = "thin lines are seeds" if len(seeds) > 1 else "the band is a 95 % interval"
        last = [history.dropna(subset=["lift"]).iloc[-1] for history in seeds.values()]
        ends = ", ".join(
            f"{words} {number(float(np.mean([row.get(column, np.nan) for row in last])), 2)}"
            for column, words in (
                ("lift", "mask lift"),
                ("content_lift", "content lift"),
                ("lift_uniform", "uniform boxes"),
                ("lift_oracle", "oracle"),
            )
        )
        pictures.append(
            as_svg(
                lift.draw(seeds, title),
                f"{title}: lift over training. At the end {ends}.",
                f"{title}, {count(len(seeds), 'seed')}: {several}.",
            )
        )
    return pictures


def _view(facts: Facts, name: str) -> list[Block]:
    found = facts.gallery(name)
    if found is None or not found[1].masks.size:
        return []
    seed, gallery = found
    moments = spread(len(gallery.epochs), facts.config.moments)
    images = shown_images(gallery, facts.config.images)
    has_maps = gallery.maps.size > 0
    title = facts.title(name)
    caption = f"{title}, seed {seed}: orange is hidden, the blue outline is the lesion" + (
        "; below each scan the policy's map, bright where it would rather hide "
        "(each map on a scale of its own)."
        if has_maps
        else "."
    )
    epochs = ", ".join(str(gallery.epochs[moment]) for moment in moments)
    alternative = (
        f"Where {title} hid a part of {count(len(images), 'validation scan')} "
        f"at the epochs {epochs}."
    )
    figure = agent_view.draw(gallery, moments, images)
    return [Pictures([as_png(figure, alternative, caption)])]


def _behaviour(facts: Facts, name: str) -> list[Picture]:
    pictures = []
    seeds = facts.histories(name)
    for column, words in _BEHAVIOUR.items():
        lines = {
            f"seed {seed}": history.set_index("epoch")[column]
            for seed, history in seeds.items()
            if column in history and history[column].notna().any()
        }
        if lines:
            colours = dict.fromkeys(lines, facts.styles[name].colour)
            pictures.append(_curve(facts.title(name), words, lines, colours))
    return pictures


def _curve(
    title: str, words: str, lines: Mapping[str, pd.Series], colours: Mapping[str, str]
) -> Picture:
    ends = ", ".join(
        f"{label} {number(line.dropna().iloc[-1], 2)}" for label, line in lines.items()
    )
    return as_svg(
        curves.draw(lines, colours, words, words),
        f"{title}: {words} over training. At the end {ends}.",
        f"{title}: {words}.",
    )


def _has(seeds: Mapping[int, pd.DataFrame], column: str) -> bool:
    return any(
        column in history and history[column].notna().any() for history in seeds.values()
    )


def spread(length: int, wanted: int) -> NDArray[np.int64]:
    """Choose ``wanted`` positions out of ``length``, evenly, the first and the last among them."""
    return np.unique(np.linspace(0, length - 1, min(wanted, length)).round()).astype(np.int64)


def shown_images(gallery: Gallery, wanted: int) -> NDArray[np.int64]:
    """Choose the gallery's first ``wanted`` images: nobody picked the pretty ones."""
    return np.arange(min(wanted, len(gallery.images)))
