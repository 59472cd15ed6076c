"""The stage: predictions of all replicates in; scores, paired differences and curves out."""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, roc_auc_score

from maskwise.artefacts.tables import LABEL_EFFICIENCY, PAIRED
from maskwise.errors import UserError
from maskwise.evaluate.config import Primary
from maskwise.evaluate.stage import EvaluateConfig, evaluate

CLASSES = ("benign", "malignant", "normal")
QUICK = EvaluateConfig(draws=199)
IMAGES = 48


def asking(*comparisons: tuple[str, str], **options: Any) -> EvaluateConfig:
    """Return options that name the comparisons beforehand, probes with all labels."""
    written = date(2026, 11, 29)
    primary = Primary(comparisons or (("dqn", "scratch"),), "probe", 1.0, written)
    return EvaluateConfig(**{"draws": 199, "primary": {"phantom": primary}, **options})


def replicate(
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
        [replicate(recipe, seed, skill) for recipe, skill in skills.items() for seed in seeds],
        ignore_index=True,
    )


def test_a_score_is_scikit_learns_mean_over_the_seeds() -> None:
    table = study(scratch=0.5, dqn=1.5)
    config = EvaluateConfig(draws=199, weigh="image")
    scores = evaluate(table, subsets_of(table), config, "phantom", "diagnosis").scores["scores"]
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
    plain = evaluate(copies[0], subsets_of(table), QUICK, "phantom", "diagnosis")
    doubled = evaluate(
        pd.concat([copies[0], *more]), subsets_of(table), QUICK, "phantom", "diagnosis"
    )
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
        table,
        subsets_of(table),
        EvaluateConfig(draws=199, weigh="image"),
        "phantom",
        "diagnosis",
    )
    by_group = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis")
    accuracy = [
        one.scores["scores"]["scratch"]["probe"]["1.0"]["accuracy"]["value"]
        for one in (by_image, by_group)
    ]
    groups = right.groupby(table["group"]).mean()
    assert accuracy == pytest.approx([right.mean(), groups.mean()], abs=1e-6)


def test_a_recipe_that_predicts_the_same_as_scratch_differs_by_nothing() -> None:
    scratch = study(scratch=1.0)
    table = pd.concat([scratch, scratch.assign(recipe="twin")])
    asked = asking(("twin", "scratch"))
    paired = evaluate(table, subsets_of(table), asked, "phantom", "diagnosis").paired
    assert (paired[["difference", "low", "high"]] == 0).all(axis=None)
    assert paired["p"].dropna().tolist() == [1]


def test_the_difference_is_that_of_the_scores_and_far_better_is_found_so() -> None:
    table = study(seeds=range(8), scratch=0.0, dqn=4.0)
    out = evaluate(table, subsets_of(table), asking(), "phantom", "diagnosis")
    row = out.paired.set_index("metric").loc["macro_auroc"]
    values = {
        recipe: out.scores["scores"][recipe]["probe"]["1.0"]["macro_auroc"]["value"]
        for recipe in ("scratch", "dqn")
    }
    assert row["difference"] == pytest.approx(values["dqn"] - values["scratch"], abs=2e-6)
    assert row["low"] > 0
    assert row["p"] == pytest.approx(2 / 200)  # no draw at 0: the least that 199 draws can say


def test_the_holm_family_is_what_was_named_beforehand_and_nothing_else_has_a_p() -> None:
    table = study(scratch=0.0, dqn=4.0, simclr=4.0, random_box=4.0)
    table = pd.concat([table, table.assign(mode="full")])
    asked = asking(("dqn", "scratch"), ("simclr", "scratch"))
    paired = evaluate(table, subsets_of(table), asked, "phantom", "diagnosis").paired
    assert paired.loc[paired["primary"], "p_holm"].tolist() == pytest.approx([2 * 0.01] * 2)
    assert set(paired.loc[paired["primary"], "metric"]) == {"macro_auroc"}
    others = paired[~paired["primary"]]
    assert others[["p", "p_holm"]].isna().all(axis=None)
    assert others[["low", "high"]].notna().all(axis=None)


def test_what_was_named_beforehand_is_written_down_with_its_day() -> None:
    table = study(scratch=0.0, dqn=4.0)
    asked = asking(("dqn", "scratch"), ("dqn", "random_box"))
    scores = evaluate(table, subsets_of(table), asked, "phantom", "diagnosis").scores
    assert scores["primary"] == {
        "metric": "macro_auroc",
        "mode": "probe",
        "fraction": 1.0,
        "comparisons": [["dqn", "scratch"], ["dqn", "random_box"]],
        "written": "2026-11-29",
    }
    assert any("Named beforehand, on 2026-11-29" in note for note in scores["notes"])
    assert any("but not run: dqn against random_box" in note for note in scores["notes"])


@pytest.mark.parametrize("days", [0, 5])
def test_a_day_of_writing_that_is_still_to_come_is_warned_of(
    days: int, caplog: pytest.LogCaptureFixture
) -> None:
    table, day = study(scratch=0.0, dqn=4.0), date.today() + timedelta(days=days)
    primary = Primary((("dqn", "scratch"),), "probe", 1.0, day)
    evaluate(
        table,
        subsets_of(table),
        EvaluateConfig(draws=199, primary={"phantom": primary}),
        "phantom",
        "diagnosis",
    )
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [f"{day} is still to come" in record.message for record in warned] == [True] * (
        days > 0
    )


def test_a_metric_named_beforehand_that_the_task_has_not_is_refused() -> None:
    table = study(scratch=0.0, dqn=4.0)
    primary = Primary((("dqn", "scratch"),), "probe", 1.0, date(2026, 11, 29), "dice")
    config = EvaluateConfig(draws=199, primary={"phantom": primary})
    with pytest.raises(UserError, match=r"evaluate\.primary\.phantom\.metric: .* 'dice'"):
        evaluate(table, subsets_of(table), config, "phantom", "diagnosis")


def test_where_nothing_was_named_beforehand_there_is_no_p() -> None:
    table = study(scratch=0.0, dqn=4.0)
    out = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis")
    assert out.paired["p"].isna().all()
    assert out.scores["primary"] is None
    assert out.scores["notes"][0].startswith("Nothing was named beforehand")


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_training_or_two_have_no_p_and_say_what_their_intervals_cover(seeds: int) -> None:
    table = study(seeds=range(seeds), scratch=0.0, dqn=4.0)
    out = evaluate(table, subsets_of(table), asking(), "phantom", "diagnosis")
    assert out.paired[["p", "p_holm"]].isna().all(axis=None)
    assert set(out.paired["covers"]) == {out.scores["covers"]} == {"test images only"}
    three = study(seeds=range(3), scratch=0.0, dqn=4.0)
    out = evaluate(three, subsets_of(three), asking(), "phantom", "diagnosis")
    assert set(out.paired["covers"]) == {out.scores["covers"]} == {"training and test images"}


def test_two_seeds_do_not_make_an_absurdly_wide_interval() -> None:
    table = study(seeds=range(2), scratch=0.5)
    figures = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis").scores["scores"]
    found = figures["scratch"]["probe"]["1.0"]["macro_auroc"]
    assert found["seeds_low"] is None
    assert found["high"] - found["low"] < 0.4


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_no_interval_leaves_the_range_of_its_metric(seeds: int) -> None:
    table = study(seeds=range(seeds), scratch=4.0, dqn=3.5)
    out = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis")
    ends = out.label_efficiency[["low", "high"]]
    assert ((ends >= 0) & (ends <= 1)).all(axis=None)
    assert ((out.paired[["low", "high"]].abs()) <= 1).all(axis=None)


def test_the_seeds_part_and_the_test_sets_part_are_told_apart() -> None:
    # The same predictions with every seed: training has no chance, the test set has.
    table = pd.concat([replicate("scratch", 0).assign(seed=seed) for seed in range(4)])
    out = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis")
    figures = out.scores["scores"]["scratch"]["probe"]["1.0"]["accuracy"]
    assert figures["seeds_low"] == figures["seeds_high"] == figures["value"]
    assert figures["groups_low"] < figures["value"] < figures["groups_high"]
    assert (figures["low"], figures["high"]) == (figures["groups_low"], figures["groups_high"])


def test_with_one_seed_there_is_no_seeds_part_and_a_note_says_why() -> None:
    table = study(seeds=(0,), scratch=1.0)
    out = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis")
    figures = out.scores["scores"]["scratch"]["probe"]["1.0"]["accuracy"]
    assert figures["seeds_low"] is None
    assert any("One seed" in note for note in out.scores["notes"])


def test_a_note_says_what_five_seeds_cost() -> None:
    table = study(seeds=range(5), scratch=1.0)
    notes = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis").scores["notes"]
    # Student's 97.5 % point with 4 degrees of freedom is 2.776, the normal's 1.960.
    assert any("5 seeds" in note and "1.4 times as wide" in note for note in notes)


def test_fewer_than_thirty_test_groups_in_a_class_are_noted_by_name() -> None:
    table = study(scratch=1.0)
    scores = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis").scores
    assert scores["classes"]["benign"] == {"n_images": 16, "n_groups": 16}
    assert any("benign 16, malignant 16, normal 16" in note for note in scores["notes"])


def test_thirty_test_groups_and_ten_seeds_need_only_the_notes_of_any_study() -> None:
    table = pd.concat([replicate("scratch", s, images=90, group_size=1) for s in range(10)])
    notes = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis").scores["notes"]
    assert len(notes) == 2
    assert "Nothing was named beforehand" in notes[0]
    assert "counts once" in notes[1]


def folded(seeds: int = 3, **skills: float) -> pd.DataFrame:
    """Predict 60 images in three folds; seed s tests fold s mod 3."""
    parts = []
    for recipe, skill in skills.items():
        for seed in range(seeds):
            whole = replicate(recipe, seed, skill, images=60)
            fold = (np.arange(60) // 6) % 3  # all classes in each
            parts.append(whole[fold == seed % 3].assign(fold=seed % 3))
    return pd.concat(parts, ignore_index=True)


def test_a_fold_is_scored_by_itself_and_a_figure_is_the_mean_of_the_folds() -> None:
    table = folded(scratch=1.0)
    scores = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis").scores
    by_hand = []
    for _, rows in table.groupby("fold"):
        codes = rows["truth"].map(CLASSES.index)
        columns = [f"p_{name}" for name in CLASSES]
        by_hand.append(roc_auc_score(codes, rows[columns], multi_class="ovr"))
    found = scores["scores"]["scratch"]["probe"]["1.0"]["macro_auroc"]["value"]
    assert found == pytest.approx(np.mean(by_hand), abs=1e-6)
    assert (scores["n_folds"], scores["n_repetitions"], scores["n_seeds"]) == (3, 3, 3)
    assert scores["n_images"] == 60
    assert any("Nadeau and Bengio" in note for note in scores["notes"])


def test_a_difference_that_one_network_of_five_makes_is_not_shown() -> None:
    # Each network tests 12 groups, and one of five is much better: as independent images
    # 60 groups would show it; of five networks one is no sign.
    def five(recipe: str, skills: Sequence[float]) -> pd.DataFrame:
        parts = []
        for fold, skill in enumerate(skills):
            whole = replicate("", 7, skill, images=60, group_size=1)
            part = whole[np.arange(60) // 12 == fold]
            parts.append(part.assign(recipe=recipe, seed=fold, fold=fold))
        return pd.concat(parts)

    table = pd.concat([five("scratch", [0.5] * 5), five("dqn", [0.5] * 4 + [8.0])])
    row = evaluate(table, subsets_of(table), asking(), "phantom", "diagnosis").paired.iloc[0]
    assert row["difference"] > 0.05
    assert row["low"] < 0
    assert row["p"] > 0.2


def test_two_networks_a_fold_are_averaged_and_stay_one_repetition() -> None:
    table = folded(seeds=6, scratch=1.0)
    scores = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis").scores
    assert (scores["n_repetitions"], scores["networks_a_fold"]) == (3, 2)
    halves = [table[table["seed"] < 3], table[table["seed"] >= 3]]
    values = [
        evaluate(half, subsets_of(half), QUICK, "phantom", "diagnosis").scores["scores"][
            "scratch"
        ]["probe"]["1.0"]["accuracy"]["value"]
        for half in halves
    ]
    found = scores["scores"]["scratch"]["probe"]["1.0"]["accuracy"]["value"]
    assert found == pytest.approx(np.mean(values), abs=1e-6)
    five = table[table["seed"] < 5]
    notes = evaluate(five, subsets_of(five), QUICK, "phantom", "diagnosis").scores["notes"]
    assert any("Not all folds have the same number of networks" in note for note in notes)


def test_a_group_that_two_folds_test_is_refused() -> None:
    table = folded(scratch=1.0)
    table.loc[table["image_id"] == "i00006", "group"] = "g00000"
    with pytest.raises(UserError, match="the group g00000 is tested in several folds"):
        evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis")


def test_a_recipe_without_fine_tuning_is_compared_where_it_ran() -> None:
    table = study(scratch=1.0, pixels=1.0)
    table = pd.concat([table, study(scratch=1.0).assign(mode="full")])
    out = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis")
    assert set(out.paired["mode"]) == {"probe"}
    assert set(out.scores["scores"]["pixels"]) == {"probe"}


def test_only_the_test_split_is_scored() -> None:
    table = study(scratch=1.0)
    validation = study(scratch=-3.0).assign(split="validation")
    validation["image_id"] = "v" + validation["image_id"]
    both = evaluate(
        pd.concat([table, validation]), subsets_of(table), QUICK, "phantom", "diagnosis"
    )
    assert (
        both.scores == evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis").scores
    )


def test_the_same_predictions_give_the_same_scores_in_any_row_order() -> None:
    table = study(scratch=1.0, dqn=1.2)
    first = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis")
    rows = table.groupby(["recipe", "seed"], sort=False, group_keys=False)
    shuffled = pd.concat([part.sample(frac=1, random_state=1) for _, part in rows])
    second = evaluate(shuffled, subsets_of(table), QUICK, "phantom", "diagnosis")
    assert json.dumps(first.scores) == json.dumps(second.scores)
    pd.testing.assert_frame_equal(first.paired, second.paired)


def test_scores_are_strict_json_and_tables_have_the_promised_columns() -> None:
    table = study(scratch=1.0, dqn=1.2)
    table = pd.concat([table, table.assign(fraction=0.1)])
    out = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis")
    json.dumps(out.scores, allow_nan=False)
    assert tuple(out.paired.columns) == PAIRED
    assert tuple(out.label_efficiency.columns) == LABEL_EFFICIENCY


def test_the_label_efficiency_curve_says_how_many_labels_there_were() -> None:
    table = study(scratch=1.0)
    table = pd.concat([table, table.assign(fraction=0.1)])
    curve = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis").label_efficiency
    sizes = curve.groupby("fraction")[["n_images", "n_groups"]].first()
    assert list(sizes.loc[1.0]) == [40, 20]
    assert list(sizes.loc[0.1]) == [4, 2]


def test_the_sign_flip_test_says_that_it_was_used() -> None:
    table = study(seeds=range(8), scratch=0.0, dqn=3.0)
    out = evaluate(table, subsets_of(table), asking(test="sign_flip"), "phantom", "diagnosis")
    assert set(out.paired["test"]) == {"sign-flip over seeds"}
    assert out.paired["p"].min() == pytest.approx(2 / 2**8)
    assert any("sign-flip" in note for note in out.scores["notes"])


def test_199_draws_can_show_three_comparisons() -> None:
    table = study(seeds=range(5), scratch=0.0, a=4.0, b=4.0, c=4.0)
    asked = asking(*((name, "scratch") for name in "abc"))
    paired = evaluate(table, subsets_of(table), asked, "phantom", "diagnosis").paired
    # Holm makes .03 of the least p there is, 2 / 200.
    assert (paired["p_holm"].dropna() < 0.05).all()


def test_networks_that_call_nearly_all_images_alike_are_named() -> None:
    table = study(scratch=1.0, dqn=1.0)
    columns = [f"p_{name}" for name in CLASSES]
    table.loc[table["recipe"] == "dqn", columns] = [0.8, 0.1, 0.1]
    scores = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis").scores
    assert [entry["recipe"] for entry in scores["stuck"]] == ["dqn"]
    assert scores["stuck"][0]["what"] == "100% of the test images were called benign"
    assert any("by 3 of 3 networks" in note for note in scores["notes"])


def test_validation_that_is_too_small_or_of_one_class_is_noted() -> None:
    table = study(scratch=1.0)
    few = subsets_of(table).groupby("seed").head(9).assign(role="validation")
    notes = evaluate(table, few, QUICK, "phantom", "diagnosis").scores["notes"]
    assert any("validated on 9 images, fewer than 10" in note for note in notes)
    assert any("images of one class alone" in note for note in notes)
    enough = subsets_of(table).groupby("seed").head(10).assign(role="validation")
    enough["label"] = ["benign", "normal"] * (len(enough) // 2)
    notes = evaluate(table, enough, QUICK, "phantom", "diagnosis").scores["notes"]
    assert not any("validated on" in note for note in notes)


def test_draws_that_lack_a_class_are_counted_and_left_out() -> None:
    table = study(seeds=(0,), scratch=1.0)
    table["group"] = np.where(table["truth"] == "benign", "b", table["group"])
    scores = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis").scores
    # One group of 25 holds all of the class: (24 / 25) ** 25 = 36 % of the draws miss it.
    assert 0.25 * 199 < scores["undefined_draws"] < 0.47 * 199
    assert any("held no image of some class" in note for note in scores["notes"])


def test_the_calibration_error_stands_beside_that_of_perfect_predictions() -> None:
    table = study(scratch=1.0)
    figures = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis").scores["scores"]
    found = figures["scratch"]["probe"]["1.0"]
    assert 0.05 < found["calibration_error"]["if_perfect"] < 0.25
    assert "if_perfect" not in found["accuracy"]


def test_a_seed_that_one_recipe_lacks_is_named() -> None:
    table = study(scratch=1.0, dqn=1.0)
    table = table[(table["recipe"] != "dqn") | (table["seed"] != 2)]
    with pytest.raises(UserError, match=r"dqn \(probe, fraction 1\.0\) lacks seed 2"):
        evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis")


def test_a_fraction_that_a_seed_could_not_learn_from_is_left_out_and_said() -> None:
    replicates = [
        replicate(recipe, seed, fraction=fraction)
        for recipe in ("scratch", "dqn")
        for seed in range(3)
        for fraction in (1.0, 0.1)
        if (seed, fraction) != (2, 0.1)
    ]
    table = pd.concat(replicates, ignore_index=True)
    out = evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis")
    assert set(out.paired["fraction"]) == set(out.label_efficiency["fraction"]) == {1.0}
    assert any(
        note.startswith("10 % of the labels are left out: with seed 2")
        for note in out.scores["notes"]
    )

    forgotten = table[
        (table["recipe"] != "dqn") | (table["fraction"] == 1.0) | (table["seed"] > 0)
    ]
    alone = pd.concat([forgotten, replicate("scratch", 2, fraction=0.1)], ignore_index=True)
    with pytest.raises(UserError, match=r"dqn \(probe, fraction 0\.1\) lacks seed 0, 2"):
        evaluate(alone, subsets_of(alone), QUICK, "phantom", "diagnosis")


def test_recipes_tested_on_different_images_are_refused() -> None:
    other = replicate("dqn", 0)
    other["image_id"] = "x" + other["image_id"]
    table = pd.concat([replicate("scratch", 0), other])
    with pytest.raises(UserError, match=r"dqn .* and scratch .* tested on different images"):
        evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis")


def test_numbers_that_are_no_probabilities_are_refused_by_image() -> None:
    table = study(scratch=1.0)
    table.loc[5, "p_benign"] = np.nan
    with pytest.raises(
        UserError, match=r"scratch seed 0 .* image i00005: .* not probabilities"
    ):
        evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis")


def test_an_image_predicted_twice_is_refused() -> None:
    table = study(scratch=1.0)
    with pytest.raises(UserError, match="predicts image i00000 twice"):
        evaluate(
            pd.concat([table, table.iloc[:1]]), subsets_of(table), QUICK, "phantom", "diagnosis"
        )


def test_a_class_without_a_column_is_named() -> None:
    table = study(scratch=1.0)
    table.loc[0, "truth"] = "cyst"
    with pytest.raises(UserError, match="the class 'cyst' has no column p_cyst"):
        evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis")


def test_predictions_without_a_test_image_are_refused() -> None:
    table = study(scratch=1.0).assign(split="validation")
    with pytest.raises(UserError, match="no labelled test image"):
        evaluate(table, subsets_of(table), QUICK, "phantom", "diagnosis")


def test_predictions_of_another_task_than_the_source_names_are_refused() -> None:
    table = study(scratch=1.0)
    with pytest.raises(UserError, match=r"no column tp_.* not .* of the task lesion"):
        evaluate(table, subsets_of(table), QUICK, "phantom", "lesion")
