"""What the agent looked at: its masks and maps, and lift beside the controls."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from maskwise.artefacts.gallery import Gallery
from maskwise.report.agents import (
    ABOVE_VARIANCE,
    OverSeeds,
    above_control,
    over_seeds,
    sparing_sentences,
)
from maskwise.report.elements import (
    Cell,
    Element,
    Fold,
    Heading,
    Paragraph,
    Pictures,
    Row,
    Section,
    Table,
)
from maskwise.report.figures import agent_view, lift
from maskwise.report.formatting import interval, listing, number, with_interval
from maskwise.report.pictures import Picture, as_png, as_svg
from maskwise.report.pretraining_facts import PretrainingFacts
from maskwise.report.sections.training import drawing, series
from maskwise.wording import count

_BEHAVIOUR = {
    "entropy": "entropy of the places",
    "top_share": "share of the top place",
    "position_share": "position share",
    "variance_correlation": "correlation with variance",
}
_READING = (
    "Mask lift says how much more of a lesion is hidden than of the image: 1 is indifference, "
    "and below it the lesion is spared, which a policy may be meant to do. "
    "Boxes that lie inside the image favour its middle, so the figures to beat are those of "
    "masks of the same kind put anywhere, in the centre, and where variance is highest. "
    "Content lift takes away what the same masks would hide on images of other groups: what "
    "is left depends on the image. That is not yet learning: an agent that learnt nothing has "
    "some random preference, such as for bright places, which depends on the image too and "
    "gives content lift of either sign. The interval of one seed, over images, does not "
    "reflect it; only seeds that agree, or a control told the rewards of other images, can "
    "tell the two apart. Everything is measured on at most 256 validation images with "
    "lesions, never on test images."
)
_UNTOLD = "Lesion outlines were used for this measure alone; no network saw them."
_UNMEASURED = (
    "No validation image has an outlined lesion, so that nothing tells whether the masks lie "
    "where lesions are. What is drawn here are validation images."
)
_WITH_INTERVAL = {
    "lift": "mask lift",
    "content_lift": "content lift",
    ABOVE_VARIANCE: "content lift above most variance",
}
_COLUMNS = {
    "content_lift_centre": "content lift, centre",
    "content_lift_variance": "content lift, most variance",
    "lift_mean_map": "mean map",
    "lift_uniform": "uniform",
    "lift_centre": "centre",
    "lift_variance": "most variance",
    "lift_oracle": "oracle",
    "hidden_share": "share hidden",
    "entropy": "entropy",
    "top_share": "top share",
    "position_share": "position share",
    "variance_correlation": "correlation with variance",
    "error_correlation": "correlation with error",
    "overlap": "overlap of two draws",
}


def build(facts: PretrainingFacts) -> Section:
    """Show where masks fell over training, and whether they followed the image."""
    title = "What the agent looked at"
    masked = {name: facts.histories(name) for name in facts.masking}
    if not masked:
        text = (
            "No recipe of this page hides a part of the image, so there are no masks to show."
        )
        return Section("agent", title, [Paragraph(text)])
    elements: list[Element] = []
    measured = {name: seeds for name in masked if (seeds := _measured(masked[name]))}
    if measured:
        elements += [
            Paragraph(f"{_READING} {_outlines_used(facts)}"),
            _table(facts, measured),
            *_over_seeds(facts, measured),
            *map(Paragraph, sparing_sentences(facts)),
        ]
        elements.append(Pictures(_lifts(facts, measured)))
    else:
        elements.append(Paragraph(_UNMEASURED))
    learning = [name for name in masked if facts.learns_where(name)]
    for name in learning:
        heading = f"{facts.title(name)}: masks and map over training"
        pictures = [Pictures(_view(facts, name)), Pictures(_behaviour(facts, name))]
        elements += [Heading(heading, facts.styles[name]), *pictures, *_kept(facts, name)]
    others = [name for name in masked if name not in learning and _view(facts, name)]
    if others:
        controls = [Pictures(_view(facts, name)) for name in others]
        elements.append(Fold("Masks of the policies that do not learn", controls))
    return Section("agent", title, elements)


def _outlines_used(facts: PretrainingFacts) -> str:
    if not facts.told_lesions:
        return _UNTOLD
    told = listing(map(facts.title, facts.told_lesions))
    return (
        f"Lesion outlines were used for this measure, and to choose the masks of {told}, which "
        "are ceilings."
    )


def _table(
    facts: PretrainingFacts, measured: Mapping[str, Mapping[int, pd.DataFrame]]
) -> Table:
    rows: list[Row] = []
    for name, seeds in measured.items():
        for seed, history in seeds.items():
            last = history.iloc[-1]
            lifts = (_lift(last, column) for column in _WITH_INTERVAL)
            figures = (number(last.get(column), 2) for column in _COLUMNS)
            recipe = Cell(facts.title(name), style=facts.styles[name])
            rows.append((recipe, str(seed), *lifts, *figures))
    head = ("recipe", "seed", *_WITH_INTERVAL.values(), *_COLUMNS.values())
    return Table("At the end of training, with 95 % intervals over groups", head, rows)


def _over_seeds(
    facts: PretrainingFacts, measured: Mapping[str, Mapping[int, pd.DataFrame]]
) -> list[Element]:
    """Set content lift over seeds beside each agent's control; nothing where one seed ran."""
    rows: list[Row] = []
    for name, seeds in measured.items():
        if len(seeds) < 2:
            continue
        lift = over_seeds([history.iloc[-1]["content_lift"] for history in seeds.values()])
        control = above_control(facts, name)
        beside = ("", "—") if control is None else (facts.title(control[0]), _ends(control[1]))
        recipe = Cell(facts.title(name), style=facts.styles[name])
        rows.append((recipe, str(lift.seeds), _ends(lift), *beside))
    head = ("recipe", "seeds", "content lift", "control, rewards shuffled", "paired difference")
    return [Table("Content lift over seeds, with 95 % t intervals", head, rows)] if rows else []


def _ends(found: OverSeeds) -> str:
    return with_interval(found.value, found.low, found.high, 2)


def _lift(row: pd.Series, column: str) -> str:
    low, high = row.get(f"{column}_low"), row.get(f"{column}_high")
    return f"{number(row.get(column), 2)} {interval(low, high, 2)}".strip()


def _lifts(
    facts: PretrainingFacts, measured: Mapping[str, Mapping[int, pd.DataFrame]]
) -> list[Picture]:
    pictures = []
    for name, seeds in measured.items():
        title = facts.title(name)
        several = "thin lines are seeds" if len(seeds) > 1 else "the band is a 95 % interval"
        last = [history.iloc[-1] for history in seeds.values()]
        ends = ", ".join(
            f"{words} {number(float(np.mean([row.get(column, np.nan) for row in last])), 2)}"
            for column, words in (
                ("lift", "mask lift"),
                ("content_lift", "content lift"),
                ("lift_uniform", "masks anywhere"),
                ("lift_variance", "most variance"),
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


def _view(facts: PretrainingFacts, name: str) -> list[Picture]:
    found = facts.gallery(name)
    if found is None or not found[1].masks.size:
        return []
    seed, gallery = found
    moments = spread(len(gallery.epochs), facts.config.moments)
    title = facts.title(name)
    legend = "orange is hidden"
    if gallery.lesions.any():
        legend += ", the blue outline is the lesion"
    if gallery.maps.size:
        legend += (
            "; below each scan the policy's map, bright where it would rather hide (a map's "
            "colours are a scale of its own)"
        )
    epochs = listing(str(gallery.epochs[moment]) for moment in moments)
    return [
        as_png(
            agent_view.draw(gallery, moments, images),
            f"Where {title}, seed {seed}, hid a part of "
            f"{count(len(images), 'validation scan')} at epochs {epochs}.",
            f"{title}, seed {seed}: {legend}.",
        )
        for images in pairs(gallery, facts.config.images)
    ]


def _kept(facts: PretrainingFacts, name: str) -> list[Element]:
    """Say how another recipe can go by the map that this agent learnt."""
    weights = max(
        (size for (one, _), size in facts.inputs.agents.items() if one == name), default=0
    )
    if not weights:
        return []
    text = (
        f"The map is kept beside each encoder, as `policy.safetensors` ({weights:,} weights). "
        "A recipe with `policy: {name: spare, map: {recipe: "
        + name
        + "}}` hides cells elsewhere "
        "than this agent would (docs/methods/spare.md)."
    )
    return [Paragraph(text)]


def _behaviour(facts: PretrainingFacts, name: str) -> list[Picture]:
    return [
        drawing(facts, name, (column, words), lines)
        for column, words in _BEHAVIOUR.items()
        if (lines := series(facts, name, column))
    ]


def _measured(seeds: Mapping[int, pd.DataFrame]) -> dict[int, pd.DataFrame]:
    """Keep the epochs at which lift was measured, and the seeds that have any."""
    kept = {
        seed: history.dropna(subset=["lift"])
        for seed, history in seeds.items()
        if "lift" in history
    }
    return {seed: history for seed, history in kept.items() if len(history)}


def spread(length: int, wanted: int) -> NDArray[np.int64]:
    """Choose ``wanted`` of ``length`` positions, evenly, the first and the last among them."""
    return np.unique(np.linspace(0, length - 1, min(wanted, length)).round()).astype(np.int64)


def pairs(gallery: Gallery, wanted: int) -> list[NDArray[np.int64]]:
    """Take the gallery's first ``wanted`` images, in twos: nobody picked the pretty ones."""
    shown = np.arange(min(wanted, len(gallery.images)))
    return [shown[first : first + 2] for first in range(0, len(shown), 2)]
