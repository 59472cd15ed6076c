"""Methods side by side: scores with intervals, paired differences in numbers and in words."""

import pandas as pd

from maskwise.report.elements import (
    Cell,
    Element,
    Fold,
    Items,
    Paragraph,
    Pictures,
    Row,
    Section,
    Table,
)
from maskwise.report.facts import Facts
from maskwise.report.figures import differences
from maskwise.report.formatting import (
    interval,
    labels,
    measured,
    number,
    p_figure,
    p_value,
    share,
    signed,
)
from maskwise.report.pictures import Picture, as_svg
from maskwise.report.scores import of_labels
from maskwise.report.verdict import judge
from maskwise.wording import count

_TESTS = {"bootstrap": "same draws", "sign_flip": "exact sign-flip test over seeds"}
_VERDICTS = {
    "helps": "better",
    "perhaps": "perhaps better",
    "unclear": "no clear difference",
    "perhaps_harms": "perhaps worse",
    "harms": "worse",
}


def build(facts: Facts) -> Section:
    """Set every recipe beside the others."""
    elements: list[Element] = [Paragraph(_reading(facts)), Items(facts.inputs.scores["notes"])]
    elements += [_scores(facts, mode, facts.metric) for mode in facts.modes]
    pictures = [
        picture
        for mode in facts.modes
        for fraction in facts.fractions
        for picture in _forest(facts, mode, fraction)
    ]
    if pictures:
        elements += [
            Paragraph(
                "The same test images judge both sides of a pair, so a paired difference from "
                f"{facts.title(facts.reference)} is sharper than two intervals side by side."
            ),
            Pictures(pictures),
            Items(_in_words(facts)),
        ]
    if len(facts.inputs.paired):
        table = facts.inputs.paired
        main = table[table["metric"] == facts.metric]
        main = main.sort_values(["mode", "fraction"], kind="stable")
        elements.append(_paired(f"Paired differences, {facts.metric_name}", facts, main))
    elements += [
        Fold(
            "How much of each interval is the seeds' and how much the test images'",
            _parts(facts),
        ),
        Fold("All metrics", _all_metrics(facts)),
    ]
    return Section("methods", "Methods side by side", elements)


def _reading(facts: Facts) -> str:
    scores = facts.inputs.scores
    averaged = f"the mean of {count(len(facts.seeds), 'seed')}"
    if facts.folds:
        averaged = f"the mean of {count(facts.repetitions, 'fold')}, each scored by itself"
    training = (
        "What another training would give is drawn from Student's distribution."
        if facts.tells_training
        else f"The chance of training is not in them: it cannot be told from {facts.trainings}."
    )
    return (
        f"Each figure is the {facts.metric_name} on the test images, {averaged}, with its 95 % "
        "interval. Intervals come from drawing whole groups of test images anew, "
        f"{scores['draws']:,} times. {training} {_of_p(facts)}"
    )


def _of_p(facts: Facts) -> str:
    test = facts.inputs.scores["test"]
    if not facts.written:
        return (
            "No p is given, because no comparison was named beforehand: everything is "
            "exploration."
        )
    if not facts.tells_training:
        return (
            "No p is given, though comparisons were named beforehand "
            f"({facts.written}): that takes 3 repetitions."
        )
    return (
        f"p comes from the {_TESTS.get(test, test)}, corrected after Holm for the "
        f"{count(facts.comparisons, 'comparison')} named beforehand ({facts.written}); the "
        "others are exploration and have none."
    )


def _scores(facts: Facts, mode: str, metric: str) -> Table:
    table = facts.scores
    rows = table[(table["mode"] == mode) & (table["metric"] == metric)]
    found = {(row["recipe"], row["fraction"]): _score(row) for _, row in rows.iterrows()}
    fractions = facts.fractions  # few labels first: a narrow screen shows one column
    lines: list[Row] = [
        (Cell(style.title, style=style), *(found.get((recipe, f), "—") for f in fractions))
        for recipe, style in facts.styles.items()
        if recipe in set(rows["recipe"])
    ]
    head = ("recipe", *(f"{share(fraction)} of the labels" for fraction in fractions))
    return Table(f"{facts.in_print(metric)}, {facts.mode_name(mode).lower()}", head, lines)


def _score(row: pd.Series) -> str:
    text = measured(row)
    if row.get("left_out", 0.0) > 0:
        text += f"; left out {row['left_out']:.3g}"
    if_perfect = row.get("if_perfect", float("nan"))
    return text if pd.isna(if_perfect) else f"{text}; if perfect {number(if_perfect)}"


def _all_metrics(facts: Facts) -> list[Element]:
    # Those of each label stand in a section of their own.
    apart = set(of_labels(facts.inputs.scores))
    metrics = [name for name in dict.fromkeys(facts.scores["metric"]) if name not in apart]
    paired = facts.inputs.paired
    tables = [_scores(facts, mode, metric) for metric in metrics for mode in facts.modes]
    return [
        Paragraph(facts.words.metrics),
        *tables,
        _paired("All paired differences", facts, paired[~paired["metric"].isin(apart)]),
    ]


def _parts(facts: Facts) -> list[Element]:
    table = facts.scores
    rows: list[Row] = [
        (
            Cell(facts.title(row["recipe"]), style=facts.styles.get(row["recipe"])),
            facts.mode_name(row["mode"]).lower(),
            share(row["fraction"]),
            number(row["value"]),
            *(
                interval(row[f"{part}low"], row[f"{part}high"]) or "—"
                for part in ("", "seeds_", "groups_")
            ),
        )
        for _, row in table[table["metric"] == facts.metric].iterrows()
    ]
    head = (
        "recipe",
        "mode",
        "labels",
        facts.metric_name,
        "both",
        "seeds alone",
        "test groups alone",
    )
    return [Table("95 % intervals by what was drawn anew", head, rows)]


def _forest(facts: Facts, mode: str, fraction: float) -> list[Picture]:
    table = facts.inputs.paired
    table = table[(table["metric"] == facts.metric) & (table["against"] == facts.reference)]
    rows = table[(table["mode"] == mode) & (table["fraction"] == fraction)]
    if rows.empty:
        return []
    ends = table[["difference", "low", "high"]]
    bounds = (min(0.0, float(ends.min().min())), max(0.0, float(ends.max().max())))
    title = f"{facts.mode_name(mode)}, {labels(fraction)}"
    reference = facts.title(facts.reference)
    axis = f"{facts.metric_name} above {reference}"
    figure = differences.draw(rows, facts.styles, (title, axis), bounds)
    words = "; ".join(
        f"{facts.title(row['recipe'])} {signed(row['difference'])} "
        f"{interval(row['low'], row['high'])}"
        for _, row in rows.iterrows()
    )
    caption = f"Right of the line is better than {reference}; bars are {facts.bars}."
    return [as_svg(figure, f"Differences from {reference}, {title}: {words}.", caption)]


def _in_words(facts: Facts) -> list[str]:
    paired = facts.inputs.paired
    rows = paired[
        (paired["mode"] == facts.mode)
        & (paired["fraction"] == facts.fraction)
        & (paired["metric"] == facts.metric)
    ]
    return [_sentence(facts, row) for _, row in rows.iterrows()]


def _sentence(facts: Facts, row: pd.Series) -> str:
    verdict, same = judge(row), facts.says_nothing(row)
    shown = (
        f"{signed(row['difference'])} {interval(row['low'], row['high'])}, "
        f"{_how_sure(facts, row, verdict)}on {count(int(row['n_images']), 'image')} of "
        f"{count(int(row['n_groups']), 'group')}, {count(int(row['n_seeds']), 'seed')} "
        f"({labels(row['fraction'])}, {facts.mode_name(row['mode']).lower()})."
    )
    said = f"nothing to tell apart ({same})" if same else _VERDICTS[verdict]
    return (
        f"{facts.title(row['recipe'])} against {facts.title(row['against'])}: {said}, {shown}"
    )


def _how_sure(facts: Facts, row: pd.Series, verdict: str) -> str:
    """Say what p a difference has, or why it has none."""
    if pd.notna(row["p_holm"]):
        return f"{p_value(row['p_holm'], facts.is_least(row))} after Holm, "
    if verdict == "unclear":
        return ""
    return (
        ""
        if facts.tells_training and row["primary"]
        else ("exploration, " if facts.tells_training else f"from {facts.trainings}, ")
    )


def _paired(caption: str, facts: Facts, paired: pd.DataFrame) -> Table:
    head = (
        "recipe",
        "against",
        "mode",
        "labels",
        "metric",
        "difference",
        "95 % interval",
        "asked beforehand",
        "p",
        "p (Holm)",
        "test images",
        "groups",
        "seeds",
    )
    rows: list[Row] = [
        (
            Cell(facts.title(row["recipe"]), style=facts.styles.get(row["recipe"])),
            facts.title(row["against"]),
            facts.mode_name(row["mode"]).lower(),
            share(row["fraction"]),
            facts.in_print(row["metric"]),
            signed(row["difference"]),
            interval(row["low"], row["high"]),
            "yes" if row["primary"] else "no",
            *(p_figure(row[name], facts.is_least(row)) for name in ("p", "p_holm")),
            *(f"{row[name]:,}" for name in ("n_images", "n_groups", "n_seeds")),
        )
        for _, row in paired.iterrows()
    ]
    return Table(caption, head, rows)
