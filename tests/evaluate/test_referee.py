"""What a referee is answered about a source: the document, its subgroups, its choices."""

from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score

from evaluate.test_evaluate import folded, replicate
from evaluate.test_lesion_scores import ROWS, outlined
from evaluate.test_multilabel_scores import predicted
from maskwise.artefacts.tables import REFEREE
from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.evaluate.config import EvaluateConfig, Primary
from maskwise.evaluate.referee.config import Referee
from maskwise.evaluate.referee.stage import Images, referee
from maskwise.evaluate.referee.table import referee_table

DRAWS = 199
NO_STORE: Any = SimpleNamespace(masks=None)


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
