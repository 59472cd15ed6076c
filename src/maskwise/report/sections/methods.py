"""Methods side by side: scores with intervals, paired differences in numbers and in words."""

import pandas as pd

from maskwise.report.answer import judge
from maskwise.report.blocks import (
    Block,
    Cell,
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
from maskwise.report.pictures import Picture, as_svg
from maskwise.report.scores import METRICS
from maskwise.report.wording import (
    count,
    interval,
    number,
    p_figure,
    p_value,
    share,
    signed,
    with_interval,
)

_TESTS = {"bootstrap": "same draws", "sign_flip": "exact sign-flip test over seeds"}
_VERDICTS = {
    "helps": "better",
    "perhaps": "perhaps better (the interval excludes 0, but not after correction)",
    "unclear": "no clear difference",
    "harms": "worse",
}


def build(facts: Facts) -> Section:
    """Set every recipe beside the others."""
    blocks: list[Block] = [Paragraph(_reading(facts)), Items(facts.inputs.scores["notes"])]
    blocks += [_scores(facts, mode, facts.config.metric) for mode in facts.modes]
    pictures = [
        picture
        for mode in facts.modes
        for fraction in facts.fractions
        for picture in _forest(facts, mode, fraction)
    ]
    if pictures:
        blocks += [
            Paragraph(
                "The same test images judge both sides of a pair, so a paired difference from "
                f"{facts.title(facts.reference)} is sharper than two intervals side by side."
            ),
            Pictures(pictures),
            Items(_in_words(facts)),
        ]
    if len(facts.inputs.paired):
        main = facts.inputs.paired["metric"] == facts.config.metric
        blocks.append(_paired("Paired differences", facts, facts.inputs.paired[main]))
    blocks += [
        Fold(
            "How much of each interval is the seeds' and how much the test images'",
            _parts(facts),
        ),
        Fold("All metrics", _all_metrics(facts)),
    ]
    return Section("methods", "Methods side by side", blocks)


def _reading(facts: Facts) -> str:
    scores = facts.inputs.scores
    return (
        f"Each figure is the {facts.metric_name} on the test images, averaged over "
        f"{count(len(facts.seeds), 'seed')}, with its 95 % interval. Intervals come from "
        f"drawing seeds and whole groups of test images anew, {scores['draws']:,} times; p "
        f"from the {_TESTS.get(scores['test'], scores['test'])}, corrected after Holm for all "
        "comparisons of one metric on this page."
    )


def _scores(facts: Facts, mode: str, metric: str) -> Table:
    table = facts.scores
    rows = table[(table["mode"] == mode) & (table["metric"] == metric)].set_index(
        ["recipe", "fraction"]
    )
    name = METRICS.get(metric, metric)
    head = ("recipe", *(f"{share(f)} of the labels" for f in reversed(facts.fractions)))
    lines: list[Row] = []
    for recipe, style in facts.styles.items():
        if recipe not in rows.index.get_level_values("recipe"):
            continue
        cells = [_score(rows, recipe, fraction) for fraction in reversed(facts.fractions)]
        lines.append((Cell(style.title, style=style), *cells))
    return Table(f"{name}, {facts.mode_name(mode).lower()}", head, lines)


def _score(rows: pd.DataFrame, recipe: str, fraction: float) -> str:
    if (recipe, fraction) not in rows.index:
        return "—"
    row = rows.loc[(recipe, fraction)]
    return with_interval(row["value"], row["low"], row["high"])


def _all_metrics(facts: Facts) -> list[Block]:
    metrics = list(dict.fromkeys(facts.scores["metric"]))
    tables = [_scores(facts, mode, metric) for metric in metrics for mode in facts.modes]
    return [*tables, _paired("All paired differences", facts, facts.inputs.paired)]


def _parts(facts: Facts) -> list[Block]:
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
        for _, row in table[table["metric"] == facts.config.metric].iterrows()
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
    paired = facts.inputs.paired
    rows = paired[
        (paired["mode"] == mode)
        & (paired["fraction"] == fraction)
        & (paired["metric"] == facts.config.metric)
        & (paired["against"] == facts.reference)
    ]
    if rows.empty:
        return []
    title = f"{facts.mode_name(mode)}, {share(fraction)} of the labels"
    reference = facts.title(facts.reference)
    figure = differences.draw(
        rows, facts.styles, title, f"{facts.metric_name} above {reference}"
    )
    words = "; ".join(
        f"{facts.title(row['recipe'])} {signed(row['difference'])} "
        f"{interval(row['low'], row['high'])}"
        for _, row in rows.iterrows()
    )
    caption = f"Right of the line is better than {reference}; a bar is a 95 % interval."
    return [as_svg(figure, f"Differences from {reference}, {title}: {words}.", caption)]


def _in_words(facts: Facts) -> list[str]:
    paired = facts.inputs.paired
    rows = paired[
        (paired["mode"] == facts.mode)
        & (paired["fraction"] == facts.fraction)
        & (paired["metric"] == facts.config.metric)
    ]
    return [_sentence(facts, row) for _, row in rows.iterrows()]


def _sentence(facts: Facts, row: pd.Series) -> str:
    return (
        f"{facts.title(row['recipe'])} against {facts.title(row['against'])}: "
        f"{_VERDICTS[judge(row)]}, {signed(row['difference'])} "
        f"{interval(row['low'], row['high'])}, {p_value(row['p_holm'])} after Holm, on "
        f"{count(int(row['n_images']), 'image')} of {count(int(row['n_groups']), 'group')}, "
        f"{count(int(row['n_seeds']), 'seed')} ({share(row['fraction'])} of the labels, "
        f"{facts.mode_name(row['mode']).lower()})."
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
        "p",
        "p (Holm)",
        "images",
        "groups",
        "seeds",
    )
    rows: list[Row] = [
        (
            Cell(facts.title(row["recipe"]), style=facts.styles.get(row["recipe"])),
            facts.title(row["against"]),
            facts.mode_name(row["mode"]).lower(),
            share(row["fraction"]),
            METRICS.get(row["metric"], row["metric"]),
            signed(row["difference"]),
            interval(row["low"], row["high"]),
            p_figure(row["p"]),
            p_figure(row["p_holm"]),
            f"{row['n_images']:,}",
            f"{row['n_groups']:,}",
            f"{row['n_seeds']:,}",
        )
        for _, row in paired.iterrows()
    ]
    return Table(caption, head, rows)
