"""The page as a file: what it holds, and that data cannot break it."""

from dataclasses import replace
from io import BytesIO

import pandas as pd
import pytest
from PIL import Image

from maskwise.errors import UserError
from maskwise.evaluate.stage import EvaluateConfig, evaluate
from maskwise.report.elements import Table
from maskwise.report.facts import read_facts
from maskwise.report.html import prose
from maskwise.report.inputs import Report, ReportConfig, ReportInputs
from maskwise.report.page import render
from maskwise.report.sections import classes, numbers
from report.synthetic import study


@pytest.fixture(scope="module")
def small() -> ReportInputs:
    """Return a study of one seed and two recipes, quick to draw."""
    config = ReportConfig(images=1, moments=2)
    return study(seeds=(0,), recipes=("scratch", "dqn"), config=config)


@pytest.fixture(scope="module")
def page(small: ReportInputs) -> Report:
    return render(small)


def test_the_same_artefacts_give_the_same_bytes(small: ReportInputs, page: Report) -> None:
    again = render(small)

    assert again.html == page.html
    assert again.figure == page.figure


def test_the_page_says_whether_a_gpu_would_give_the_same_weights_again(
    small: ReportInputs,
) -> None:
    pages = [render(replace(small, deterministic=flag)).html for flag in (False, True)]
    assert "on a GPU it differs in the last digits" in pages[0]
    assert "with a GPU too" in pages[1]


def test_names_from_the_data_are_text_and_never_markup(small: ReportInputs) -> None:
    evil = "<script>alert(1)</script>"
    predictions = small.predictions.rename(columns={"p_normal": f"p_{evil}"})
    rejects = pd.DataFrame([(f"{evil}.png", "damaged", f"{evil} & more")])
    rejects.columns = pd.Index(["path", "reason", "detail"])
    inputs = replace(
        small,
        source=evil,
        predictions=predictions.replace({"truth": {"normal": evil}}),
        rejects=rejects,
        warnings={("dqn", 0): [evil]},
        histories={},
        galleries={},
        config=replace(small.config, names=True),
    )

    html = render(inputs).html

    assert html.count("<script>") == 1  # the page's own
    assert "&lt;script&gt;alert(1)&lt;/script&gt;.png" in html


def test_what_stands_between_backticks_is_set_as_code_and_never_as_markup() -> None:
    assert prose("`report.names: true` prints it; `<b>` & <i>") == (
        "<code>report.names: true</code> prints it; <code>&lt;b&gt;</code> &amp; &lt;i&gt;"
    )


@pytest.mark.parametrize("names", [False, True])
def test_no_name_of_a_file_is_on_the_page_unless_asked_for(
    small: ReportInputs, names: bool
) -> None:
    manifest = small.manifest.copy()
    manifest["path"] = [f"Muster_Anna_{i}.png" for i in range(len(manifest))]
    pair = list(manifest["path"][:2])
    against = small.data_summary["contradictions"]
    labels = [{"label": "diagnosis", "images": {"benign": pair[:1], "malignant": pair[1:]}}]
    masks = {**against["masks"], "contradictory": 1, "pairs": [{"images": pair, "iou": 0.1}]}
    summary = {
        **small.data_summary,
        "duplicates": {**small.data_summary["duplicates"], "images": 2, "sets": 1},
        "contradictions": {"label_sets": 1, "labels": labels, "masks": masks},
        "official_split_leaks": {
            "official_split": True,
            "groups": 1,
            "images": 2,
            "named": [{"group": "g", "images": {"test": pair[:1], "train": pair[1:]}}],
        },
    }
    rejects = pd.DataFrame(
        [("Muster_Anna.tif", "missing_mask", "the mask 'Muster_Anna_m.png' is not there")],
        columns=["path", "reason", "detail"],
    )
    config = replace(small.config, names=names)

    html = render(
        replace(small, manifest=manifest, data_summary=summary, rejects=rejects, config=config)
    ).html

    assert ("Muster" in html) == names
    assert ("row 1 of rejects.csv" in html) != names
    assert (manifest["image_id"].iloc[0] in html) != names


def test_the_main_figure_is_a_png_for_kedro_viz(page: Report) -> None:
    with Image.open(BytesIO(page.figure)) as figure:
        assert figure.format == "PNG"
        assert figure.width > 900


def test_the_training_table_holds_every_history(small: ReportInputs, page: Report) -> None:
    rows = sum(len(history) for history in small.histories.values())

    assert list(page.training.columns[:3]) == ["recipe", "seed", "epoch"]
    assert len(page.training) == rows == 12
    assert page.training.query("recipe == 'dqn'")["content_lift"].notna().all()


def test_a_study_without_training_still_makes_a_page() -> None:
    inputs = study(seeds=(0,), recipes=("scratch", "pixels"))

    page = render(inputs)

    assert "No recipe of this page hides a part of the image" in page.html
    assert list(page.training.columns) == ["recipe", "seed", "epoch"]


def test_a_page_is_made_of_what_evaluate_writes(small: ReportInputs) -> None:
    result = evaluate(
        small.predictions, small.subsets, EvaluateConfig(draws=199), "phantom", "diagnosis"
    )
    inputs = replace(small, scores=result.scores, paired=result.paired)

    html = render(inputs).html

    value = result.scores["scores"]["dqn"]["full"]["0.1"]["macro_auroc"]["value"]
    assert f"{value:.3f}" in html
    assert "One seed: the intervals cover only the choice of test images" in html


def test_test_images_stand_beside_their_groups_class_by_class(small: ReportInputs) -> None:
    facts = read_facts(small)
    test = small.predictions.query("split == 'test'").drop_duplicates("image_id")
    section, curves = numbers.build(facts), str(classes.build(facts))
    table = next(
        each
        for each in section.elements
        if isinstance(each, Table) and each.caption == "Test images of each class"
    )
    for name, images, groups in table.rows:
        rows = test[test["truth"] == name]
        assert (images, groups) == (str(len(rows)), str(len(set(rows["group"]))))
        assert f"{name}: {images} test images of {groups} groups." in curves
    assert "each counts once, however many images it has" in str(section)
    alike = read_facts(replace(small, scores={**small.scores, "weigh": "image"}))
    assert "in scores every image counts once" in str(numbers.build(alike))


def test_the_calibration_error_is_shown_beside_that_of_perfect_predictions(
    small: ReportInputs,
) -> None:
    result = evaluate(
        small.predictions, small.subsets, EvaluateConfig(draws=199), "phantom", "diagnosis"
    )
    figures = result.scores["scores"]["dqn"]["full"]["0.1"]["calibration_error"]

    html = render(replace(small, scores=result.scores, paired=result.paired)).html

    assert f"{figures['value']:.3f} [" in html
    assert f"; if perfect {figures['if_perfect']:.3f}" in html
    assert "divides its logits by a temperature" in html


def test_a_misspelt_metric_is_refused_with_the_close_match(small: ReportInputs) -> None:
    inputs = replace(small, config=ReportConfig(metric="macro_aurocs"))

    with pytest.raises(UserError, match=r"report\.metric.*did you mean 'macro_auroc'"):
        render(inputs)


def test_a_metric_that_is_better_when_small_cannot_lead(small: ReportInputs) -> None:
    inputs = replace(small, config=ReportConfig(metric="calibration_error"))

    with pytest.raises(UserError, match="better when larger"):
        render(inputs)
