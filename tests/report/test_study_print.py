"""The table and the figure for print: their figures, their forms, and grey copies."""

import re
from dataclasses import replace
from io import StringIO
from typing import Any

import pandas as pd
import pytest

from maskwise.evaluate.stage import EvaluateConfig, evaluate
from maskwise.report.elements import Paragraph
from maskwise.report.facts import Facts, read_facts
from maskwise.report.figures.study_curves import in_grey
from maskwise.report.formatting import NO_BREAK
from maskwise.report.inputs import Report, ReportInputs
from maskwise.report.page import render
from maskwise.report.pictures import pdf_bytes
from maskwise.report.sections import shrinkage
from maskwise.report.study_figure import study_figure
from maskwise.report.study_pairs import in_words
from maskwise.report.study_table import caption, study_table
from report.synthetic import study

RECIPES = ("scratch", "random_box", "dqn", "pixels")  # of which the last is only probed


def scored(inputs: ReportInputs) -> ReportInputs:
    """Return the inputs with what evaluate makes of their predictions."""
    config = EvaluateConfig(draws=199)
    result = evaluate(inputs.predictions, inputs.subsets, config, "phantom", "diagnosis")
    return replace(inputs, scores=result.scores, paired=result.paired)


@pytest.fixture(scope="module")
def inputs() -> ReportInputs:
    return scored(study(seeds=(0, 1, 2), recipes=RECIPES))


@pytest.fixture(scope="module")
def facts(inputs: ReportInputs) -> Facts:
    return read_facts(inputs)


@pytest.fixture(scope="module")
def page(inputs: ReportInputs) -> Report:
    return render(inputs)


def test_the_table_holds_what_evaluate_wrote(inputs: ReportInputs, page: Report) -> None:
    table, scores = page.study_table, inputs.scores
    assert len(table) == 2 * len(RECIPES) - 1
    for _, row in table.iterrows():
        point = scores["scores"][row["recipe"]][row["mode"]]["0.1"]["macro_auroc"]
        left = scores["shrinkage"][row["mode"]]["recipes"][row["recipe"]]
        assert (row["at_0.1"], row["at_0.1_low"]) == (point["value"], point["low"])
        assert (row["area"], row["area_high"]) == (left["area"]["value"], left["area"]["high"])
        assert (row["drop"], row["drop_low"]) == (left["drop"]["value"], left["drop"]["low"])
        assert row["seeds"] == 3
        assert row["of"] == (3 if row["mode"] == "probe" else 2)


def test_who_keeps_most_stands_first_and_wins_are_differences_that_leave_0_out(
    inputs: ReportInputs, page: Report
) -> None:
    rows = page.study_table.query("mode == 'probe'")
    assert rows["area"].is_monotonic_decreasing
    wins = inputs.scores["shrinkage"]["probe"]["wins"]
    for recipe, counted in zip(rows["recipe"], rows["wins"], strict=True):
        assert counted == sum(gap["low"] > 0 for gap in wins[recipe].values())
    assert rows["wins"].max() > 0


def test_one_training_counts_no_wins() -> None:
    table = study_table(read_facts(scored(study(seeds=(0,), recipes=RECIPES))))
    assert table.rows["wins"].isna().all()
    assert "test images only" in table.markdown
    assert set(table.pairs["in_words"]) == {"training was not repeated often enough to tell"}


def test_markdown_and_latex_say_the_same_as_the_page(page: Report) -> None:
    (row,) = page.study_table.query("mode == 'full' and recipe == 'dqn'").to_dict("records")
    area = f"{row['area']:.3f} [{row['area_low']:.3f},{{}}{row['area_high']:.3f}]"
    assert f"| {area.format(NO_BREAK)} |" in page.study_markdown
    assert f"& {area.format('~')} &" in page.study_latex
    assert f"{row['wins']} of {row['of']} |" in page.study_markdown
    lines = [line for line in page.study_markdown.splitlines() if line.startswith("| ")]
    assert {line.count(" | ") for line in lines} == {6, 4}
    (pair,) = page.study_pairs.query("mode == 'full' and recipe == 'dqn'").to_dict("records")
    lost, low, high = (pair[f"drop_difference{end}"] for end in ("", "_low", "_high"))
    cells = f"{lost:+.2f} [{low:+.2f}, {high:+.2f}]", pair["in_words"]
    assert f"| {' | '.join(cells)} |" in as_typed(page.study_markdown)
    assert f"& {' & '.join(cells)} " in as_typed(page.study_latex)


def as_typed(text: str) -> str:
    """Return figures as a keyboard has them, each with its sign."""
    for printed, typed in (("$-$", "-"), ("\N{MINUS SIGN}", "-"), (NO_BREAK, " "), ("~", " ")):
        text = text.replace(printed, typed)
    return re.sub(r"(?<=[\[ ])(\d\.\d\d(?!\d))", r"+\1", text)


def test_pairs_are_those_of_evaluate_with_its_figures(
    inputs: ReportInputs, page: Report
) -> None:
    assert set(page.study_pairs["against"]) == {"scratch"}
    assert len(page.study_pairs) == 2 * len(RECIPES) - 3
    for _, row in page.study_pairs.iterrows():
        found = {
            pair["recipe"]: pair for pair in inputs.scores["shrinkage"][row["mode"]]["pairs"]
        }[row["recipe"]]
        for name in ("area", "drop"):
            figures = [row[f"{name}_difference{end}"] for end in ("", "_low", "_high")]
            assert figures == list(found[name].values())


ABOVE, BELOW, ACROSS = (
    dict(zip(("value", "low", "high"), ends, strict=True))
    for ends in ((0.2, 0.1, 0.3), (-0.2, -0.3, -0.1), (0.1, -0.1, 0.3))
)
UNKNOWN = dict.fromkeys(("value", "low", "high"))


@pytest.mark.parametrize(
    ("area", "drop", "words"),
    [
        (ABOVE, ABOVE, "higher, but loses more"),
        (ABOVE, BELOW, "higher, and loses less"),
        (BELOW, BELOW, "lower, but loses less"),
        (BELOW, ABOVE, "lower, and loses more"),
        (ABOVE, ACROSS, "higher; no clear difference in loss"),
        (ACROSS, BELOW, "no clear difference in height; loses less"),
        (ACROSS, ACROSS, "no clear difference in either"),
        (
            ABOVE,
            UNKNOWN,
            "higher; loss not known, for one of the two is no better than chance",
        ),
    ],
)
def test_words_say_apart_who_stands_higher_and_who_loses_more(
    facts: Facts, area: Any, drop: Any, words: str
) -> None:
    assert in_words(facts, {"area": area, "drop": drop}) == words


def test_latex_has_no_bare_special_character(inputs: ReportInputs) -> None:
    titles = {"dqn": "50 % of R&D_x #1 {~^} \\ $"}
    facts = read_facts(replace(inputs, config=replace(inputs.config, titles=titles)))
    row = next(line for line in study_table(facts).latex.splitlines() if "R\\&D" in line)
    title = row.split(" & ")[0]
    assert title == (
        r"50 \% of R\&D\_x \#1 \{\textasciitilde{}\textasciicircum{}\} \textbackslash{} \$"
    )
    for line in study_table(facts).latex.splitlines():
        assert re.sub(r"^% ", "", line).isascii()


def test_a_recipe_that_lacks_a_fraction_is_named_and_has_no_area(inputs: ReportInputs) -> None:
    gone = (inputs.predictions["recipe"] == "random_box") & (
        inputs.predictions["fraction"] == 0.1
    )
    less = scored(replace(inputs, predictions=inputs.predictions[~gone]))
    facts = read_facts(less)
    table = study_table(facts)
    (row,) = table.rows.query("mode == 'full' and recipe == 'random_box'").to_dict("records")
    assert pd.isna(row["area"])
    assert pd.isna(row["at_0.1"])
    assert row["at_1"] > 0.5
    said = f"random boxes (not at 10{NO_BREAK}%)"
    assert said in caption(facts)
    assert said in table.markdown
    texts = [each.text for each in shrinkage.elements(facts) if isinstance(each, Paragraph)]
    assert any(said in text for text in texts)
    assert (
        "random_box (full) was not run at 10 % of the labels, so it has no area under its "
        "curve and stands in no comparison of areas."
    ) in less.scores["notes"]


def test_with_one_fraction_there_is_neither_area_nor_drop(inputs: ReportInputs) -> None:
    whole = inputs.predictions[inputs.predictions["fraction"] == 1.0]
    table = study_table(read_facts(scored(replace(inputs, predictions=whole))))
    assert "area" not in table.markdown
    assert table.rows["area"].isna().all()
    assert table.pairs.empty
    assert "in words" not in table.markdown
    assert "| recipe | seeds | 100" in table.markdown


def test_the_csv_can_be_read_back(page: Report) -> None:
    for table in (page.study_table, page.study_pairs):
        text = table.to_csv(index=False)
        pd.testing.assert_frame_equal(pd.read_csv(StringIO(text)), table, check_dtype=False)


def test_lines_of_one_marker_differ_without_colour() -> None:
    markers = ["o", "s", "o", "o", "s", "o", "o"]
    looks = list(zip(markers, in_grey(markers), strict=True))
    assert len(set(looks)) == len(looks)


def test_the_figure_counts_images_per_class_on_a_logarithmic_axis(facts: Facts) -> None:
    figure = study_figure(facts)
    for panel in figure.axes:
        assert panel.get_xscale() == "log"
        assert panel.get_xlabel() == "labelled training images per class (mean of 3 classes)"
        # 120 training images of 3 classes, and a tenth of them.
        assert list(panel.get_xticks()) == [4.0, 40.0]
    assert len(figure.axes[0].containers) == len(RECIPES) - 1  # each with its intervals
    low = facts.scores.query("metric == 'macro_auroc'")["low"].min()
    assert all(panel.get_ylim()[0] <= low for panel in figure.axes)


def test_the_figure_is_made_of_vectors_and_has_no_date(facts: Facts, page: Report) -> None:
    assert page.study_svg.startswith("<?xml")
    assert "<image" not in page.study_svg
    assert page.study_pdf.startswith(b"%PDF")
    assert b"CreationDate" not in page.study_pdf
    assert pdf_bytes(study_figure(facts)) == page.study_pdf


def test_the_page_links_what_lies_beside_it(page: Report) -> None:
    names = ("table.csv", "pairs.csv", "table.tex", "table.md", "figure.pdf", "figure.svg")
    for name in (f"study_{each}" for each in names):
        assert f'<a href="{name}">' in page.html
