"""The page of a source whose images may have several labels, from fine-tuning on."""

from dataclasses import replace

import pandas as pd
import pytest

from maskwise.evaluate.config import EvaluateConfig
from maskwise.evaluate.referee.stage import Images, referee
from maskwise.report.cautions import cautions
from maskwise.report.elements import Table
from maskwise.report.facts import read_facts
from maskwise.report.headline import headline
from maskwise.report.inputs import Report, ReportInputs
from maskwise.report.page import render
from maskwise.report.referee.page import render_referee
from maskwise.report.sections import data, labels, numbers
from report.marked import marked_study
from report.synthetic import plain

pytestmark = pytest.mark.xdist_group("report")  # a page that takes seconds to draw


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return marked_study(tmp_path_factory.mktemp("marked"))


@pytest.fixture(scope="module")
def page(marked: ReportInputs) -> str:
    return plain(render(marked).html)


def tables(elements: list[object]) -> list[Table]:
    return [element for element in elements if isinstance(element, Table)]


def test_the_page_explains_the_task_in_its_own_words(page: str) -> None:
    assert "the encoder then learns which labels an image shows" in page
    assert "Label by label" in page
    assert "of a lesion with two kinds of margin both labels are true" in page
    assert "one linear classifier per label" in page


def test_the_first_sentence_speaks_of_macro_auroc_and_gives_no_verdict_from_one_seed(
    marked: ReportInputs,
) -> None:
    first = headline(read_facts(marked))
    assert "macro AUROC" in first.sentence
    assert first.verdict in ("unclear", "perhaps", "harms")
    assert "no p is given" in first.sureness


def test_each_label_has_a_row_with_its_positives_its_figures_and_its_threshold(
    marked: ReportInputs,
) -> None:
    facts = read_facts(marked)
    (table, *_) = tables(list(labels.build(facts).elements))
    rows = {str(row[0]): row for row in table.rows}
    assert set(rows) == {"left", "low", "right"}
    test = facts.test_predictions().drop_duplicates("image_id")
    shown = test[test["truth_low"] == 1]
    assert rows["low"][1] == f"{len(shown)} ({shown['group'].nunique()})"
    score = marked.scores["scores"]["scratch"]["full"]["0.25"]["auroc_low"]
    assert f"{score['value']:.3f}" in plain(str(rows["low"][3]))


def test_the_data_count_an_image_for_each_label_that_its_cell_names(
    marked: ReportInputs,
) -> None:
    found = next(
        table
        for table in tables(list(data.build(read_facts(marked)).elements))
        if "part of the split" in table.caption
    )
    rows = {str(row[0]): row for row in found.rows}
    cells = marked.manifest["label_marks"].dropna()
    named = int(cells.str.split("|").map(lambda each: "left" in each).sum())
    assert str(rows["left"][-1]).startswith(f"{named} (")
    assert str(rows["all with a label"][-1]).startswith(f"{len(cells)} (")


def test_labels_used_are_counted_label_by_label_and_images_once(marked: ReportInputs) -> None:
    facts = read_facts(marked)
    train = marked.subsets.query("role == 'train' and fraction == 1.0 and recipe == 'scratch'")
    (table, tested, _) = tables(list(numbers.build(facts).elements))
    assert tested.head[0] == "label"
    left = int(train["label"].str.contains("left").sum())
    assert str(table.rows[0][1]).startswith(f"{left} (")
    assert facts.sizes[1.0] == (len(train), len(train))


def test_a_label_with_few_validation_images_and_one_that_is_not_scored_are_cautioned_of(
    marked: ReportInputs,
) -> None:
    said = {one.title: one.text for one in cautions(read_facts(marked))}
    assert "low" in said["Thresholds that nothing chose"]
    assert "Not every label was scored" not in said
    unscored = {**marked.scores, "scored": ["left", "right"]}
    said = {
        one.title: one.text for one in cautions(read_facts(replace(marked, scores=unscored)))
    }
    assert "low: 1 label of 3" in said["Not every label was scored"]


def test_few_test_groups_of_a_label_are_cautioned_of_by_label(marked: ReportInputs) -> None:
    groups = read_facts(marked).tested()["groups"]
    assert list(groups.index) == ["left", "low", "right"]
    said = {one.title: one.text for one in cautions(read_facts(marked))}
    assert f"low {groups['low']}" in said["Few test groups in a label"]


def test_a_probe_by_neighbours_stands_beside_the_other_modes_and_is_explained(
    page: str,
) -> None:
    assert "by full fine-tuning, linear probe and nearest-neighbour probe" in page
    assert "features are most like an image's vote" in page.replace("&#39;", "'")


def test_a_page_without_that_probe_does_not_speak_of_it(report: Report) -> None:
    assert "neighbour" not in report.html


def test_figures_of_each_label_are_drawn_in_no_curve_and_stand_in_no_table_of_all_metrics(
    page: str,
) -> None:
    assert "AUROC of low" not in page
    assert "macro average precision" in page.lower()


def test_a_page_of_labels_names_no_column_of_a_table(page: str) -> None:
    for column in ("p_left", "truth_left", "threshold_left", "macro_average_precision"):
        assert column not in page


def test_subsets_without_a_label_at_all_break_nothing(marked: ReportInputs) -> None:
    none = marked.subsets.assign(label="none of them")
    assert read_facts(replace(marked, subsets=none)).labelled(1.0)["images"].sum() > 0
    assert isinstance(none, pd.DataFrame)


def test_a_referee_is_shown_each_label_by_itself(marked: ReportInputs) -> None:
    manifest = marked.manifest.assign(patient=None)
    assert marked.store is not None
    images, config = Images(manifest, marked.store), EvaluateConfig(draws=199)
    found = referee(marked.predictions, marked.subsets, images, config, "marks", "multilabel")
    assert found["n_patients"] is None
    text = plain(render_referee(marked, found))
    assert "AUROC against images without it" in text
    assert "Confusion of low" in text
    assert f"{found['n_images']} test images of {found['n_groups']} groups" in text
    assert "file, and so of <code>predict</code>" in text
    assert "first divides logits" not in text
