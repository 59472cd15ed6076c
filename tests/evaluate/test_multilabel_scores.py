"""Several labels per image: each scored by itself, and means of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from evaluate.test_evaluate import subsets_of
from maskwise.array_types import Floats
from maskwise.artefacts.tables import PREDICTIONS
from maskwise.errors import UserError
from maskwise.evaluate.stage import EvaluateConfig, Evaluated, evaluate
from maskwise.evaluate.tasks.multilabel import of_label
from maskwise.pipelines.evaluate import headline

LABELS = ("ill", "obscured", "round")
QUICK = EvaluateConfig(draws=199)
EVERY_IMAGE = EvaluateConfig(draws=199, weigh="image")


def predicted(
    recipe: str = "scratch",
    seed: int = 0,
    skill: float = 1.0,
    images: int = 60,
    truth: Floats | None = None,
) -> pd.DataFrame:
    """Predict three labels of test images, the better the greater ``skill``."""
    generator = np.random.default_rng([seed, len(recipe)])
    if truth is None:
        truth = (np.random.default_rng(7).random((images, 3)) < [0.5, 0.3, 0.2]).astype(float)
    logits = skill * (2 * truth - 1) + generator.normal(size=truth.shape)
    table = pd.DataFrame(
        {
            "source": "films",
            "recipe": recipe,
            "seed": seed,
            "fraction": 1.0,
            "mode": "probe",
            "image_id": [f"i{n:05d}" for n in range(len(truth))],
            "group": [f"g{n // 2:05d}" for n in range(len(truth))],
            "split": "test",
            "fold": -1,
            "truth": [named(row) for row in truth],
        }
    )
    assert tuple(table.columns) == PREDICTIONS
    values = {"p": 1 / (1 + np.exp(-logits)), "truth": truth}
    for kind, array in values.items():
        table[[f"{kind}_{name}" for name in LABELS]] = array
    return table.assign(threshold_ill=0.4, threshold_obscured=0.5, threshold_round=0.7)


def named(row: Floats) -> str:
    shown = [name for name, there in zip(LABELS, row, strict=True) if there]
    return " + ".join(shown) or "none of them"


def scored(table: pd.DataFrame, config: EvaluateConfig = QUICK) -> Evaluated:
    return evaluate(table, subsets_of(table), config, "films", "multilabel")


def values(result: Evaluated, recipe: str = "scratch") -> dict[str, float]:
    found = result.scores["scores"][recipe]["probe"]["1.0"]
    return {metric: figures["value"] for metric, figures in found.items()}


def by_scikit_learn(table: pd.DataFrame, labels: Sequence[str] = LABELS) -> dict[str, float]:
    truth = table[[f"truth_{name}" for name in labels]].to_numpy()
    chances = table[[f"p_{name}" for name in labels]].to_numpy()
    called = chances >= table[[f"threshold_{name}" for name in labels]].to_numpy()
    found = {
        "macro_auroc": sk.roc_auc_score(truth, chances, average="macro"),
        "macro_average_precision": sk.average_precision_score(truth, chances, average="macro"),
        "macro_f1": sk.f1_score(truth, called, average="macro"),
        "micro_auroc": sk.roc_auc_score(truth, chances, average="micro"),
        "micro_average_precision": sk.average_precision_score(truth, chances, average="micro"),
    }
    for k, name in enumerate(labels):
        found[f"auroc_{name}"] = sk.roc_auc_score(truth[:, k], chances[:, k])
        found[f"average_precision_{name}"] = sk.average_precision_score(
            truth[:, k], chances[:, k]
        )
        found[f"f1_{name}"] = sk.f1_score(truth[:, k], called[:, k])
    return found


def test_every_figure_is_scikit_learns_mean_over_the_seeds() -> None:
    table = pd.concat([predicted(seed=seed) for seed in range(3)])
    each = [by_scikit_learn(rows) for _, rows in table.groupby("seed")]
    found = values(scored(table, EVERY_IMAGE))
    assert set(found) == set(each[0])
    for metric, value in found.items():
        assert value == pytest.approx(np.mean([one[metric] for one in each]), abs=1e-5)


@st.composite
def _weighted(draw: st.DrawFn) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_], Any]:
    n = draw(st.integers(2, 12))
    columns = [
        draw(st.lists(each, min_size=n, max_size=n))
        for each in (st.integers(1, 4), st.booleans(), st.booleans())
    ]
    weights = draw(st.lists(st.lists(st.integers(0, 3), min_size=n, max_size=n), min_size=1))
    chances, truth, called = (np.array(column) for column in columns)
    return chances / 4, truth, called, np.array(weights, float).T


@given(_weighted())
@settings(deadline=None, max_examples=60)
def test_a_draw_is_scikit_learns_of_the_images_repeated(
    given_images: tuple[Floats, NDArray[np.bool_], NDArray[np.bool_], Any],
) -> None:
    chances, truth, called, weights = given_images
    found = of_label(chances, truth, called, weights)
    for draw in range(weights.shape[1]):
        rows = np.repeat(np.arange(len(truth)), weights[:, draw].astype(int))
        if len(set(truth[rows])) < 2:
            assert np.isnan(found[:, draw]).all()
            continue
        expected = (
            sk.roc_auc_score(truth[rows], chances[rows]),
            sk.average_precision_score(truth[rows], chances[rows]),
            sk.f1_score(truth[rows], called[rows]),
        )
        np.testing.assert_allclose(found[:, draw], expected)


def test_a_lesion_with_two_margins_counts_as_positive_for_both() -> None:
    truth = np.zeros((8, 3))
    truth[0] = [1, 1, 0]
    truth[1] = [0, 0, 1]
    table = predicted(truth=truth)
    table[[f"p_{name}" for name in LABELS]] = truth * 0.9
    result = scored(table)
    # Were the combined lesion negative for one of them, that label would have no positive.
    assert result.scores["scored"] == list(LABELS)
    assert all(value == 1 for value in values(result).values())
    assert result.scores["classes"]["ill"] == {"n_images": 1, "n_groups": 1}
    assert result.scores["classes"]["obscured"] == {"n_images": 1, "n_groups": 1}


def test_a_probability_that_is_the_threshold_is_a_call() -> None:
    truth = np.zeros((8, 3))
    truth[:4] = 1
    table = predicted(truth=truth)
    for name in LABELS:
        # Half of the images that show it lie at the threshold, and the others below.
        table[f"p_{name}"] = [0.5, 0.5, 0.4, 0.4, 0.1, 0.1, 0.1, 0.1]
        table[f"threshold_{name}"] = 0.5
    # 2 TP / (2 TP + FP + FN) = 4 / (4 + 0 + 2)
    assert values(scored(table, EVERY_IMAGE))["macro_f1"] == pytest.approx(2 / 3, abs=1e-5)


def test_labels_that_all_or_no_test_images_show_are_in_no_mean_and_named() -> None:
    truth = (np.random.default_rng(0).random((40, 3)) < 0.4).astype(float)
    truth[:, 1] = 0
    table = predicted(truth=truth)
    result = scored(table, EVERY_IMAGE)
    for metric, value in by_scikit_learn(table, ("ill", "round")).items():
        assert values(result)[metric] == pytest.approx(value, abs=1e-5)
    assert "auroc_obscured" not in values(result)
    assert any("Not scored, " in note and "obscured" in note for note in result.scores["notes"])
    assert any("No test image shows obscured" in note for note in result.scores["notes"])


def test_an_interval_of_a_rare_label_is_wider_and_none_leaves_the_possible_values() -> None:
    table = pd.concat([predicted(seed=seed, skill=0.7, images=200) for seed in range(3)])
    found = scored(table).scores["scores"]["scratch"]["probe"]["1.0"]
    width = {
        name: found[f"auroc_{name}"]["high"] - found[f"auroc_{name}"]["low"] for name in LABELS
    }
    assert width["round"] > width["ill"]
    for figures in found.values():
        assert 0 <= figures["low"] <= figures["value"] <= figures["high"] <= 1


def test_one_seed_gives_intervals_of_test_images_alone_and_no_p() -> None:
    table = pd.concat([predicted("scratch"), predicted("dqn", skill=2.0)])
    result = scored(table)
    assert result.scores["covers"] == "test images only"
    assert result.paired["p"].isna().all()
    assert result.scores["scores"]["dqn"]["probe"]["1.0"]["macro_auroc"]["seeds_low"] is None


def test_folds_are_scored_by_themselves_and_a_label_must_be_in_each() -> None:
    parts = []
    for fold in range(3):
        table = predicted(seed=fold)
        own = table["group"].str[1:].astype(int) % 3 == fold
        parts.append(table[own].assign(fold=fold))
    table = pd.concat(parts)
    table.loc[table["fold"] == 1, "truth_round"] = 0.0
    shown = table[[f"truth_{name}" for name in LABELS]].to_numpy()
    table["truth"] = [named(row) for row in shown]
    result = scored(table, EVERY_IMAGE)
    assert result.scores["n_folds"] == 3
    assert result.scores["scored"] == ["ill", "obscured"]
    each = [by_scikit_learn(rows, ("ill", "obscured")) for _, rows in table.groupby("fold")]
    assert values(result)["macro_auroc"] == pytest.approx(
        np.mean([one["macro_auroc"] for one in each]), abs=1e-5
    )


def test_duplicated_test_images_count_once() -> None:
    table = predicted()
    table["group"] = table["image_id"]
    first = table[table["image_id"] < "i00010"]
    copies = [first.assign(image_id=first["image_id"] + f"-{n}") for n in range(5)]
    assert values(scored(pd.concat([table, *copies]))) == values(scored(table))


def test_a_metric_over_labels_rests_on_the_rarest_and_one_of_a_label_on_that() -> None:
    truth = np.zeros((40, 3))
    truth[:20, 0], truth[10:30, 1], truth[:4, 2] = 1, 1, 1
    narrow, wide = (
        scored(predicted(truth=truth[:, order]), QUICK).scores["scores"]["scratch"]["probe"][
            "1.0"
        ]
        for order in ([0, 1, 1], [0, 1, 2])
    )
    gaps = [one["macro_auroc"]["high"] - one["macro_auroc"]["low"] for one in (narrow, wide)]
    assert gaps[1] > gaps[0]


@pytest.mark.parametrize(
    "wrong",
    [{"p_ill": 1.2}, {"p_ill": np.nan}, {"truth_ill": 0.5}, {"threshold_round": np.nan}],
)
def test_impossible_predictions_are_refused_by_image(wrong: dict[str, float]) -> None:
    table = predicted()
    for column, value in wrong.items():
        table.loc[4, column] = value
    with pytest.raises(UserError, match=r"scratch seed 0 .*image i00004: a probability or"):
        scored(table)


def test_a_missing_column_and_another_task_are_named() -> None:
    with pytest.raises(UserError, match="the columns p_round are missing"):
        scored(predicted().drop(columns="p_round"))
    table = predicted().drop(columns=[f"threshold_{name}" for name in LABELS])
    with pytest.raises(UserError, match=r"no column threshold_.*of the task multilabel"):
        scored(table)


def test_networks_that_give_all_images_one_answer_are_told() -> None:
    table = predicted()
    table[[f"threshold_{name}" for name in LABELS]] = 1.0
    (stuck,) = scored(table).scores["stuck"]
    assert stuck["what"] == "100% of the test images were called none of them"


def test_dvc_shows_the_macro_auroc_first() -> None:
    assert list(headline(scored(predicted()).scores)) == ["macro_auroc", "test"]
