"""The first sentences of the page."""

from dataclasses import replace

from maskwise.report.answer import Answer, answer
from maskwise.report.facts import read_facts
from maskwise.report.inputs import ReportInputs
from report.synthetic import LEADS, plain, study


def told(inputs: ReportInputs) -> Answer:
    found = answer(read_facts(inputs))
    return Answer(
        found.verdict,
        plain(found.sentence),
        plain(found.sureness),
        tuple(map(plain, found.rest)),
        tuple(map(plain, found.agents)),
    )


def test_a_clear_lead_is_told_with_recipe_n_size_and_certainty() -> None:
    said = told(study(half_width=0.03))

    assert said.verdict == "helps"
    assert said.sentence == (
        "Yes, pre-training helped: with 10 % of the labels (12 training images), SimCLR "
        "reached a macro AUROC of 0.757 against 0.667 with no pre-training (difference +0.090 "
        "[0.060, 0.120]), on 80 test images of 40 groups with 3 seeds."
    )
    assert said.sureness == (
        "How sure: the 95 % interval excludes 0, and p = 0.002 after correction for the 14 "
        "comparisons of macro AUROC on this page (Holm)."
    )


def test_a_lead_whose_interval_holds_0_is_not_called_help() -> None:
    said = told(study(half_width=0.2))

    assert said.verdict == "unclear"
    assert said.sentence.startswith(
        "Not shown: with 10 % of the labels (12 training images), no recipe was clearly "
        "better than no pre-training. SimCLR, the best of 3 recipes, reached a macro AUROC of "
        "0.757"
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


def test_one_seed_says_that_the_interval_covers_only_the_test_set() -> None:
    said = told(study(seeds=(0,)))

    assert "With one seed the interval covers only the choice of test images" in said.sureness


def test_raw_pixels_are_never_the_best_pre_training() -> None:
    said = told(study(leads={**LEADS, "pixels": 0.5}))

    assert "8 x 8 pixels" not in said.sentence + " ".join(said.rest)


def test_the_other_modes_and_fractions_are_answered_too() -> None:
    said = told(study())

    assert said.rest == (
        "Full fine-tuning, all labels: the best, SimCLR, was not clearly different from no "
        "pre-training, +0.027 [-0.003, 0.057].",
        "Linear probe, 10 % of the labels: the best, SimCLR, was ahead of no pre-training, "
        "+0.090 [0.060, 0.120].",
        "Linear probe, all labels: the best, SimCLR, was not clearly different from no "
        "pre-training, +0.027 [-0.003, 0.057].",
    )


def test_without_a_yardstick_the_page_says_that_nothing_can_be_compared() -> None:
    inputs = study(recipes=("scratch",))

    said = told(inputs)

    assert said.verdict == "none"
    assert said.sentence.startswith("There is nothing to compare")


def test_an_agent_whose_content_lift_excludes_0_follows_the_image() -> None:
    said = told(study(seeds=(0,)))

    assert said.agents == (
        "Intelligent Masking hid 4.5 times as much of a lesion as of the image (boxes "
        "anywhere: 1.4); content lift +2.14 [1.92, 2.37], so its choice does follow the "
        "image.",
    )


def test_an_agent_whose_content_lift_includes_0_was_not_shown_to() -> None:
    inputs = study(seeds=(0,))
    blind = inputs.histories["dqn", 0].assign(content_lift_low=-0.1)
    inputs = replace(inputs, histories={**inputs.histories, ("dqn", 0): blind})

    assert told(inputs).agents[0].endswith("so its choice was not shown to follow the image.")
