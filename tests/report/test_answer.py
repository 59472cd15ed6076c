"""The first sentences of the page."""

from dataclasses import replace

from maskwise.report.answer import Answer, answer
from maskwise.report.blocks import Items
from maskwise.report.facts import read_facts
from maskwise.report.inputs import ReportInputs
from maskwise.report.sections import methods
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
        "Yes, pre-training helped: with 10 % of the labels (12 training and 4 validation "
        "images), SimCLR reached a macro AUROC of 0.757 against 0.667 with no pre-training "
        "(difference +0.090 [0.060, 0.120]), on 80 test images of 40 groups with 3 seeds. "
        "Better as well: Intelligent Masking (+0.050 [0.020, 0.080])."
    )
    assert said.sureness == (
        "How sure: the 95 % interval excludes 0, and p = 0.006 after correction for the 14 "
        "comparisons of macro AUROC on this page (Holm)."
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


def test_one_seed_says_that_the_interval_covers_only_the_test_set() -> None:
    said = told(study(seeds=(0,)))

    assert "With one seed the interval covers only the choice of test images" in said.sureness


def test_raw_pixels_are_never_the_best_pre_training() -> None:
    said = told(study(leads={**LEADS, "pixels": 0.5}))

    assert "8 x 8 pixels" not in said.sentence + " ".join(said.rest)


def test_the_other_modes_and_fractions_are_answered_too() -> None:
    said = told(study())

    assert said.rest == (
        "Full fine-tuning, all labels: no recipe clearly different from no pre-training; the "
        "highest, SimCLR (+0.027 [-0.003, 0.057]).",
        "Linear probe, 10 % of the labels: better than no pre-training: SimCLR (+0.090 [0.060, "
        "0.120]) and Intelligent Masking (+0.050 [0.020, 0.080]).",
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
    assert said.sentence.endswith(
        "Higher still, but not clearly so: SimCLR (+0.090 [-0.110, 0.290])."
    )


def test_recipes_that_harm_are_named_beside_one_that_helps() -> None:
    said = told(study(leads={"random_box": -0.06, "dqn": -0.02, "simclr": 0.09}))

    assert said.verdict == "helps"
    assert said.sentence.endswith("Worse: random boxes (-0.060 [-0.090, -0.030]).")


def test_recipes_that_harm_are_named_where_none_helps() -> None:
    said = told(study(leads={"random_box": -0.06, "dqn": 0.01, "simclr": 0.0}))

    assert said.verdict == "unclear"
    assert "no recipe was clearly better" in said.sentence
    assert said.sentence.endswith("Worse: random boxes (-0.060 [-0.090, -0.030]).")


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
    assert "perhaps worse (not sure after correction)" in said.rest[1]
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


def test_draws_too_few_for_holm_are_not_called_chance() -> None:
    inputs = study(half_width=0.03)
    scores = {**inputs.scores, "cannot_pass": "With 199 draws no comparison could pass 0.05."}
    paired = inputs.paired.assign(p_holm=0.14)

    said = told(replace(inputs, scores=scores, paired=paired))

    assert said.sureness.endswith("So few draws could show nothing after that correction.")


def methods_in_words(inputs: ReportInputs) -> str:
    blocks = methods.build(read_facts(inputs)).blocks
    return " ".join(" ".join(b.items) for b in blocks if isinstance(b, Items))


def test_without_a_yardstick_the_page_says_that_nothing_can_be_compared() -> None:
    inputs = study(recipes=("scratch",))

    said = told(inputs)

    assert said.verdict == "none"
    assert said.sentence.startswith("There is nothing to compare")
