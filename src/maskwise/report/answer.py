"""The first sentences: which recipe, on how many, by how much, how sure."""

from dataclasses import dataclass

import pandas as pd

from maskwise.report.agents import agent_sentence
from maskwise.report.facts import Facts
from maskwise.report.verdict import judge, leading, sort_out
from maskwise.report.wording import count, interval, labels, listing, number, p_value, signed


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
    agents = tuple(
        agent_sentence(facts, name) for name in facts.masking if facts.learns_where(name)
    )
    if rows.empty:
        return Answer("none", _nothing_to_compare(facts), "", (), agents)
    verdict = judge(leading(rows))
    return Answer(
        "harms" if verdict == "perhaps_harms" else verdict,
        f"{_sentence(facts, rows)}{_others(facts, rows)}",
        _sureness(facts, rows),
        _rest(facts),
        agents,
    )


def _sentence(facts: Facts, rows: pd.DataFrame) -> str:
    """Speak of the leading recipe."""
    row, reference = leading(rows), facts.title(facts.reference)
    recipe, with_labels = facts.title(row["recipe"]), facts.labels_in_words(facts.fraction)
    score = number(facts.value(row["recipe"], facts.mode, facts.fraction))
    yardstick = number(facts.value(facts.reference, facts.mode, facts.fraction))
    ways = (
        "the one pre-trained recipe" if len(rows) == 1 else f"the best of {len(rows)} recipes"
    )
    match judge(row):
        case "helps":
            start = f"Yes, pre-training helped: with {with_labels}, {recipe} reached"
        case "perhaps":
            start = f"Perhaps: with {with_labels}, {recipe} reached"
        case "harms":
            start = (
                f"No, pre-training harmed: with {with_labels}, {ways}, {recipe}, reached only"
            )
        case "perhaps_harms":
            start = (
                f"No, pre-training perhaps harmed: with {with_labels}, {ways}, {recipe}, "
                "reached only"
            )
        case _:
            start = (
                f"No clear benefit: with {with_labels}, no recipe was clearly better than "
                f"{reference}. {ways[0].upper()}{ways[1:]}, {recipe}, reached"
            )
    return (
        f"{start} a {facts.metric_name} of {score} against {yardstick} with {reference} "
        f"(difference {_gap(row)}), on {_tested(row)}."
    )


_OTHERS = {
    "helps": "Better as well",
    "perhaps": "Perhaps better (not after correction)",
    "perhaps_harms": "Perhaps worse (not after correction)",
    "harms": "Worse",
}


def _others(facts: Facts, rows: pd.DataFrame) -> str:
    """Name every further recipe that differs from the reference, and one that stood higher."""
    spoken = leading(rows)["recipe"]
    told = ""
    for verdict, found in sort_out(rows[rows["recipe"] != spoken]).items():
        if verdict in _OTHERS and len(found):
            told += f" {_OTHERS[verdict]}: {_named(facts, found)}."
    higher = rows.iloc[0]
    if higher["recipe"] != spoken and judge(higher) == "unclear":
        told += f" Higher still, but not clearly so: {_named(facts, rows.iloc[:1])}."
    return told


def _named(facts: Facts, rows: pd.DataFrame) -> str:
    return listing(f"{facts.title(row['recipe'])} ({_gap(row)})" for _, row in rows.iterrows())


def _gap(row: pd.Series) -> str:
    return f"{signed(row['difference'])} {interval(row['low'], row['high'])}".strip()


def _tested(row: pd.Series) -> str:
    parts = (
        count(int(row["n_images"]), "test image"),
        count(int(row["n_groups"]), "group"),
        count(int(row["n_seeds"]), "seed"),
    )
    return f"{parts[0]} of {parts[1]} with {parts[2]}"


def _sureness(facts: Facts, rows: pd.DataFrame) -> str:
    row = leading(rows)
    verdict = judge(row)
    if verdict == "unclear":
        text = (
            "How sure: the 95 % interval includes 0; the data fit anything from "
            f"{signed(row['low'])} to {signed(row['high'])}."
        )
    else:
        text = (
            "How sure: the 95 % interval excludes 0, and "
            f"{p_value(row['p_holm'], facts.is_least(row))} after correction for the "
            f"{facts.comparisons} comparisons of {facts.metric_name} on this page (Holm)."
        )
    if verdict in ("perhaps", "perhaps_harms"):
        text += (
            " So few draws could show nothing after that correction."
            if facts.inputs.scores.get("cannot_pass")
            else " After that correction chance remains a fair explanation."
        )
    if facts.repetitions == 1:
        once = "each image tested by one training" if facts.folds else "one seed"
        text += (
            f" With {once} the interval covers only the choice of test images: trained once "
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


_SHORT = {
    "helps": "better than {}",
    "perhaps": "perhaps better (not sure after correction) than {}",
    "perhaps_harms": "perhaps worse (not sure after correction) than {}",
    "harms": "worse than {}",
}


def _short(facts: Facts, rows: pd.DataFrame, where: tuple[str, float]) -> str:
    reference = facts.title(facts.reference)
    parts = [
        f"{_SHORT[verdict].format(reference)}: {_named(facts, found)}"
        for verdict, found in sort_out(rows).items()
        if verdict in _SHORT and len(found)
    ]
    if not parts:
        best = _named(facts, rows.iloc[:1])
        parts = [f"no recipe clearly different from {reference}; the highest, {best}"]
    return f"{facts.mode_name(where[0])}, {labels(where[1])}: {'; '.join(parts)}."


def _nothing_to_compare(facts: Facts) -> str:
    ran = listing(facts.title(name) for name in facts.styles)
    return (
        "There is nothing to compare: the question needs a recipe without pre-training beside "
        f"at least one with it, and what ran is {ran}."
    )
