"""The first sentences: which recipe, on how many, by how much, how sure."""

from dataclasses import dataclass

import pandas as pd

from maskwise.report.facts import Facts
from maskwise.report.wording import count, interval, labels, listing, number, p_value, signed

CONVINCING = 0.05
"""Holm-adjusted p below which a difference whose interval excludes 0 is called shown."""


@dataclass(frozen=True)
class Answer:
    """What the page says first."""

    verdict: str
    """``helps``, ``perhaps``, ``unclear``, ``harms`` or ``none`` (nothing to compare)."""
    sentence: str
    sureness: str
    rest: tuple[str, ...]
    """The same question for the other modes and fractions, a sentence each."""
    agents: tuple[str, ...]
    """Whether each learnt policy looks at what is in the image, a sentence each."""


def answer(facts: Facts) -> Answer:
    """Answer from the paired differences to the reference at the smallest fraction."""
    rows = facts.against_reference(facts.mode, facts.fraction)
    agents = tuple(_agent(facts, name) for name in facts.masking if facts.learns_where(name))
    if rows.empty:
        return Answer("none", _nothing_to_compare(facts), "", (), agents)
    verdict = judge(rows.iloc[0])
    sentence = _sentence(facts, rows, verdict)
    return Answer(verdict, sentence, _sureness(facts, rows), _rest(facts), agents)


def judge(row: pd.Series) -> str:
    """Say what one paired difference shows."""
    if row["high"] < 0:
        return "harms"
    if not row["low"] > 0:  # as well where no interval could be drawn
        return "unclear"
    return "helps" if row["p_holm"] < CONVINCING else "perhaps"


def _sentence(facts: Facts, rows: pd.DataFrame, verdict: str) -> str:
    best, reference = rows.iloc[0], facts.title(facts.reference)
    recipe = facts.title(best["recipe"])
    gap = f"{signed(best['difference'])} {interval(best['low'], best['high'])}"
    score = number(facts.value(best["recipe"], facts.mode, facts.fraction))
    yardstick = number(facts.value(facts.reference, facts.mode, facts.fraction))
    tested = f"{_tested(best)}"
    labels = facts.labels_in_words(facts.fraction)
    ways = (
        "the one pre-trained recipe" if len(rows) == 1 else f"the best of {len(rows)} recipes"
    )
    match verdict:
        case "helps":
            start = f"Yes, pre-training helped: with {labels}, {recipe} reached"
        case "perhaps":
            start = f"Perhaps: with {labels}, {recipe} reached"
        case "harms":
            start = f"No, pre-training harmed: with {labels}, {ways}, {recipe}, reached only"
        case _:
            start = (
                f"Not shown: with {labels}, no recipe was clearly better than {reference}. "
                f"{recipe}, {ways}, reached"
            )
    return (
        f"{start} a {facts.metric_name} of {score} against {yardstick} with {reference} "
        f"(difference {gap}), on {tested}."
    )


def _tested(row: pd.Series) -> str:
    parts = (
        count(int(row["n_images"]), "test image"),
        count(int(row["n_groups"]), "group"),
        count(int(row["n_seeds"]), "seed"),
    )
    return f"{parts[0]} of {parts[1]} with {parts[2]}"


def _sureness(facts: Facts, rows: pd.DataFrame) -> str:
    best = rows.iloc[0]
    if judge(best) == "unclear":
        text = (
            "How sure: the 95 % interval includes 0; the data fit anything from "
            f"{signed(best['low'])} to {signed(best['high'])}."
        )
    else:
        text = (
            f"How sure: the 95 % interval excludes 0, and {p_value(best['p_holm'])} after "
            f"correction for the {facts.comparisons} comparisons of {facts.metric_name} on "
            "this page (Holm)."
        )
    if judge(best) == "perhaps":
        text += " After that correction chance remains a fair explanation."
    if int(best["n_seeds"]) == 1:
        text += (
            " With one seed the interval covers only the choice of test images: trained once "
            "more, the same recipe may come out differently."
        )
    return text


def _rest(facts: Facts) -> tuple[str, ...]:
    sentences = []
    for mode in facts.modes:
        for fraction in facts.fractions:
            rows = facts.against_reference(mode, fraction)
            if (mode, fraction) == (facts.mode, facts.fraction) or rows.empty:
                continue
            sentences.append(_short(facts, rows, (mode, fraction)))
    return tuple(sentences)


def _short(facts: Facts, rows: pd.DataFrame, where: tuple[str, float]) -> str:
    best = rows.iloc[0]
    gap = f"{signed(best['difference'])} {interval(best['low'], best['high'])}"
    verdicts = {
        "helps": "ahead of",
        "perhaps": "ahead of (not sure after correction)",
        "unclear": "not clearly different from",
        "harms": "behind",
    }
    reference = facts.title(facts.reference)
    return (
        f"{facts.mode_name(where[0])}, {labels(where[1])}: the best, "
        f"{facts.title(best['recipe'])}, was {verdicts[judge(best)]} {reference}, {gap}."
    )


def _agent(facts: Facts, recipe: str) -> str:
    """Say whether the recipe's masks follow the image, by content lift at the end."""
    title = facts.title(recipe)
    last = facts.lifts(recipe)
    if last.empty:
        return f"{title}: no outlined lesion to measure it on."
    seen = int((last["content_lift_low"] > 0).sum())
    content = f"content lift {signed(last['content_lift'].mean(), 2)}"
    if len(last) == 1:
        row = last.iloc[0]
        content += f" {interval(row['content_lift_low'], row['content_lift_high'], 2)}"
        where = {1: "does follow the image", 0: "was not shown to follow the image"}[seen]
    else:
        content += f" as the mean of {len(last)} seeds"
        where = f"follows the image in {seen} of {len(last)} seeds"
    return (
        f"{title} hid {number(last['lift'].mean(), 1)} times as much of a lesion as of the "
        f"image (boxes anywhere: {number(last['lift_uniform'].mean(), 1)}); {content}, so its "
        f"choice {where}."
    )


def _nothing_to_compare(facts: Facts) -> str:
    ran = listing(facts.title(name) for name in facts.styles)
    return (
        "There is nothing to compare: the question needs a recipe without pre-training beside "
        f"at least one with it, and what ran is {ran}."
    )
