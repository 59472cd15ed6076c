"""What the page tells its readers to distrust."""

import copy
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from maskwise.report.cautions import alarms, cautions
from maskwise.report.facts import read_facts
from maskwise.report.inputs import ReportInputs
from maskwise.report.sections import data, methods
from report.synthetic import RECIPES, exploring, plain, store_summary, study


def doubts(inputs: ReportInputs) -> dict[str, str]:
    """Return title -> text, the gravest first."""
    return {each.title: plain(each.text) for each in cautions(read_facts(inputs))}


def with_summary(**changes: Any) -> ReportInputs:
    inputs = study()
    return replace(inputs, data_summary={**inputs.data_summary, **changes})


def test_generated_images_are_the_first_thing_to_distrust() -> None:
    assert next(iter(doubts(study()))) == "These are not patients"
    assert "These are not patients" not in doubts(study(generated=False))


def test_few_test_groups_in_a_class_are_counted_by_name() -> None:
    assert (
        "normal 13, benign 13 and malignant 14" in doubts(study())["Few test groups in a class"]
    )


@pytest.mark.parametrize(("seeds", "title"), [((0,), "One seed"), ((0, 1, 2), "Only 3 seeds")])
def test_few_seeds_are_said(seeds: tuple[int, ...], title: str) -> None:
    assert title in doubts(study(seeds=seeds))


def test_folds_are_repetitions_and_said_to_be_few() -> None:
    inputs = study(seeds=(0, 1, 2))
    inputs = replace(inputs, scores={**inputs.scores, "n_folds": 3})

    assert "Only 3 folds" in doubts(inputs)
    words = plain(str(methods.build(read_facts(inputs))))
    assert "the mean of 3 folds, each scored by itself" in words
    assert "Student" in words


def test_without_enough_trainings_nothing_is_more_than_a_perhaps() -> None:
    text = doubts(study(seeds=(0, 1)))["Only 2 seeds"]

    assert "cover only the choice of test images" in text
    assert "every answer here is “perhaps” at most" in text


def test_a_study_that_named_nothing_beforehand_is_distrusted() -> None:
    assert "exploration" in doubts(exploring(study()))["Nothing was named beforehand"]
    assert "Nothing was named beforehand" not in doubts(study())
    assert "The first was picked afterwards" in doubts(exploring(study()))
    assert "The first was picked afterwards" not in doubts(study())


def test_networks_that_outline_nothing_stand_on_the_first_screen() -> None:
    inputs = study(generated=False)
    what = "nothing was outlined in 99% of the test images"
    entry = {"mode": "full", "fraction": 0.1, "what": what, "networks": 3, "of": 3}
    stuck = [{"recipe": name, **entry} for name in ("scratch", "simclr")]
    told = doubts(replace(inputs, scores={**inputs.scores, "stuck": stuck}))

    assert next(iter(told)) == "Nothing was outlined"
    assert f"{what}, or the like, by 3 of 3 networks" in told["Nothing was outlined"]
    assert "the same holds for 1 other recipe" in told["Nothing was outlined"]


@pytest.mark.parametrize(
    ("chosen", "title", "words"),
    [
        (
            {"n_images": 4, "n_classes": 3},
            "Calibrated on very few images",
            "4 validation images calibrated",
        ),
        (
            {"n_images": 20, "n_classes": 1},
            "Validated on one class alone",
            "20 validation images of one class are all",
        ),
    ],
)
def test_choosing_by_next_to_nothing_is_distrusted(
    chosen: dict[str, int], title: str, words: str
) -> None:
    inputs = study()
    scores = {**inputs.scores, "validation": {"0.1": chosen}}

    assert words in doubts(replace(inputs, scores=scores))[title]
    assert title not in doubts(inputs)


def test_duplicates_are_not_said_to_be_together_where_the_split_divides_them() -> None:
    duplicates = {"images": 4, "sets": 2, "distance": 4}
    inputs = with_summary(duplicates=duplicates)
    divided = inputs.splits.assign(split=["test", *inputs.splits["split"][1:]])

    assert "kept together" in doubts(inputs)["Duplicates"]
    told = doubts(replace(inputs, splits=divided))["Duplicates"]
    assert "kept together" not in told
    assert "divides 1 group" in told


def test_an_interval_that_holds_0_is_no_proof_of_equality() -> None:
    assert "no proof" not in str(doubts(study(half_width=0.03)))
    assert (
        "not proof of equality"
        in doubts(study(half_width=0.2))["The difference may be nothing"]
    )


def told_by_pixels(auroc: float, low: float) -> ReportInputs:
    found = {"auroc": auroc, "low": low, "high": 0.99, "images": 40, "groups": 20}
    importances = {"left_line": 0.2, "white_share": 0.8}
    audits = {"diagnosis": {**found, "importances": importances}}
    return study(
        generated=False, store_summary={**store_summary(), "pixel_facts_audit": audits}
    )


def test_pixel_facts_that_come_near_the_networks_stand_on_the_first_screen() -> None:
    title = "Border and brightness give the label away"
    near = doubts(told_by_pixels(0.97, 0.9))
    assert title in list(near)[:3]
    assert "0.970 [0.900, 0.990] on validation images, which is near what" in near[title]


def test_pixel_facts_far_below_the_networks_are_said_further_down_or_not_at_all() -> None:
    title = "Border and brightness give the label away"
    near, below = doubts(told_by_pixels(0.97, 0.9)), doubts(told_by_pixels(0.7, 0.62))
    assert "of which a part may stand in what the best recipe reached" in below[title]
    assert list(below).index(title) > list(near).index(title)
    assert title not in doubts(told_by_pixels(0.6, 0.55))


def test_the_page_says_what_pixel_facts_were_asked_on_or_why_not() -> None:
    words = plain(str(data.build(read_facts(told_by_pixels(0.97, 0.9)))))
    assert "was asked on 40 validation images of 20 groups: macro AUROC 0.970" in words
    assert "Most of that by white share and left line" in words
    why = {"diagnosis": {"auroc": None, "why_not": "1 class lacks validation images"}}
    inputs = study(store_summary={**store_summary(), "pixel_facts_audit": why})
    words = plain(str(data.build(read_facts(inputs))))
    assert "could not be checked: 1 class lacks validation images" in words


def test_the_page_says_how_many_slices_pre_training_left_out() -> None:
    thinning = {"removed": 1234, "images": 5000}
    inputs = study(store_summary={**store_summary(), "thinning": thinning})
    words = plain(str(data.build(read_facts(inputs))))
    assert "Pre-training left out 1,234 of 5,000 training images" in words
    assert "left out" not in plain(
        str(data.build(read_facts(study()))).partition("Left out")[0]
    )


def audited(low: float, **changes: Any) -> dict[str, Any]:
    """Return an audit whose interval begins at ``low``; facts by name, as JSON sorts them."""
    return {
        "auroc": low + 0.06,
        "low": low,
        "high": low + 0.12,
        "images": 240,
        "groups": 120,
        "importances": {"aspect": 0.1, "bytes": 0.2, "height": 0.05, "width": 0.65},
        **changes,
    }


def test_files_that_give_the_label_away_are_distrusted() -> None:
    facts = audited(0.8, without_bytes=audited(0.76))
    inputs = with_summary(file_facts_audit={"diagnosis": facts})

    assert "0.820 [0.760, 0.880]" in doubts(inputs)["Files give the label away"]
    assert "Files give the label away" not in doubts(study())


def test_a_label_that_goes_with_the_bytes_alone_need_not_be_given_away() -> None:
    facts = audited(0.76, without_bytes=audited(0.44))
    found = doubts(with_summary(file_facts_audit={"diagnosis": facts}))

    assert "Files give the label away" not in found
    assert "depends on what is shown" in found["File sizes go with the label"]
    assert list(found).index("File sizes go with the label") >= 3


def test_the_page_names_the_facts_that_say_most_whatever_their_order_in_the_file() -> None:
    facts = audited(0.8, without_bytes=audited(0.76))
    text = plain(
        str(data.build(read_facts(with_summary(file_facts_audit={"diagnosis": facts}))))
    )

    assert "most of all width, bytes and aspect" in text
    assert "From format, colour mode and size in pixels: macro AUROC 0.820" in text
    assert "With the bytes of each file as well: 0.860" in text


def test_a_summary_written_before_bytes_were_told_apart_still_makes_a_page() -> None:
    inputs = with_summary(file_facts_audit={"diagnosis": audited(0.8)})

    assert "File sizes go with the label" in doubts(inputs)
    assert "With the bytes of each file as well" in str(data.build(read_facts(inputs)))


def test_a_label_that_the_place_of_a_slice_predicts_is_said_and_distrusted() -> None:
    by_place = audited(0.8, importances={"relative_slice": 1.0})
    inputs = with_summary(slice_number_audit={"tumour": by_place, "grade": audited(0.44)})
    text = plain(str(data.build(read_facts(inputs))))

    assert "0.860 [0.800, 0.920]" in doubts(inputs)["The place of a slice predicts tumour"]
    assert "The place of a slice predicts grade" not in doubts(inputs)
    assert "predict grade, on 240 slices of 120 groups: macro AUROC 0.500" in text
    assert "place of a slice" not in str(data.build(read_facts(study())))


def test_an_official_split_that_leaks_is_distrusted_more_when_it_was_kept() -> None:
    leaks = {"official_split": True, "groups": 2, "images": 5, "named": []}
    kept = with_summary(official_split_leaks=leaks)
    splits = kept.splits.set_index("image_id")["split"]
    official = kept.manifest["image_id"].map(splits)
    kept = replace(kept, manifest=kept.manifest.assign(split=official))
    corrected = replace(
        kept, splits=kept.splits.assign(split=[*kept.splits["split"][1:], "train"])
    )

    assert "2 groups (5 images)" in doubts(kept)["The official split leaks"]
    assert "It was kept" in doubts(kept)["The official split leaks"]
    assert "corrected here: 3 images" in doubts(corrected)["The official split leaks"]


def test_contradictory_labels_are_distrusted() -> None:
    against = study().data_summary["contradictions"]
    found = [{"label": "diagnosis", "images": {"benign": ["a.png"], "malignant": ["b.png"]}}]
    inputs = with_summary(contradictions={**against, "label_sets": 1, "labels": found})

    assert "1 set of duplicates with more than one label" in str(doubts(inputs))


def test_raw_pixels_that_do_as_well_are_named() -> None:
    inputs = study(leads={"pixels": 0.3, "simclr": 0.09})

    text = doubts(inputs)["Raw pixels do as well"]

    assert "random boxes, Intelligent Masking and SimCLR" in text


def test_warnings_of_training_reach_the_first_screen_s_list() -> None:
    inputs = study(warnings={("dqn", 1): ["the policy collapsed", "the loss is flat"]})

    text = doubts(inputs)["Training gave warnings"]

    assert (
        text == "Intelligent Masking, seed 1: the policy collapsed (1 further warning below.)"
    )


def test_a_transductive_recipe_is_an_alarm_above_all() -> None:
    block = {**RECIPES["simclr"], "transductive": True}
    inputs = study(recipes=("scratch", "simclr"))
    inputs = replace(inputs, recipes={**inputs.recipes, "simclr": block})

    facts = read_facts(inputs)

    assert "pre-training of SimCLR" in alarms(facts)[0]
    assert cautions(facts)[0].title == "The test images were used"
    assert alarms(read_facts(study())) == []


def test_folds_are_said_to_be_confounded_with_seeds() -> None:
    inputs = study()
    folds = [i % 2 for i in range(len(inputs.splits))]

    assert "Seeds and folds go together" in doubts(
        replace(inputs, splits=inputs.splits.assign(fold=folds))
    )


def test_full_validation_labels_at_every_fraction_are_said() -> None:
    inputs = study()
    everything = inputs.subsets[inputs.subsets["fraction"] == 1]
    subsets = pd.concat([everything, everything.assign(fraction=0.1)])
    inputs = replace(inputs, subsets=subsets)

    assert "More labels than stated" in doubts(inputs)
    assert "More labels than stated" not in doubts(study())


def test_rejected_images_are_counted() -> None:
    inputs = with_summary(
        rejects={"counted": 9, "by_reason": {"damaged": {"files": 9, "meaning": "cut off"}}}
    )

    assert "9 of 249 images could not be used" in str(doubts(inputs))


def test_there_are_always_three_things_to_distrust() -> None:
    inputs = study(seeds=tuple(range(10)), generated=False, recipes=("scratch", "simclr"))

    assert len(doubts(inputs)) >= 3


def test_scores_that_guessing_could_reach_are_distrusted() -> None:
    inputs = study()
    assert "Perhaps no better than guessing" not in doubts(inputs)
    scores = copy.deepcopy(dict(inputs.scores))
    for modes in scores["scores"].values():
        for fractions in modes.values():
            for metrics in fractions.values():
                metrics["macro_auroc"] |= {"value": 0.55, "low": 0.45, "high": 0.65}
    text = doubts(replace(inputs, scores=scores))["Perhaps no better than guessing"]
    assert "0.550 [0.450, 0.650]" in text


def test_options_that_are_not_those_of_the_training_are_distrusted() -> None:
    inputs = study()
    assert "Options have changed since" not in doubts(inputs)
    ran = max(int(each["step"].max()) for each in inputs.histories.values() if len(each))
    settings = {
        **inputs.settings,
        "pretrain": {**inputs.settings["pretrain"], "steps": ran + 7},
    }
    text = doubts(replace(inputs, settings=settings))["Options have changed since"]
    assert f"{ran:,} steps, and {ran + 7:,} are configured now" in text


def test_a_recipe_that_was_told_the_lesions_is_an_alarm_and_a_caution() -> None:
    inputs = study()
    block = {**RECIPES["simclr"], "policy": {"name": "oracle", "goal": "spare"}}
    facts = read_facts(replace(inputs, recipes={**inputs.recipes, "simclr": block}))
    (alarm,) = alarms(facts)
    assert alarm.startswith("Ceiling, no method: the pre-training of ")
    assert facts.title("simclr") in alarm
    assert "Lesions were told to pre-training" in {each.title for each in cautions(facts)}
    assert not alarms(read_facts(inputs))
