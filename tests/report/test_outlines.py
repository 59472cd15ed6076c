"""The page of a source whose lesions are outlined, from fine-tuning on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from maskwise.errors import UserError
from maskwise.evaluate.referee.config import Referee
from maskwise.evaluate.referee.stage import Images, referee
from maskwise.evaluate.stage import EvaluateConfig, evaluate
from maskwise.report.cautions import cautions
from maskwise.report.elements import Paragraph, Pictures, Table
from maskwise.report.facts import read_facts
from maskwise.report.figures.outlines import Panel, draw
from maskwise.report.headline import headline
from maskwise.report.inputs import ReportConfig, ReportInputs
from maskwise.report.names import without_names
from maskwise.report.outlines import mean_dice, read_outlined
from maskwise.report.page import render
from maskwise.report.referee.page import render_referee
from maskwise.report.sections import data, outlines
from report.outlined import outlined_study, pair_of_duplicates
from report.synthetic import plain, study


@pytest.fixture(scope="module")
def outlined(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return outlined_study(tmp_path_factory.mktemp("outlined"))


@pytest.fixture(scope="module")
def page(outlined: ReportInputs) -> str:
    return plain(render(outlined).html)


def section(inputs: ReportInputs) -> str:
    """Return what the section of outlines says, captions included."""
    words = []
    for element in outlines.build(read_facts(inputs)).elements:
        if isinstance(element, Paragraph):
            words.append(element.text)
        if isinstance(element, Pictures):
            words += [picture.caption for picture in element.pictures]
    return plain(" ".join(words))


def contradictory(inputs: ReportInputs, images: list[str], iou: float) -> ReportInputs:
    """Say that two duplicates have outlines that disagree."""
    names = inputs.manifest.set_index("image_id")["path"]
    pair = {"images": [names[image] for image in images], "iou": iou}
    against = inputs.data_summary["contradictions"]
    masks = {**against["masks"], "pairs_compared": 1, "contradictory": 1, "pairs": [pair]}
    masks["median_iou"] = iou
    summary = {
        **inputs.data_summary,
        "duplicates": {"images": 2, "sets": 1, "distance": 4},
        "contradictions": {**against, "masks": masks},
    }
    return replace(inputs, data_summary=summary)


def test_the_first_sentence_speaks_of_the_tasks_own_metric(page: str) -> None:
    assert "a Dice of" in page
    assert "AUROC on the test images" not in page


def test_what_was_learnt_and_how_is_said_in_the_tasks_words(page: str) -> None:
    assert "the encoder then learns to outline lesions from" in page
    assert "Frozen encoder" in page
    assert "linear probe" not in page.lower()


def test_best_middle_worst_and_false_alarms_are_drawn(page: str) -> None:
    for words in ("Best: Dice", "Middle: Dice", "Worst: Dice"):
        assert words in page
    assert "ROC and confusion" not in page


def test_how_many_steps_each_network_made_is_said(outlined: ReportInputs) -> None:
    elements = outlines.build(read_facts(outlined)).elements
    (table,) = [each for each in elements if isinstance(each, Table)]
    assert table.caption.startswith("How many steps networks made")
    # Two recipes, two modes, two fractions, each of one seed that made all of its 15 steps.
    assert len(table.rows) == 8
    assert {row[3] for row in table.rows} == {"15"}
    assert all(int(str(row[4])) <= 15 for row in table.rows)


def test_models_that_were_not_watched_have_no_table_of_steps(outlined: ReportInputs) -> None:
    elements = outlines.build(read_facts(replace(outlined, models={}))).elements
    assert not any(isinstance(each, Table) for each in elements)


def test_the_convention_on_empty_masks_and_the_unit_of_distances_are_printed(
    page: str,
) -> None:
    assert "Dice and IoU count as 1; where only one of the two does, as 0" in page
    assert "Distances are in pixels of the network's image" in page.replace("&#39;", "'")
    assert "95 % Hausdorff distance (px)" in page


def test_figures_of_units_stand_beside_those_of_images(page: str) -> None:
    assert "group Dice" in page
    assert "left out" in page


def test_the_best_are_better_than_the_worst_by_their_own_outlines(
    outlined: ReportInputs,
) -> None:
    shown = read_outlined(read_facts(outlined), "dqn")
    assert shown
    assert outlined.store
    assert outlined.store.masks is not None
    for image in shown.table["image_id"]:
        truth = outlined.store.masks[outlined.store.rows([image])[0]]
        called = shown.of(image)[0]
        if not truth.any() and not called.any():
            assert np.isnan(shown.dice(image))
            continue
        dice = 2 * (truth & called).sum() / (truth.sum() + called.sum())
        assert shown.dice(image) == pytest.approx(dice)


@pytest.mark.parametrize("names", [False, True])
def test_duplicates_that_disagree_are_drawn_side_by_side(
    outlined: ReportInputs, names: bool
) -> None:
    inputs = contradictory(outlined, pair_of_duplicates(outlined), 0.2)
    text = section(inputs if names else without_names(inputs))
    assert "Of 1 pair of duplicates whose true outlines disagree, 1 is among" in text
    assert "one picture, two truths" in text


def test_duplicates_outside_the_test_part_are_counted_only(outlined: ReportInputs) -> None:
    train = outlined.splits.query("split == 'train'")["image_id"].tolist()[:2]
    text = section(contradictory(outlined, train, 0.2))
    assert "disagree, 0 are among these test images." in text
    assert "one picture, two truths" not in text


def test_contradictory_outlines_are_a_graver_caution_where_they_are_learnt(
    outlined: ReportInputs,
) -> None:
    inputs = contradictory(outlined, pair_of_duplicates(outlined), 0.2)
    diagnosis = study(seeds=(0,), data_summary=inputs.data_summary)
    weights = [
        next(c.weight for c in cautions(read_facts(each)) if "contradict" in c.title)
        for each in (diagnosis, inputs)
    ]
    assert weights == [40, 75]


def test_many_images_without_a_lesion_are_a_caution(outlined: ReportInputs) -> None:
    predictions = outlined.predictions.copy()
    test = np.sort(predictions.query("split == 'test'")["image_id"].unique())
    emptied = predictions["image_id"].isin(test[: len(test) // 2])
    predictions.loc[emptied, ["tp_lesion", "fn_lesion"]] = 0
    for given, expected in ((outlined, False), (replace(outlined, predictions=predictions), 1)):
        titles = {caution.title for caution in cautions(read_facts(given))}
        assert ("Images without a lesion count" in titles) == expected


def test_a_page_without_outlines_says_so(outlined: ReportInputs) -> None:
    for bare in (replace(outlined, models={}), replace(outlined, store=None)):
        assert "left no outlines to draw" in section(bare)


def test_a_source_without_a_label_is_counted_without_one(outlined: ReportInputs) -> None:
    settings = {**outlined.settings, "preprocess": {"label": None}}
    facts = read_facts(replace(outlined, settings=settings))
    (table,) = (element for element in data.build(facts).elements if isinstance(element, Table))
    assert [row[0] for row in table.rows] == ["without a label"]


def test_seeds_that_test_other_folds_are_shown_together(tmp_path: Path) -> None:
    inputs = outlined_study(tmp_path, seeds=(0, 1, 2), folds=3, modes=("probe",), keep="none")
    shown = read_outlined(read_facts(inputs), "dqn")
    assert shown
    assert shown.mode == "probe"
    assert sorted(shown.table["image_id"]) == sorted(inputs.splits["image_id"])
    assert "seeds 0, 1 and 2" in section(inputs)


def test_volumes_lead_the_page_where_there_are_any(outlined: ReportInputs) -> None:
    predictions = outlined.predictions.assign(unit_kind="volume", distance_unit="mm")
    result = evaluate(
        predictions, outlined.subsets, EvaluateConfig(draws=199), "blobs", "lesion"
    )
    inputs = replace(
        outlined, predictions=predictions, scores=result.scores, paired=result.paired
    )
    facts = read_facts(inputs)
    assert "a volume Dice of" in headline(facts).sentence
    assert facts.in_print("volume_hd95") == "volume 95 % Hausdorff distance (mm)"
    assert "Distances are in millimetres" in section(inputs)


def test_a_metric_that_is_better_when_small_cannot_lead(outlined: ReportInputs) -> None:
    with pytest.raises(UserError, match=r"report\.metric: .*better when larger"):
        render(replace(outlined, config=ReportConfig(metric="hd95")))


def test_an_images_dice_is_the_mean_over_classes_that_it_shows() -> None:
    rows = {"tp_a": [3, 0], "fp_a": [0, 0], "fn_a": [3, 0], "tp_b": 0, "fp_b": 0, "fn_b": 0}
    found = mean_dice(pd.DataFrame(rows))
    assert found[0] == pytest.approx(2 / 3)
    assert np.isnan(found[1])


@pytest.mark.parametrize("classes", [["lesion"], ["head", "body"]])
def test_truth_is_solid_and_the_network_dashed(classes: list[str]) -> None:
    masks = np.zeros((len(classes), 8, 8), bool)
    masks[:, 0:4, 0:4] = True  # cut off by the image
    panel = Panel("Dice 1.00", np.zeros((8, 8), np.float32), masks, masks)
    figure = draw([panel] * 5, classes)
    drawn: Any = figure.axes[0].collections
    dashes = [each.get_linestyle()[0][1] for each in drawn]
    assert [each is None for each in dashes] == [True, False] * len(classes)
    assert len(figure.axes) == 8  # two rows


def test_a_referee_is_shown_subgroups_by_the_size_of_lesions_and_told_what_does_not_apply(
    outlined: ReportInputs,
) -> None:
    manifest = outlined.manifest.assign(patient=outlined.manifest["group"])
    options = Referee(subgroups=("lesion_size",), bands={"lesion_size": (8.0,)}, smallest=2)
    config = EvaluateConfig(draws=199, referee={"blobs": options})
    assert outlined.store is not None
    images = Images(manifest, outlined.store)
    found = referee(outlined.predictions, outlined.subsets, images, config, "blobs", "lesion")
    (column,) = found["subgroups"]
    assert sum(each["n_images"] for each in column["groups"]) == found["n_images"]
    assert any(each["figures"] for each in column["groups"])
    assert found["chosen"]["rule"] == "validation"
    text = plain(render_referee(outlined, found))
    assert "do not apply to outlines" in text
    assert "Lesion size (" in text
