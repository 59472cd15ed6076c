"""The stage: predictions of all cells in; scores, paired differences and curves out."""

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from maskwise.artefacts.tables import LABEL_EFFICIENCY, PAIRED
from maskwise.errors import UserError
from maskwise.evaluate.stage import EvaluateConfig, evaluate

CLASSES = ("benign", "malignant", "normal")
QUICK = EvaluateConfig(draws=199)
IMAGES = 48


def cell(
    recipe: str,
    seed: int,
    skill: float = 1.0,
    mode: str = "probe",
    fraction: float = 1.0,
    images: int = IMAGES,
    group_size: int = 2,
    chance: int = 0,
) -> pd.DataFrame:
    """Predict ``images`` test images, the more rightly the greater ``skill``."""
    truth = np.arange(images) % len(CLASSES)
    generator = np.random.default_rng([seed, chance, len(recipe), int(100 * fraction)])
    logits = generator.normal(size=(images, len(CLASSES)))
    logits[np.arange(images), truth] += skill
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = pd.DataFrame(
        {
            "source": "phantom",
            "recipe": recipe,
            "seed": seed,
            "fraction": fraction,
            "mode": mode,
            "image_id": [f"i{n:05d}" for n in range(images)],
            "group": [f"g{n // group_size:05d}" for n in range(images)],
            "split": "test",
            "fold": -1,
            "truth": np.array(CLASSES)[truth],
        }
    )
    columns = [f"p_{name}" for name in CLASSES]
    return pd.concat([table, pd.DataFrame(probabilities, columns=columns)], axis=1)


def subsets_of(predictions: pd.DataFrame) -> pd.DataFrame:
    """Name 40 training images in 20 groups at fraction 1, and their share at others."""
    parts = [
        pd.DataFrame(
            {
                "source": "phantom",
                "recipe": recipe,
                "seed": seed,
                "fraction": fraction,
                "image_id": [f"t{n}" for n in range(round(40 * fraction))],
                "group": [f"h{n // 2}" for n in range(round(40 * fraction))],
                "role": "train",
                "label": "benign",
            }
        )
        for recipe, seed, fraction in predictions[["recipe", "seed", "fraction"]]
        .drop_duplicates()
        .itertuples(index=False)
    ]
    return pd.concat(parts, ignore_index=True)


def study(seeds: Sequence[int] = (0, 1, 2), **skills: float) -> pd.DataFrame:
    """Predict with several recipes of so much skill."""
    return pd.concat(
        [cell(recipe, seed, skill) for recipe, skill in skills.items() for seed in seeds],
        ignore_index=True,
    )


def test_a_score_is_scikit_learns_mean_over_the_seeds() -> None:
    table = study(scratch=0.5, dqn=1.5)
    config = EvaluateConfig(draws=199, weigh="image")
    scores = evaluate(table, subsets_of(table), config, "phantom").scores["scores"]
    columns = [f"p_{name}" for name in CLASSES]
    by_hand = []
    for _, rows in table[table["recipe"] == "dqn"].groupby("seed"):
        codes = rows["truth"].map(CLASSES.index)
        by_hand.append(
            (
                accuracy_score(codes, rows[columns].to_numpy().argmax(axis=1)),
                roc_auc_score(codes, rows[columns], multi_class="ovr"),
            )
        )
    found = scores["dqn"]["probe"]["1.0"]
    accuracy, auroc = np.mean(by_hand, axis=0)
    assert found["accuracy"]["value"] == pytest.approx(accuracy, abs=1e-6)
    assert found["macro_auroc"]["value"] == pytest.approx(auroc, abs=1e-6)


def test_duplicated_test_images_count_once() -> None:
    table = study(scratch=0.5, dqn=1.5)
    table["group"] = table["image_id"]
    copies = [table.assign(image_id=table["image_id"] + f"-{n}") for n in range(2)]
    # The first images get five near-duplicates in their groups, the others none.
    first = table[table["image_id"] < "i00010"]
    more = [first.assign(image_id=first["image_id"] + f"-copy{n}") for n in range(5)]
    plain = evaluate(copies[0], subsets_of(table), QUICK, "phantom")
    doubled = evaluate(pd.concat([copies[0], *more]), subsets_of(table), QUICK, "phantom")
    assert doubled.scores["scores"] == plain.scores["scores"]
    pd.testing.assert_frame_equal(
        doubled.paired.drop(columns="n_images"), plain.paired.drop(columns="n_images")
    )


def test_every_image_counts_once_where_asked_for() -> None:
    table = study(seeds=(0,), scratch=1.0)
    table["group"] = ["big"] * 40 + [f"g{n}" for n in range(IMAGES - 40)]
    right = table[[f"p_{c}" for c in CLASSES]].to_numpy().argmax(1) == table["truth"].map(
        CLASSES.index
    )
    by_image = evaluate(
        table, subsets_of(table), EvaluateConfig(draws=199, weigh="image"), "phantom"
    )
    by_group = evaluate(table, subsets_of(table), QUICK, "phantom")
    accuracy = [
        one.scores["scores"]["scratch"]["probe"]["1.0"]["accuracy"]["value"]
        for one in (by_image, by_group)
    ]
    groups = right.groupby(table["group"]).mean()
    assert accuracy == pytest.approx([right.mean(), groups.mean()], abs=1e-6)


def test_a_recipe_that_predicts_the_same_as_scratch_differs_by_nothing() -> None:
    scratch = study(scratch=1.0)
    table = pd.concat([scratch, scratch.assign(recipe="twin")])
    paired = evaluate(table, subsets_of(table), QUICK, "phantom").paired
    assert (paired[["difference", "low", "high"]] == 0).all(axis=None)
    assert (paired["p"] == 1).all()


def test_the_difference_is_that_of_the_scores_and_far_better_is_found_so() -> None:
    table = study(seeds=range(8), scratch=0.0, dqn=4.0)
    out = evaluate(table, subsets_of(table), QUICK, "phantom")
    row = out.paired.set_index("metric").loc["macro_auroc"]
    values = {
        recipe: out.scores["scores"][recipe]["probe"]["1.0"]["macro_auroc"]["value"]
        for recipe in ("scratch", "dqn")
    }
    assert row["difference"] == pytest.approx(values["dqn"] - values["scratch"], abs=2e-6)
    assert row["low"] > 0
    assert row["p"] == pytest.approx(2 / 200)  # no draw at 0: the least that 199 draws can say


def test_the_holm_family_is_all_comparisons_of_a_metric_on_the_page() -> None:
    table = study(scratch=0.0, dqn=4.0, simclr=4.0)
    table = pd.concat([table, table.assign(mode="full")])
    paired = evaluate(table, subsets_of(table), QUICK, "phantom").paired
    family = paired[paired["metric"] == "accuracy"]
    assert len(family) == 4
    assert family["p_holm"].tolist() == pytest.approx([4 * 0.01] * 4)


def test_the_seeds_part_and_the_test_sets_part_are_told_apart() -> None:
    # The same predictions with every seed: training has no chance, the test set has.
    table = pd.concat([cell("scratch", 0).assign(seed=seed) for seed in range(4)])
    out = evaluate(table, subsets_of(table), QUICK, "phantom")
    figures = out.scores["scores"]["scratch"]["probe"]["1.0"]["accuracy"]
    assert figures["seeds_low"] == figures["seeds_high"] == figures["value"]
    assert figures["groups_low"] < figures["value"] < figures["groups_high"]
    assert (figures["low"], figures["high"]) == (figures["groups_low"], figures["groups_high"])


def test_with_one_seed_there_is_no_seeds_part_and_a_note_says_why() -> None:
    table = study(seeds=(0,), scratch=1.0)
    out = evaluate(table, subsets_of(table), QUICK, "phantom")
    figures = out.scores["scores"]["scratch"]["probe"]["1.0"]["accuracy"]
    assert figures["seeds_low"] is None
    assert any("One seed" in note for note in out.scores["notes"])


def test_a_note_says_what_five_seeds_cost() -> None:
    table = study(seeds=range(5), scratch=1.0)
    notes = evaluate(table, subsets_of(table), QUICK, "phantom").scores["notes"]
    # Student's 97.5 % point with 4 degrees of freedom is 2.776, the normal's 1.960.
    assert any("5 seeds" in note and "1.4 times as wide" in note for note in notes)


def test_fewer_than_thirty_test_groups_in_a_class_are_noted_by_name() -> None:
    table = study(scratch=1.0)
    scores = evaluate(table, subsets_of(table), QUICK, "phantom").scores
    assert scores["classes"]["benign"] == {"n_images": 16, "n_groups": 16}
    assert any("benign 16, malignant 16, normal 16" in note for note in scores["notes"])


def test_thirty_test_groups_and_ten_seeds_need_no_note_but_the_weights() -> None:
    table = pd.concat([cell("scratch", s, images=90, group_size=1) for s in range(10)])
    notes = evaluate(table, subsets_of(table), QUICK, "phantom").scores["notes"]
    assert len(notes) == 1
    assert "counts once" in notes[0]


def test_folds_are_pooled_out_of_fold_and_the_note_says_so() -> None:
    whole = cell("scratch", 0, images=60)
    fold = (np.arange(60) // 2) % 3
    parts = [whole[fold == k].assign(seed=k, fold=k) for k in range(3)]
    folded = evaluate(pd.concat(parts), subsets_of(whole), QUICK, "phantom").scores
    plain = evaluate(whole, subsets_of(whole), QUICK, "phantom").scores
    assert folded["scores"] == plain["scores"]
    assert (folded["n_repetitions"], folded["n_seeds"], folded["n_images"]) == (1, 3, 60)
    assert any("pooled" in note and "confounded" in note for note in folded["notes"])


def test_six_seeds_of_three_folds_are_two_repetitions() -> None:
    whole = cell("scratch", 0, images=60)
    fold = (np.arange(60) // 2) % 3
    parts = [whole[fold == s % 3].assign(seed=s, fold=s % 3) for s in range(6)]
    scores = evaluate(pd.concat(parts), subsets_of(whole), QUICK, "phantom").scores
    assert scores["n_repetitions"] == 2
    five = pd.concat(parts[:5])
    notes = evaluate(five, subsets_of(whole), QUICK, "phantom").scores["notes"]
    assert any("do not cover" in note or "Not all repetitions" in note for note in notes)


def test_a_recipe_without_fine_tuning_is_compared_where_it_ran() -> None:
    table = study(scratch=1.0, pixels=1.0)
    table = pd.concat([table, study(scratch=1.0).assign(mode="full")])
    out = evaluate(table, subsets_of(table), QUICK, "phantom")
    assert set(out.paired["mode"]) == {"probe"}
    assert set(out.scores["scores"]["pixels"]) == {"probe"}


def test_only_the_test_split_is_scored() -> None:
    table = study(scratch=1.0)
    validation = study(scratch=-3.0).assign(split="validation")
    validation["image_id"] = "v" + validation["image_id"]
    both = evaluate(pd.concat([table, validation]), subsets_of(table), QUICK, "phantom")
    assert both.scores == evaluate(table, subsets_of(table), QUICK, "phantom").scores


def test_the_same_predictions_give_the_same_scores_in_any_row_order() -> None:
    table = study(scratch=1.0, dqn=1.2)
    first = evaluate(table, subsets_of(table), QUICK, "phantom")
    rows = table.groupby(["recipe", "seed"], sort=False, group_keys=False)
    shuffled = pd.concat([part.sample(frac=1, random_state=1) for _, part in rows])
    second = evaluate(shuffled, subsets_of(table), QUICK, "phantom")
    assert json.dumps(first.scores) == json.dumps(second.scores)
    pd.testing.assert_frame_equal(first.paired, second.paired)


def test_scores_are_strict_json_and_tables_have_the_promised_columns() -> None:
    table = study(scratch=1.0, dqn=1.2)
    table = pd.concat([table, table.assign(fraction=0.1)])
    out = evaluate(table, subsets_of(table), QUICK, "phantom")
    json.dumps(out.scores, allow_nan=False)
    assert tuple(out.paired.columns) == PAIRED
    assert tuple(out.label_efficiency.columns) == LABEL_EFFICIENCY


def test_the_label_efficiency_curve_says_how_many_labels_there_were() -> None:
    table = study(scratch=1.0)
    table = pd.concat([table, table.assign(fraction=0.1)])
    curve = evaluate(table, subsets_of(table), QUICK, "phantom").label_efficiency
    sizes = curve.groupby("fraction")[["n_images", "n_groups"]].first()
    assert list(sizes.loc[1.0]) == [40, 20]
    assert list(sizes.loc[0.1]) == [4, 2]


def test_the_sign_flip_test_says_that_it_was_used() -> None:
    table = study(seeds=range(8), scratch=0.0, dqn=3.0)
    config = EvaluateConfig(draws=199, test="sign_flip")
    out = evaluate(table, subsets_of(table), config, "phantom")
    assert set(out.paired["test"]) == {"sign-flip over seeds"}
    assert out.paired["p"].min() == pytest.approx(2 / 2**8)
    assert any("sign-flip" in note for note in out.scores["notes"])


def test_too_few_draws_to_pass_holm_are_said_with_the_number_that_would_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = study(scratch=0.0, a=4.0, b=4.0, c=4.0, d=4.0, e=4.0)
    few = evaluate(table, subsets_of(table), EvaluateConfig(draws=199), "phantom")
    # Five comparisons of p = 2 / 200: Holm makes .05 of it, which is not below .05.
    assert not (few.paired["p_holm"] < 0.05).any()
    assert "set evaluate.draws to 200 or more" in few.scores["cannot_pass"]
    assert few.scores["notes"][0] == few.scores["cannot_pass"]
    assert "no comparison could pass 0.05" in caplog.text
    enough = evaluate(table, subsets_of(table), EvaluateConfig(draws=200), "phantom")
    assert enough.scores["cannot_pass"] is None
    assert (enough.paired["p_holm"] < 0.05).any()


def test_too_few_seeds_to_pass_holm_are_said_of_sign_flips() -> None:
    table = study(seeds=range(8), **dict.fromkeys(("scratch", *"abcdefg"), 1.0))
    config = EvaluateConfig(draws=199, test="sign_flip")
    scores = evaluate(table, subsets_of(table), config, "phantom").scores
    assert "With 8 seeds p cannot fall below 0.0078" in scores["cannot_pass"]


def test_draws_that_lack_a_class_are_counted_and_left_out() -> None:
    table = study(seeds=(0,), scratch=1.0)
    table["group"] = np.where(table["truth"] == "benign", "b", table["group"])
    scores = evaluate(table, subsets_of(table), QUICK, "phantom").scores
    # One group of 25 holds all of the class: (24 / 25) ** 25 = 36 % of the draws miss it.
    assert 0.25 * 199 < scores["undefined_draws"] < 0.47 * 199
    assert any("held no image of some class" in note for note in scores["notes"])


def test_the_calibration_error_stands_beside_that_of_perfect_predictions() -> None:
    table = study(scratch=1.0)
    figures = evaluate(table, subsets_of(table), QUICK, "phantom").scores["scores"]
    found = figures["scratch"]["probe"]["1.0"]
    assert 0.05 < found["calibration_error"]["if_perfect"] < 0.25
    assert "if_perfect" not in found["accuracy"]


def test_a_seed_that_one_recipe_lacks_is_named() -> None:
    table = study(scratch=1.0, dqn=1.0)
    table = table[(table["recipe"] != "dqn") | (table["seed"] != 2)]
    with pytest.raises(UserError, match=r"dqn \(probe, fraction 1\.0\) lacks seed 2"):
        evaluate(table, subsets_of(table), QUICK, "phantom")


def test_a_fraction_that_a_seed_could_not_learn_from_is_left_out_and_said() -> None:
    cells = [
        cell(recipe, seed, fraction=fraction)
        for recipe in ("scratch", "dqn")
        for seed in range(3)
        for fraction in (1.0, 0.1)
        if (seed, fraction) != (2, 0.1)
    ]
    table = pd.concat(cells, ignore_index=True)
    out = evaluate(table, subsets_of(table), QUICK, "phantom")
    assert set(out.paired["fraction"]) == set(out.label_efficiency["fraction"]) == {1.0}
    assert any(
        note.startswith("10 % of the labels are left out: with seed 2")
        for note in out.scores["notes"]
    )

    forgotten = table[
        (table["recipe"] != "dqn") | (table["fraction"] == 1.0) | (table["seed"] > 0)
    ]
    alone = pd.concat([forgotten, cell("scratch", 2, fraction=0.1)], ignore_index=True)
    with pytest.raises(UserError, match=r"dqn \(probe, fraction 0\.1\) lacks seed 0, 2"):
        evaluate(alone, subsets_of(alone), QUICK, "phantom")


def test_recipes_tested_on_different_images_are_refused() -> None:
    other = cell("dqn", 0)
    other["image_id"] = "x" + other["image_id"]
    table = pd.concat([cell("scratch", 0), other])
    with pytest.raises(UserError, match=r"dqn .* and scratch .* tested on different images"):
        evaluate(table, subsets_of(table), QUICK, "phantom")


def test_numbers_that_are_no_probabilities_are_refused_by_image() -> None:
    table = study(scratch=1.0)
    table.loc[5, "p_benign"] = np.nan
    with pytest.raises(UserError, match=r"scratch seed 0 .* image i00005: .* no probabilities"):
        evaluate(table, subsets_of(table), QUICK, "phantom")


def test_an_image_predicted_twice_is_refused() -> None:
    table = study(scratch=1.0)
    with pytest.raises(UserError, match="predicts image i00000 twice"):
        evaluate(pd.concat([table, table.iloc[:1]]), subsets_of(table), QUICK, "phantom")


def test_a_class_without_a_column_is_named() -> None:
    table = study(scratch=1.0)
    table.loc[0, "truth"] = "cyst"
    with pytest.raises(UserError, match="the class 'cyst' has no column p_cyst"):
        evaluate(table, subsets_of(table), QUICK, "phantom")


def test_predictions_without_a_test_image_are_refused() -> None:
    table = study(scratch=1.0).assign(split="validation")
    with pytest.raises(UserError, match="no labelled test image"):
        evaluate(table, subsets_of(table), QUICK, "phantom")
