"""The first sentences of the page."""

import re
from dataclasses import replace

import pytest

from maskwise.report.elements import Items
from maskwise.report.facts import read_facts
from maskwise.report.headline import Headline, headline
from maskwise.report.inputs import ReportInputs
from maskwise.report.sections import methods
from report.synthetic import CLASSES, LEADS, RECIPES, exploring, plain, study


def told(inputs: ReportInputs) -> Headline:
    found = headline(read_facts(inputs))
    return Headline(
        found.verdict,
        plain(found.sentence),
        plain(found.sureness),
        tuple(map(plain, found.rest)),
        tuple(map(plain, found.agents)),
    )


def groups_of_classes() -> str:
    """Count by hand, class by class, the groups that were tested."""
    table = study().predictions.query("split == 'test'")
    return ", ".join(
        f"{name} {len(set(table.loc[table['truth'] == name, 'group']))}" for name in CLASSES
    )


def test_of_many_classes_the_one_of_the_fewest_groups_is_named() -> None:
    inputs = study()
    test = inputs.predictions["split"] == "test"
    one, *_, another = sorted(set(inputs.predictions.loc[test, "group"]))
    group, truth = inputs.predictions["group"], inputs.predictions["truth"]
    truth = truth.mask(group == one, "odd").mask(group == another, "rare")
    table = inputs.predictions.assign(p_odd=0.0, p_rare=0.0, truth=truth)
    said = told(replace(inputs, predictions=table)).sentence
    assert "on 80 test images of 40 groups (the fewest: odd 1) with 3 seeds" in said


def test_a_clear_lead_is_told_with_recipe_n_size_and_certainty() -> None:
    said = told(study(half_width=0.03))

    assert said.verdict == "helps"
    assert said.sentence == (
        "Yes, pre-training helped: with 10 % of the labels (12 training and 4 validation "
        "images), SimCLR reached a macro AUROC of 0.757 against 0.667 with no pre-training "
        "(difference +0.090 [0.060, 0.120]), on 80 test images of 40 groups "
        f"({groups_of_classes()}) with 3 seeds. "
        "Better as well: Intelligent Masking (+0.050 [0.020, 0.080]). Also asked, without "
        "a clear answer: random boxes (+0.020 [-0.010, 0.050])."
    )
    assert said.sureness == (
        "How sure: the 95 % interval excludes 0, and p = 0.004 after correction for the 3 "
        "comparisons of macro AUROC named beforehand (Holm). This question was written down on "
        "2026-11-29."
    )


def test_a_lead_whose_interval_holds_0_is_not_called_help() -> None:
    said = told(study(half_width=0.2))

    assert said.verdict == "unclear"
    assert said.sentence.startswith(
        "No clear benefit: with 10 % of the labels (12 training and 4 validation images), no "
        "recipe was clearly better than no pre-training. The best of 3 recipes, SimCLR, "
        "reached a macro AUROC of 0.757"
    )
    assert "the data fit anything from -0.110 to +0.290" in said.sureness


def test_a_lead_that_does_not_survive_holm_is_perhaps() -> None:
    inputs = study(half_width=0.03)
    inputs = replace(inputs, paired=inputs.paired.assign(p_holm=0.08))

    said = told(inputs)

    assert said.verdict == "perhaps"
    assert said.sentence.startswith("Perhaps: ")
    assert "chance remains a fair explanation" in said.sureness


def test_harm_is_called_harm() -> None:
    said = told(study(leads={"random_box": -0.09, "dqn": -0.08, "simclr": -0.07}))

    assert said.verdict == "harms"
    assert "No, pre-training harmed" in said.sentence
    assert "SimCLR, reached only a macro AUROC of 0.597" in said.sentence


@pytest.mark.parametrize(
    ("seeds", "counted", "trainings"),
    [((0,), "one seed", "one training"), ((0, 1), "2 seeds", "2 trainings")],
)
def test_one_training_or_two_give_no_verdict_but_perhaps(
    seeds: tuple[int, ...], counted: str, trainings: str
) -> None:
    inputs = study(seeds=seeds)
    said = told(inputs)

    assert said.verdict == "perhaps"
    assert said.sentence.startswith(f"Perhaps, from {trainings}: with 10 % of the labels")
    assert f"With {counted} the interval covers only the choice of test images" in said.sureness
    everything = " ".join([said.sentence, said.sureness, *said.rest, methods_in_words(inputs)])
    assert not re.search(r"p [=<≤]|(?<!perhaps )\bbetter\b|\bworse\b|Yes", everything, re.I)


def test_harm_from_one_training_is_perhaps_as_well() -> None:
    said = told(study(seeds=(0,), leads={"random_box": -0.09, "dqn": -0.08, "simclr": -0.07}))

    assert said.sentence.startswith("Pre-training perhaps harmed, from one training: ")


def test_where_nothing_was_named_beforehand_the_page_explores() -> None:
    said = told(exploring(study(half_width=0.03)))

    assert said.verdict == "perhaps"
    assert said.sentence.startswith("Perhaps, from exploration: with 10 % of the labels")
    assert "Nothing was named beforehand" in said.sureness
    assert "p =" not in said.sureness


def test_what_was_named_beforehand_leads_whatever_stands_higher() -> None:
    inputs = study(half_width=0.03)
    only = (inputs.paired["recipe"] == "dqn") & inputs.paired["primary"]
    paired = inputs.paired.assign(primary=only, p=inputs.paired["p"].where(only))

    said = told(replace(inputs, paired=paired))

    assert "Intelligent Masking reached a macro AUROC of 0.717" in said.sentence
    assert "SimCLR" not in said.sentence
    assert "SimCLR (+0.090 [0.060, 0.120])" in said.rest[0]


def test_a_comparison_with_another_control_names_it() -> None:
    inputs = study(half_width=0.03)
    asked = inputs.paired["primary"]
    paired = inputs.paired[asked & (inputs.paired["recipe"] == "dqn")]

    said = told(replace(inputs, paired=paired.assign(against="random_box")))

    assert "against 0.687 with random boxes (difference +0.050 [0.020, 0.080])" in said.sentence


def test_recipes_that_made_the_same_of_nearly_all_images_are_not_called_equal() -> None:
    inputs = study(half_width=0.001, leads={})
    what = "nothing was outlined in 99% of the test images"
    stuck = [
        {"recipe": name, "mode": "full", "fraction": 0.1, "what": what, "networks": 3, "of": 3}
        for name in RECIPES
    ]

    said = told(replace(inputs, scores={**inputs.scores, "stuck": stuck}))

    assert said.sentence.startswith("Nothing was shown: with 10 % of the labels")
    assert what in said.sentence
    assert "0.000" not in said.sentence


def test_the_highest_that_answers_nearly_all_images_alike_is_said_to() -> None:
    inputs = study(leads={"random_box": -0.03, "dqn": -0.02, "simclr": -0.01})
    what = "100% of the test images were called benign"
    stuck = [
        {"recipe": "simclr", "mode": mode, "fraction": fraction, "what": what}
        | {"networks": 3, "of": 3}
        for mode in ("full", "probe")
        for fraction in (0.1, 0.25, 0.5, 1.0)
    ]

    said = told(replace(inputs, scores={**inputs.scores, "stuck": stuck}))

    assert "alike" not in told(inputs).rest[0]
    assert "SimCLR" in said.rest[0]
    assert "whose networks answer nearly all images alike" in said.rest[0]


def test_a_lead_below_nothing_is_not_called_the_highest() -> None:
    said = told(study(leads={"random_box": -0.03, "dqn": -0.02, "simclr": -0.01}))

    everything = " ".join([said.sentence, *said.rest])
    assert "the least far below of 3 recipes, SimCLR" in said.sentence.replace("The", "the")
    assert "highest" not in everything
    assert "the least far below, SimCLR" in said.rest[0]


def test_raw_pixels_are_never_the_best_pre_training() -> None:
    said = told(study(leads={**LEADS, "pixels": 0.5}))

    assert "8 x 8 pixels" not in said.sentence + " ".join(said.rest)


def test_the_other_modes_and_fractions_are_answered_too() -> None:
    said = told(study())

    assert said.rest == (
        "Full fine-tuning, all labels: no recipe clearly different from no pre-training; the "
        "highest, SimCLR (+0.027 [-0.003, 0.057]).",
        "Linear probe, 10 % of the labels: perhaps better (exploration) than no pre-training: "
        "SimCLR (+0.090 [0.060, 0.120]) and Intelligent Masking (+0.050 [0.020, 0.080]).",
        "Linear probe, all labels: no recipe clearly different from no pre-training; the "
        "highest, SimCLR (+0.027 [-0.003, 0.057]).",
    )


def widened(inputs: ReportInputs, recipe: str, half_width: float) -> ReportInputs:
    """Return the study with another interval for one recipe."""
    paired = inputs.paired.copy()
    rows = paired["recipe"] == recipe
    paired.loc[rows, "low"] = paired.loc[rows, "difference"] - half_width
    paired.loc[rows, "high"] = paired.loc[rows, "difference"] + half_width
    return replace(inputs, paired=paired)


def test_a_smaller_gain_that_is_clear_is_not_hidden_by_a_larger_one_that_is_not() -> None:
    said = told(widened(study(half_width=0.03), "simclr", 0.2))

    assert said.verdict == "helps"
    assert "Intelligent Masking reached a macro AUROC of 0.717" in said.sentence
    assert "Higher still, but not clearly so: SimCLR (+0.090 [-0.110, 0.290])." in said.sentence


def test_recipes_that_harm_are_named_beside_one_that_helps() -> None:
    said = told(study(leads={"random_box": -0.06, "dqn": -0.02, "simclr": 0.09}))

    assert said.verdict == "helps"
    assert "Worse: random boxes (-0.060 [-0.090, -0.030])." in said.sentence


def test_recipes_that_harm_are_named_where_none_helps() -> None:
    said = told(study(leads={"random_box": -0.06, "dqn": 0.01, "simclr": 0.0}))

    assert said.verdict == "unclear"
    assert "no recipe was clearly better" in said.sentence
    assert "Worse: random boxes (-0.060 [-0.090, -0.030])." in said.sentence


def test_harm_needs_the_same_correction_as_benefit() -> None:
    inputs = study(leads={"random_box": -0.09, "dqn": -0.08, "simclr": -0.07})
    inputs = replace(inputs, paired=inputs.paired.assign(p_holm=0.88))

    said = told(inputs)

    assert said.sentence.startswith("No, pre-training perhaps harmed: ")
    assert said.sentence.endswith(
        "Perhaps worse (not after correction): Intelligent Masking (-0.080 [-0.110, -0.050]) "
        "and random boxes (-0.090 [-0.120, -0.060])."
    )
    assert "p = 0.880" in said.sureness
    assert "chance remains a fair explanation" in said.sureness
    assert "perhaps worse (exploration)" in said.rest[1]
    assert "perhaps worse" in plain(methods_in_words(inputs))


def test_a_p_that_the_draws_could_not_make_smaller_is_a_bound() -> None:
    inputs = study(half_width=0.03)
    least, more = 2 / (inputs.scores["draws"] + 1), 4 / (inputs.scores["draws"] + 1)

    bound, exact = (
        told(replace(inputs, paired=inputs.paired.assign(p=p, p_holm=14 * p)))
        for p in (round(least, 9), more)
    )

    assert "p ≤ 0.014 after correction" in bound.sureness
    assert "p = 0.028 after correction" in exact.sureness


def methods_in_words(inputs: ReportInputs) -> str:
    elements = methods.build(read_facts(inputs)).elements
    return " ".join(" ".join(b.items) for b in elements if isinstance(b, Items))


def test_without_a_yardstick_the_page_says_that_nothing_can_be_compared() -> None:
    inputs = study(recipes=("scratch",))

    said = told(inputs)

    assert said.verdict == "none"
    assert said.sentence.startswith("There is nothing to compare")
