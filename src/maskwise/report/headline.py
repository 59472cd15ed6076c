"""The first sentences: which recipe, on how many, by how much, how sure."""

from dataclasses import dataclass

import pandas as pd

from maskwise.report.agents import agent_sentence
from maskwise.report.facts import Facts
from maskwise.report.formatting import (
    labels,
    listing,
    number,
    p_value,
    signed,
    signed_with_interval,
)
from maskwise.report.verdict import judge, leading, sort_out
from maskwise.wording import count

MOST_CLASSES = 4
"""Classes whose test groups the first sentence counts one by one; of more only the fewest."""


@dataclass(frozen=True)
class Headline:
    """What the page says first."""

    verdict: str
    """``helps``, ``perhaps``, ``unclear``, ``harms`` or ``none`` (nothing to compare)."""
    sentence: str
    sureness: str
    rest: tuple[str, ...]
    """The same question for the other modes and fractions, one sentence each."""
    agents: tuple[str, ...]
    """Whether each learnt policy looks at what is in the image, one sentence each."""


def headline(facts: Facts) -> Headline:
    """Answer from what was named beforehand, else from the differences to the reference."""
    rows = facts.asked()
    agents = tuple(
        agent_sentence(facts, name) for name in facts.masking if facts.learns_where(name)
    )
    if rows.empty:
        return Headline("none", _nothing_to_compare(facts), "", (), agents)
    verdict = judge(leading(rows))
    if facts.says_nothing(leading(rows)):
        verdict = "unclear"
    return Headline(
        "harms" if verdict == "perhaps_harms" else verdict,
        f"{_sentence(facts, rows)}{_others(facts, rows)}",
        _sureness(facts, rows),
        _rest(facts, rows),
        agents,
    )


def _sentence(facts: Facts, rows: pd.DataFrame) -> str:
    """Speak of the leading recipe."""
    row = leading(rows)
    recipe, against = (facts.title(row[side]) for side in ("recipe", "against"))
    score, yardstick = (
        number(facts.value(row[side], facts.mode, facts.fraction))
        for side in ("recipe", "against")
    )
    return (
        f"{_start(facts, rows)} a {facts.metric_name} of {score} against {yardstick} with "
        f"{against} (difference {_gap(row)}), on {_tested(facts, row)}."
        if not facts.says_nothing(row)
        else f"Nothing was shown: with {facts.labels_in_words(facts.fraction)}, by {recipe} "
        f"and by {against} alike, {facts.says_nothing(row)} or the like. Their "
        f"{facts.metric_name} ({score} and {yardstick}) says nothing about either."
    )


def _start(facts: Facts, rows: pd.DataFrame) -> str:
    """Return the sentence up to the score, by what the leading difference shows."""
    row, with_labels = leading(rows), facts.labels_in_words(facts.fraction)
    recipe, against = (facts.title(row[side]) for side in ("recipe", "against"))
    trained = row["against"] == facts.reference
    match judge(row):
        case "helps":
            said = "Yes, pre-training helped" if trained else f"Yes, more than {against}"
            return f"{said}: with {with_labels}, {recipe} reached"
        case "perhaps":
            return f"Perhaps{_why_only_perhaps(facts)}: with {with_labels}, {recipe} reached"
        case "harms":
            said = "No, pre-training harmed" if trained else f"No, less than {against}"
            return f"{said}: with {with_labels}, {_ways(rows)}, {recipe}, reached only"
        case "perhaps_harms":
            harmed = (
                "pre-training perhaps harmed" if trained else f"perhaps less than {against}"
            )
            why = _why_only_perhaps(facts)
            said = f"No, {harmed}" if not why else f"{harmed[0].upper()}{harmed[1:]}{why}"
            return f"{said}: with {with_labels}, {_ways(rows)}, {recipe}, reached only"
    others = against if rows["against"].nunique() == 1 else "what it was compared with"
    ways = _ways(rows)
    return (
        f"No clear benefit: with {with_labels}, no recipe was clearly better than {others}. "
        f"{ways[0].upper()}{ways[1:]}, {recipe}, reached"
    )


def _why_only_perhaps(facts: Facts) -> str:
    """Say why there is no better word, where that is not the correction of p."""
    if not facts.tells_training:
        return f", from {facts.trainings}"
    return "" if facts.written else ", from exploration"


def _ways(rows: pd.DataFrame) -> str:
    """Say how the leading recipe stands among those that were compared."""
    if len(rows) == 1:
        return "the one comparison"
    word = "best" if leading(rows)["difference"] > 0 else "least far below"
    of = "recipes" if rows["against"].nunique() == 1 else "comparisons"
    return f"the {word} of {len(rows)} {of}"


_OTHERS = {
    "helps": "Better as well",
    "perhaps": "Perhaps better{}",
    "perhaps_harms": "Perhaps worse{}",
    "harms": "Worse",
}


def _others(facts: Facts, rows: pd.DataFrame) -> str:
    """Name every further comparison that shows a difference, and one that stood higher."""
    spoken = leading(rows)
    left = _telling(facts, rows.drop(index=spoken.name))
    told, beside = "", spoken["against"]
    for verdict, found in sort_out(left).items():
        if verdict in _OTHERS and len(found):
            start = _OTHERS[verdict].format(_not_sure(facts))
            told += f" {start}: {_named(facts, found, beside)}."
    higher = rows.iloc[0]
    if higher.name in left.index and judge(higher) == "unclear":
        left = left.drop(index=higher.name)
        told += f" Higher still, but not clearly so: {_named(facts, rows.iloc[:1], beside)}."
    asked = sort_out(left)["unclear"]
    if facts.written and len(asked):
        told += f" Also asked, without a clear answer: {_named(facts, asked, beside)}."
    return told


def _telling(facts: Facts, rows: pd.DataFrame) -> pd.DataFrame:
    """Leave out differences that say nothing about either recipe."""
    telling = [not facts.says_nothing(row) for _, row in rows.iterrows()]
    return rows[pd.Series(telling, rows.index, dtype=bool)]


def _not_sure(facts: Facts) -> str:
    """Say in brackets why a difference is not sure."""
    if not facts.tells_training:
        return f" (from {facts.trainings})"
    return " (not after correction)" if facts.written else " (from exploration)"


def _named(facts: Facts, rows: pd.DataFrame, beside: str = "") -> str:
    """List recipes with their differences, and what from where it is not ``beside``."""
    told = []
    for _, row in rows.iterrows():
        other = beside not in ("", row["against"])
        against = f" against {facts.title(row['against'])}" if other else ""
        told.append(f"{facts.title(row['recipe'])}{against} ({_gap(row)})")
    return listing(told)


def _gap(row: pd.Series) -> str:
    return signed_with_interval(row["difference"], row["low"], row["high"])


def _tested(facts: Facts, row: pd.Series) -> str:
    """Say on what: "80 test images of 40 groups (benign 24, malignant 16) with 3 seeds"."""
    groups = facts.tested()["groups"]
    fewest = groups.nsmallest(1) if len(groups) > MOST_CLASSES else groups
    named = ", ".join(f"{name} {n:,}" for name, n in fewest.items())
    if len(groups) > MOST_CLASSES:
        named = f"the fewest: {named}"
    parts = (
        count(int(row["n_images"]), "test image"),
        count(int(row["n_groups"]), "group"),
        count(int(row["n_seeds"]), "seed"),
    )
    of = f" ({named})" if len(groups) > 1 else ""
    return f"{parts[0]} of {parts[1]}{of} with {parts[2]}"


def _sureness(facts: Facts, rows: pd.DataFrame) -> str:
    row = leading(rows)
    if facts.says_nothing(row):
        return ""
    text = _certainty(facts, row, judge(row))
    if facts.tells_training:
        return text
    counted = f"{facts.repetitions} {'folds' if facts.folds else 'seeds'}"
    once = "one seed" if facts.repetitions == 1 else counted
    return (
        f"{text} With {once} the interval covers only the choice of test images: trained once "
        "more, the same recipe may come out differently, so no p is given."
    )


def _certainty(facts: Facts, row: pd.Series, verdict: str) -> str:
    if verdict == "unclear":
        text = (
            "How sure: the 95 % interval includes 0; the data fit anything from "
            f"{signed(row['low'])} to {signed(row['high'])}."
        )
    elif facts.written and facts.tells_training:
        text = (
            "How sure: the 95 % interval excludes 0, and "
            f"{p_value(row['p_holm'], facts.is_least(row))} after correction for the "
            f"{count(facts.comparisons, 'comparison')} of {facts.metric_name} named beforehand "
            "(Holm)."
        )
    else:
        text = "How sure: the 95 % interval excludes 0."
    if facts.written:
        text += f" This question was written down on {facts.written}."
    else:
        text += (
            " Nothing was named beforehand, so this is exploration: among many comparisons "
            "some look like this by chance, and no p is given."
        )
    if verdict in ("perhaps", "perhaps_harms") and facts.written and facts.tells_training:
        text += " After correction chance remains a fair explanation."
    return text


def _rest(facts: Facts, asked: pd.DataFrame) -> tuple[str, ...]:
    sentences = []
    for mode in facts.modes:
        for fraction in facts.fractions:
            rows = facts.against_reference(mode, fraction)
            rows = _telling(facts, rows.drop(index=rows.index.intersection(asked.index)))
            if len(rows):
                sentences.append(_short(facts, rows, (mode, fraction)))
    return tuple(sentences)


def _short(facts: Facts, rows: pd.DataFrame, where: tuple[str, float]) -> str:
    reference = facts.title(facts.reference)
    unsure = f" (from {facts.trainings})" if not facts.tells_training else " (exploration)"
    words = {
        "perhaps": f"perhaps better{unsure} than {reference}",
        "perhaps_harms": f"perhaps worse{unsure} than {reference}",
    }
    parts = [
        f"{words[verdict]}: {_named(facts, found)}"
        for verdict, found in sort_out(rows).items()
        if verdict in words and len(found)
    ]
    if not parts:
        word = "the highest" if rows.iloc[0]["difference"] > 0 else "the least far below"
        best = _named(facts, rows.iloc[:1])
        if facts.is_stuck(rows.iloc[0]["recipe"], *where):
            best += ", whose networks answer nearly all images alike"
        parts = [f"no recipe clearly different from {reference}; {word}, {best}"]
    return f"{facts.mode_name(where[0])}, {labels(where[1])}: {'; '.join(parts)}."


def _nothing_to_compare(facts: Facts) -> str:
    ran = listing(facts.title(name) for name in facts.styles)
    return (
        "There is nothing to compare: the question needs a recipe without pre-training beside "
        f"at least one with it, and what ran is {ran}."
    )
