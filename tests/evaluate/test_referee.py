"""What a referee asks, held against slow and obvious references."""

from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, roc_auc_score

from evaluate.test_evaluate import folded, replicate
from evaluate.test_lesion_scores import ROWS, outlined
from evaluate.test_multilabel_scores import predicted
from maskwise.artefacts.tables import REFEREE
from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.evaluate.config import EvaluateConfig, Primary
from maskwise.evaluate.referee.benefit import net_benefit
from maskwise.evaluate.referee.calibration import calibration
from maskwise.evaluate.referee.config import Referee
from maskwise.evaluate.referee.networks import Asked, Network, Networks, found_and_spared
from maskwise.evaluate.referee.operating import (
    Goal,
    operating_point,
    predictive_values,
    threshold,
)
from maskwise.evaluate.referee.stage import Images, referee
from maskwise.evaluate.referee.table import referee_table
from maskwise.evaluate.resampling import draw
from maskwise.evaluate.weighing import own_weight

DRAWS = 199
NO_STORE: Any = SimpleNamespace(masks=None)


def asked(probabilities: Any, shows: Any, group: Any = None) -> Asked:
    """Ask of images of so many groups, each of which counts once."""
    probabilities = np.asarray(probabilities, float)
    group = np.arange(len(probabilities)) if group is None else np.asarray(group)
    return Asked(probabilities, np.asarray(shows, bool), group, own_weight(group, "group"))


def networks(*pairs: tuple[Asked, Asked], draws: int = DRAWS) -> Networks:
    """Return seeds that chose on one part and were tested on the other."""
    groups = int(pairs[0][1].group.max()) + 1
    return Networks(
        tuple((Network(seed, one, other),) for seed, (one, other) in enumerate(pairs)),
        draw(len(pairs), (groups,), draws, 0),
    )


answers = st.lists(
    st.tuples(st.integers(0, 20).map(lambda n: n / 20), st.booleans(), st.integers(0, 5)),
    min_size=4,
    max_size=30,
).filter(lambda rows: len({shows for _, shows, _ in rows}) == 2)
"""Chance, truth and group of each image; some show the class and others do not."""


def of(rows: Any) -> Asked:
    probabilities, shows, group = zip(*rows, strict=True)
    codes = pd.factorize(np.asarray(group))[0]
    return asked(probabilities, shows, codes)


def rates(one: Asked, at: float) -> dict[str, float]:
    """Count, image by image, what is called from a threshold on."""
    found = spared = shows = others = 0.0
    for chance, truth, weight in zip(one.probabilities, one.shows, one.weights, strict=True):
        if truth:
            shows += weight
            found += weight * (chance >= at)
        else:
            others += weight
            spared += weight * (chance < at)
    return {"sensitivity": found / shows, "specificity": spared / others}


@given(rows=answers, target=st.sampled_from([0.5, 0.8, 0.9, 1.0]), fixed=st.booleans())
def test_a_threshold_is_the_best_of_all_that_reach_the_goal(
    rows: Any, target: float, fixed: bool
) -> None:
    one = of(rows)
    goal = Goal("sensitivity" if fixed else "specificity", target)
    other = "specificity" if fixed else "sensitivity"
    every = [np.inf, *sorted(set(one.probabilities), reverse=True)]
    reach = [at for at in every if rates(one, at)[goal.fixed] >= target - 1e-9]
    best = max(rates(one, at)[other] for at in reach)
    wanted = next(at for at in reach if rates(one, at)[other] >= best - 1e-9)
    assert threshold(one, goal) == wanted


def test_a_threshold_needs_both_kinds_of_validation_images() -> None:
    assert np.isnan(threshold(asked([0.1, 0.9], [True, True]), Goal("sensitivity", 0.9)))
    nobody = (asked([0.1, 0.9], [True, True]), asked([0.1, 0.9, 0.4], [True, False, True]))
    point = operating_point(networks(nobody), Goal("specificity", 0.9), 0.1)
    assert not point["chosen"]
    assert "sensitivity" not in point


@settings(max_examples=25)
@given(rows=answers)
def test_rates_in_each_draw_are_those_of_images_repeated_as_drawn(rows: Any) -> None:
    one = of(rows)
    draws = draw(1, (int(one.group.max()) + 1,), DRAWS, 1)
    sensitivity, specificity = found_and_spared(one, one.probabilities >= 0.5, draws)
    for column in (0, 1, 7):
        times = draws.groups[one.group, column]
        repeated = replace(one, weights=one.weights * times)
        shown = (times * one.weights)[one.shows].sum(), (times * one.weights)[~one.shows].sum()
        if min(shown) > 0:
            wanted = rates(repeated, 0.5)
            assert sensitivity[column] == pytest.approx(wanted["sensitivity"])
            assert specificity[column] == pytest.approx(wanted["specificity"])


def test_each_network_is_measured_on_test_images_at_the_threshold_of_its_own_validation() -> (
    None
):
    validation = asked([0.1, 0.2, 0.6, 0.4, 0.7, 0.9], [0, 0, 0, 1, 1, 1])
    test = asked([0.3, 0.65, 0.8, 0.1, 0.75, 0.9], [0, 0, 0, 1, 1, 1])
    shy = replace(validation, probabilities=validation.probabilities / 2)
    point = operating_point(
        networks((validation, test), (shy, test)), Goal("specificity", 1.0), None
    )
    assert point["thresholds"] == [0.7, 0.35]
    # By hand: from .7 on 2 of 3 are found and 2 of 3 spared; from .35 on 2 of 3 and 1 of 3.
    assert point["sensitivity"]["value"] == pytest.approx(2 / 3, rel=1e-5)
    assert point["specificity"]["value"] == pytest.approx(1 / 2)
    assert point["validation"] == {
        "sensitivity": pytest.approx(2 / 3, rel=1e-5),
        "specificity": 1,
    }
    assert point["ppv"] is None


def test_predictive_values_are_those_of_ten_thousand_patients_counted() -> None:
    ill, well = 500, 9_500  # a prevalence of 5 %
    found, alarms = 0.8 * ill, 0.1 * well
    same = dict.fromkeys(("value", "low", "high"))
    values = predictive_values({**same, "value": 0.8}, {**same, "value": 0.9}, 0.05)
    assert values["ppv"] is not None
    assert values["npv"] is not None
    assert values["ppv"]["value"] == pytest.approx(found / (found + alarms), rel=1e-5)
    spared, missed = well - alarms, ill - found
    assert values["npv"]["value"] == pytest.approx(spared / (spared + missed), rel=1e-5)
    assert values["ppv"]["low"] is None


def test_the_calibration_error_is_that_of_bins_filled_one_by_one() -> None:
    generator = np.random.default_rng(3)
    probabilities = generator.random(60).round(2)
    one = asked(probabilities, generator.random(60) < probabilities**2, np.arange(60) // 2)
    error = 0.0
    for low in np.arange(10) / 10:
        # One on an edge lies in the bin below it; 0 lies in the first.
        inside = [
            i
            for i, chance in enumerate(probabilities)
            if round(low, 1) < chance <= round(low + 0.1, 1) or (low == 0 == chance)
        ]
        error += abs(sum(one.weights[i] * (one.shows[i] - probabilities[i]) for i in inside))
    found = calibration(networks((one, one)), 10, 0)
    assert found["error"]["value"] == pytest.approx(error / one.weights.sum(), rel=1e-5)
    gap = np.average(probabilities, weights=one.weights) - np.average(
        one.shows, weights=one.weights
    )
    assert found["gap"]["value"] == pytest.approx(gap, rel=1e-5)
    assert sum(each["n_answers"] for each in found["bins"]) == 60
    first = next(each for each in found["bins"] if each["from"] == 0.4)
    there = (probabilities > 0.4) & (probabilities <= 0.5)
    assert first["n_answers"] == there.sum()
    assert first["observed"]["value"] == pytest.approx(one.shows[there].mean(), rel=1e-5)
    assert 0.01 < found["error"]["if_perfect"] < 0.25


@settings(max_examples=25)
@given(rows=answers, at=st.sampled_from([0.1, 0.25, 0.5, 0.8]))
def test_net_benefit_is_counted_image_by_image(rows: Any, at: float) -> None:
    one = of(rows)
    n = right = wrong = common = 0.0
    for chance, truth, weight in zip(one.probabilities, one.shows, one.weights, strict=True):
        n += weight
        common += weight * truth
        right += weight * (truth and chance >= at)
        wrong += weight * (not truth and chance >= at)
    odds = at / (1 - at)
    everyone = (common - (n - common) * odds) / n
    points = {each["threshold"]: each for each in net_benefit(networks((one, one)), [at])}
    value = (right - wrong * odds) / n
    assert points[at]["value"] == pytest.approx(value, rel=1e-5, abs=1e-9)
    assert points[at]["treat_all"] == pytest.approx(everyone, rel=1e-5, abs=1e-9)
    above = value - max(0.0, everyone)
    assert points[at]["above"]["value"] == pytest.approx(above, rel=1e-5, abs=1e-9)


def both_parts(recipe: str = "dqn", seed: int = 0, skill: float = 1.5) -> pd.DataFrame:
    """Predict 48 test images in 24 groups, and as many validation images."""
    test = replicate(recipe, seed, skill, mode="full")
    validation = replicate(recipe, seed, skill, mode="full", chance=1)
    named = {
        "image_id": "v" + validation["image_id"],
        "group": "v" + validation["group"],
        "split": "validation",
    }
    return pd.concat([test, validation.assign(**named)], ignore_index=True)


def manifest_of(predictions: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """Return a manifest whose patients are the groups."""
    images = predictions.drop_duplicates("image_id")
    manifest = images[["image_id", "group"]].assign(patient=images["group"])
    test = (images["split"] == "test").to_numpy()
    for name, values in columns.items():
        manifest[name] = pd.Series(None, manifest.index, dtype=object)
        manifest.loc[test, name] = np.resize(np.asarray(values, object), test.sum())
    return manifest.reset_index(drop=True)


def ask(
    predictions: pd.DataFrame, manifest: Any = None, task: str = "diagnosis", **options: Any
) -> dict[str, Any]:
    """Ask all of one source, with so few draws that it takes no time."""
    config = EvaluateConfig(draws=DRAWS, referee={"phantom": Referee(**options)})
    manifest = manifest_of(predictions) if manifest is None else manifest
    images = Images(manifest, NO_STORE)
    return referee(predictions, labelled(predictions), images, config, "phantom", task)


def labelled(predictions: pd.DataFrame) -> pd.DataFrame:
    """Say that the labels of all validation images were there."""
    return predictions[predictions["split"] == "validation"].assign(role="validation")


@pytest.fixture(scope="module")
def predictions() -> pd.DataFrame:
    return pd.concat([both_parts(seed=seed) for seed in range(3)], ignore_index=True)


def test_aurocs_and_confusion_are_those_of_scikit_learn(predictions: pd.DataFrame) -> None:
    found = ask(predictions)
    test = predictions[predictions["split"] == "test"]
    for name in ("benign", "malignant", "normal"):
        by_seed = [
            roc_auc_score(rows["truth"] == name, rows[f"p_{name}"])
            for _, rows in test.groupby("seed")
        ]
        assert found["classes"][name]["auroc"]["value"] == pytest.approx(
            np.mean(by_seed), rel=1e-5
        )
    columns = ["p_benign", "p_malignant", "p_normal"]
    called = test[columns].idxmax(axis=1).str.removeprefix("p_")
    table = confusion_matrix(test["truth"], called).tolist()
    assert found["confusion"][""] == {
        "names": ["benign", "malignant", "normal"],
        "counts": table,
    }


def test_a_subgroup_has_the_figures_of_its_images_alone(predictions: pd.DataFrame) -> None:
    sites = ["A"] * 30 + ["B"] * 18
    found = ask(
        predictions, manifest_of(predictions, site=sites), subgroups=("site",), smallest=5
    )
    (column,) = found["subgroups"]
    test = predictions[predictions["split"] == "test"]
    ids = sorted(test["image_id"].unique())
    for name, entry in zip("AB", column["groups"], strict=True):
        own = [i for i, site in zip(ids, sites, strict=True) if site == name]
        alone = ask(predictions[~predictions["image_id"].isin(set(ids) - set(own))])
        weighed = [each["auroc"]["value"] for each in alone["classes"].values()]
        assert entry["name"] == name
        assert entry["n_images"] == len(own)
        assert entry["n_patients"] == len(own) // 2
        assert entry["figures"]["macro_auroc"]["value"] == pytest.approx(
            np.mean(weighed), rel=1e-5
        )
    worst = min(column["groups"], key=lambda one: one["figures"]["macro_auroc"]["value"])
    other = next(one for one in column["groups"] if one is not worst)
    assert column["worst"]["name"] == worst["name"]
    gap = worst["figures"]["macro_auroc"]["value"] - other["figures"]["macro_auroc"]["value"]
    assert column["worst"]["difference"]["value"] == pytest.approx(gap, abs=1e-5)
    assert column["worst"]["difference"]["low"] < gap < column["worst"]["difference"]["high"]


def test_a_subgroup_of_three_has_its_numbers_and_no_figure(predictions: pd.DataFrame) -> None:
    sites = ["A"] * 42 + ["B"] * 6
    found = ask(predictions, manifest_of(predictions, site=sites), subgroups=("site",))
    large, small = found["subgroups"][0]["groups"]
    assert (small["n_images"], small["n_patients"], small["figures"]) == (6, 3, {})
    assert large["figures"]["macro_auroc"]["value"] > 0.5
    assert found["subgroups"][0]["worst"] is None
    shown = ask(
        predictions, manifest_of(predictions, site=sites), subgroups=("site",), smallest=3
    )
    assert shown["subgroups"][0]["groups"][1]["figures"]["accuracy"]["value"] is not None


def test_groups_that_show_other_classes_are_compared_by_accuracy_alone(
    predictions: pd.DataFrame,
) -> None:
    # Truths repeat every three images: only every other image of B is malignant or normal.
    sites = np.where(np.arange(48) % 3 == 0, "A", "B")
    found = ask(predictions, manifest_of(predictions, site=sites), subgroups=("site",))
    one, other = found["subgroups"][0]["groups"]
    assert one["lacks"] == ["malignant", "normal"]
    assert other["lacks"] == ["benign"]
    assert one["figures"]["macro_auroc"]["value"] is None
    assert found["subgroups"][0]["worst"]["metric"] == "accuracy"
    assert not found["subgroups"][0]["worst"]["alike"]


def test_a_figure_that_would_rest_on_two_patients_of_a_class_is_left_out(
    predictions: pd.DataFrame,
) -> None:
    image = np.arange(48)  # truths repeat every three images; B has two of the second class
    sites = np.where((image % 3 == 1) & (image >= 6), "A", "B")
    found = ask(predictions, manifest_of(predictions, site=sites), subgroups=("site",))
    one, other = found["subgroups"][0]["groups"]
    assert one["rare"] == {}
    assert list(other["rare"].values()) == [2]
    assert list(other["figures"]) == ["accuracy"]


def test_a_class_that_some_network_was_not_tested_on_is_named() -> None:
    table = folded(dqn=1.0)
    lacking = table[(table["fold"] != 0) | (table["truth"] != "malignant")]
    found = ask(lacking)
    assert found["unmeasured"] == ["malignant"]
    assert set(found["classes"]) == {"benign", "normal"}
    assert ask(table)["unmeasured"] == []


def test_numbers_are_cut_into_bands_and_unknown_ones_are_said_to_be_so(
    predictions: pd.DataFrame,
) -> None:
    ages = ["039Y", "040Y", "059Y", "060Y", "unknown", None]
    found = ask(
        predictions,
        manifest_of(predictions, age=ages),
        subgroups=("age",),
        bands={"age": (40.0, 60.0)},
        smallest=2,
    )
    counted = {each["name"]: each["n_images"] for each in found["subgroups"][0]["groups"]}
    assert counted == {
        "below 40": 8,
        "40 to below 60": 16,
        "60 or more": 8,
        "not recorded": 16,
    }
    assert found["subgroups"][0]["worst"]["name"] != "not recorded"


def test_lesions_are_sized_by_a_disc_of_their_area_in_millimetres(
    predictions: pd.DataFrame,
) -> None:
    ids = predictions.query("split == 'test'")["image_id"].unique()
    masks = np.zeros((48, 8, 8), bool)
    masks[:24, :2, :2] = True  # 4 pixels of .25 square millimetres: 1.13 mm across
    masks[24:40] = True
    index = pd.DataFrame(
        {"image_id": ids, "has_mask": True, "spacing_y": 0.5, "spacing_x": 0.5}
    )
    store: Any = SimpleNamespace(masks=masks, index=index)
    options = Referee(subgroups=("lesion_size",), bands={"lesion_size": (1.2,)}, smallest=2)
    config = EvaluateConfig(draws=DRAWS, referee={"phantom": options})
    images = Images(manifest_of(predictions), store)
    found = referee(predictions, labelled(predictions), images, config, "phantom", "diagnosis")
    (column,) = found["subgroups"]
    assert column["title"] == "lesion size (mm)"
    counted = {each["name"]: each["n_images"] for each in column["groups"]}
    assert counted == {"below 1.2": 24, "1.2 or more": 16, "no lesion": 8}
    unstated = replace(options, bands={})
    with pytest.raises(UserError, match=r"bands\.lesion_size: missing.*1\.13 to 4\.51 mm"):
        referee(
            predictions,
            labelled(predictions),
            images,
            replace(config, referee={"phantom": unstated}),
            "phantom",
            "diagnosis",
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"subgroups": ("sitte",)},
            r"subgroups: the manifest has no column 'sitte'; did you mean",
        ),
        ({"subgroups": ("age",)}, r"subgroups: age holds 48 different values.*bands\.age"),
        ({"subgroups": ("lesion_size",)}, "needs outlines, and this source has none"),
        (
            {"prevalence": {"malign": 0.1}},
            "there is no class 'malign'; did you mean 'malignant'",
        ),
        ({"recipe": "dqm"}, r"referee\.phantom\.recipe: dqm was not run; did you mean 'dqn'"),
        ({"fraction": 0.5}, r"referee\.phantom\.fraction: 0.5 was not run"),
    ],
)
def test_what_does_not_fit_the_source_is_refused_by_its_option(
    predictions: pd.DataFrame, options: dict[str, Any], message: str
) -> None:
    manifest = manifest_of(predictions, site=["A"], age=list(range(48)))
    with pytest.raises(UserError, match=message):
        ask(predictions, manifest, **options)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"subgroups": ["patient"]}, "patient names images or persons"),
        ({"bands": {"age": [40]}}, r"bands\.age: is not among the subgroups"),
        ({"subgroups": ["age"], "bands": {"age": [60, 40]}}, r"bands\.age: should rise"),
        ({"subgroups": ["age", "age"]}, "a column appears twice"),
        ({"prevalence": {"malignant": 5}}, r"prevalence\.malignant: is 5\.0, but must"),
        ({"smalest": 3}, r"smalest: there is no such option; did you mean 'smallest'"),
    ],
)
def test_options_that_cannot_be_are_refused(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(EvaluateConfig, {"referee": {"phantom": block}}, "evaluate")


def compared() -> pd.DataFrame:
    parts = [both_parts("dqn", seed, skill=1.0) for seed in range(2)]
    parts += [both_parts("scratch", seed, skill=3.0) for seed in range(2)]
    return pd.concat(parts, ignore_index=True)


def test_the_recipe_is_the_one_that_was_named_beforehand() -> None:
    primary = Primary((("dqn", "scratch"),), "full", 1.0, date(2026, 11, 29))
    config = EvaluateConfig(draws=DRAWS, primary={"phantom": primary})
    table = compared()
    images = Images(manifest_of(table), NO_STORE)
    found = referee(table, labelled(table), images, config, "phantom", "diagnosis")
    assert (found["recipe"], found["chosen"]["rule"]) == ("dqn", "primary")
    assert found["chosen"]["options"] == []


@pytest.mark.parametrize(
    ("mode", "rule", "options"), [("probe", "option", ["mode"]), ("full", "primary", [])]
)
def test_a_mode_that_departs_from_what_was_named_beforehand_is_an_option(
    mode: Any, rule: str, options: list[str]
) -> None:
    primary = Primary((("dqn", "scratch"),), "full", 1.0, date(2026, 11, 29))
    asked = {"phantom": Referee(mode=mode)}
    config = EvaluateConfig(draws=DRAWS, primary={"phantom": primary}, referee=asked)
    table = pd.concat([compared(), compared().assign(mode="probe")], ignore_index=True)
    images = Images(manifest_of(table), NO_STORE)
    found = referee(table, labelled(table), images, config, "phantom", "diagnosis")
    assert (found["recipe"], found["mode"]) == ("dqn", mode)
    assert (found["chosen"]["rule"], found["chosen"]["options"]) == (rule, options)


def test_without_that_validation_chooses_it_and_the_test_images_do_not() -> None:
    table = compared()
    test = table["split"] == "test"
    columns = ["p_benign", "p_malignant", "p_normal"]
    shuffled = table.copy()
    better = test & (table["recipe"] == "scratch")
    # On test images the recipe that is best on validation becomes the worst.
    shuffled.loc[better, columns] = table.loc[better, columns].to_numpy()[:, [1, 2, 0]]
    before, after = ask(table), ask(shuffled)
    assert before["recipe"] == after["recipe"] == "scratch"
    assert before["chosen"] == after["chosen"]
    assert before["chosen"]["rule"] == "validation"
    for name in ("benign", "malignant", "normal"):
        points = [each["classes"][name]["operating_points"] for each in (before, after)]
        assert [one["thresholds"] for one in points[0]] == [
            one["thresholds"] for one in points[1]
        ]
        assert points[0][0]["sensitivity"] != points[1][0]["sensitivity"]


def test_a_threshold_is_chosen_by_no_more_labels_than_the_network_had(
    predictions: pd.DataFrame,
) -> None:
    known = labelled(predictions)
    few = known[known["image_id"].isin(sorted(set(known["image_id"]))[:6])]
    images, config = Images(manifest_of(predictions), NO_STORE), EvaluateConfig(draws=DRAWS)
    found = referee(predictions, few, images, config, "phantom", "diagnosis")
    # Truths repeat every three images.
    assert found["classes"]["benign"]["validation"] == {"shows": 2, "others": 4}
    none = referee(predictions, few[:0], images, config, "phantom", "diagnosis")
    assert not none["classes"]["benign"]["operating_points"][0]["chosen"]
    assert none["chosen"]["value"] is None


def test_the_most_confident_errors_are_one_a_group_and_truly_wrong() -> None:
    predictions = pd.concat([both_parts(seed=seed, skill=0.2) for seed in range(3)])
    found = ask(predictions, errors=20)["errors"]
    test = predictions[predictions["split"] == "test"]
    columns = ["p_benign", "p_malignant", "p_normal"]
    mean = test.groupby("image_id")[columns].mean()
    truth = test.groupby("image_id")["truth"].first()
    group = test.groupby("image_id")["group"].first()
    called = mean.idxmax(axis=1).str.removeprefix("p_")
    wrong = mean.max(axis=1)[called != truth].sort_values(ascending=False)
    wanted: list[str] = []
    for name in wrong.index:
        if group[name] not in {group[one] for one in wanted}:
            wanted.append(name)
    assert len(wrong) > len(wanted)  # some groups are wrong twice
    assert [one["image_id"] for one in found] == wanted[:20]
    for one in found:
        assert one["truth"] == truth[one["image_id"]]
        assert one["called"] == called[one["image_id"]] != one["truth"]
        assert one["networks"] == 3


def test_every_figure_of_the_document_is_a_row_of_the_table(predictions: pd.DataFrame) -> None:
    found = ask(
        predictions,
        manifest_of(predictions, site=["A", "A", "B", "B"]),
        subgroups=("site",),
        prevalence={"malignant": 0.05},
    )
    table = referee_table(found)
    assert tuple(table.columns) == REFEREE
    points = table[(table["part"] == "operating point") & (table["class"] == "malignant")]
    assert set(points["figure"]) == {"sensitivity", "specificity", "ppv", "npv"}
    assert len(points) == 16
    row = table[(table["part"] == "subgroup") & (table["at"] == "site: B")].iloc[0]
    entry = found["subgroups"][0]["groups"][1]
    assert row["value"] == entry["figures"]["macro_auroc"]["value"]
    assert row["n_patients"] == entry["n_patients"] == 12
    assert table[table["part"] == "confusion"]["value"].sum() == 3 * 48
    assert len(
        table[(table["part"] == "net benefit") & (table["class"] == "normal")]
    ) == 3 * len(found["classes"]["normal"]["net_benefit"])


def test_equal_predictions_give_equal_figures_in_any_order(predictions: pd.DataFrame) -> None:
    shuffled = predictions.sample(frac=1, random_state=3)
    assert ask(shuffled, manifest_of(predictions)) == ask(predictions)


def test_several_labels_are_asked_one_by_one_and_called_at_their_thresholds() -> None:
    test = predicted(skill=2.0)
    named = {"image_id": "v" + test["image_id"], "group": "v" + test["group"]}
    table = pd.concat([test, test.assign(split="validation", **named)], ignore_index=True)
    found = ask(table, task="multilabel", errors=60)
    assert set(found["classes"]) == {"ill", "obscured", "round"}
    called = test["p_round"] >= 0.7
    right = int((called & (test["truth_round"] == 1)).sum())
    assert found["confusion"]["round"]["counts"][1][1] == right
    value = roc_auc_score(test["truth_ill"], test["p_ill"])
    assert found["classes"]["ill"]["auroc"]["value"] == pytest.approx(value, rel=1e-5)
    by_id = test.set_index("image_id")
    for one in found["errors"]:
        label = one["called"].removeprefix("no ")
        row = by_id.loc[one["image_id"]]
        assert (row[f"p_{label}"] >= row[f"threshold_{label}"]) != row[f"truth_{label}"]


def test_outlines_have_subgroups_and_nothing_that_needs_a_chance() -> None:
    table = outlined(ROWS * 10)
    manifest = manifest_of(table, site=["A"] * 30 + ["B"] * 30)
    found = ask(table, manifest, task="lesion", subgroups=("site",))
    assert (found["classes"], found["confusion"], found["errors"]) == ({}, {}, [])
    groups = found["subgroups"][0]["groups"]
    assert [each["n_images"] for each in groups] == [30, 30]
    assert all(each["figures"]["lesion_dice"]["value"] is not None for each in groups)
