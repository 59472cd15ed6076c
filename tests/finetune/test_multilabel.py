"""Several labels per image: how cells are read, what is lost, what is chosen and told."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.metrics import f1_score, log_loss, roc_auc_score

from finetune.marks import write_marks
from finetune.patches import small_encoder
from maskwise import load_model
from maskwise.artefacts.store import Store
from maskwise.artefacts.tables import PREDICTIONS
from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.finetune.classification.probe import ProbeConfig
from maskwise.finetune.multilabel.sigmoid import Sigmoid
from maskwise.finetune.multilabel.task import Multilabel, MultilabelConfig
from maskwise.finetune.multilabel.thresholds import RULE, choose_thresholds
from maskwise.finetune.stage import (
    Budget,
    FinetuneConfig,
    Finetuned,
    FinetuneRun,
    finetune,
    parse_budget,
)

LABELS = ("left", "low", "right")
TASK = MultilabelConfig("marks", none="none")
RUN = FinetuneRun(
    budget=Budget(TASK, steps=6, batch_size=16),
    config=FinetuneConfig(probe=ProbeConfig(strengths=(0.01, 1.0), folds=3)),
    fractions=(1.0, 0.5),
    source="marks",
    recipe="scratch",
    seed=0,
)
Marks = tuple[Store, pd.DataFrame]
SIGMOID = Sigmoid()


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Marks:
    return write_marks(tmp_path_factory.mktemp("marks") / "store")


@pytest.fixture(scope="module")
def replicate(marks: Marks) -> Finetuned:
    return finetune(small_encoder(), *marks, RUN)


def table(*cells: str | None, held_out: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return an index and splits of images so labelled, of which the last are for testing."""
    ids = [f"i{i}" for i in range(len(cells))]
    split = ["train"] * (len(cells) - held_out) + ["test"] * held_out
    index = pd.DataFrame({"image_id": ids, "label_marks": pd.Series(cells, dtype=object)})
    return index, pd.DataFrame({"image_id": ids, "split": split, "fold": -1})


def build(*cells: str | None, held_out: int = 0, **options: Any) -> Multilabel:
    config = MultilabelConfig("marks", **options)
    return config.build(*table(*cells, held_out=held_out), "busi.finetune.task")


# How cells are read.


def test_labels_are_those_of_training_images_by_name_and_a_combined_cell_is_each_of_them() -> (
    None
):
    task = build("OBSCURED|ILL", "ROUND", None)
    assert task.classes == ("ILL", "OBSCURED", "ROUND")
    np.testing.assert_array_equal(task.targets(task.shown.dropna()), [[1, 1, 0], [0, 0, 1]])


def test_named_labels_keep_their_order() -> None:
    assert build("a", "b", labels=("b", "a")).classes == ("b", "a")


@pytest.mark.parametrize("cell", [None, "", " ", "|"])
def test_an_image_without_a_term_was_not_rated_and_is_absent_from_the_task(
    cell: str | None,
) -> None:
    index, splits = table("a", "b", cell, "a")
    task = MultilabelConfig("marks").build(index, splits, "task")
    rows = splits.assign(group=splits["image_id"], row=np.arange(4))
    assert list(task.labelled(index, rows)["image_id"]) == ["i0", "i1", "i3"]


def test_an_image_that_was_rated_and_shows_nothing_is_negative_for_every_label() -> None:
    task = build("a", "No Finding", "a|b", none="No Finding")
    assert task.classes == ("a", "b")
    np.testing.assert_array_equal(task.targets(task.shown), [[1, 0], [0, 0], [1, 1]])


def test_an_unknown_term_is_refused_with_the_close_match_where_labels_are_named() -> None:
    message = r"busi.finetune.task.labels: 2 images of the label 'marks' say 'OBSCURD'.*"
    with pytest.raises(UserError, match=f"{message}did you mean 'OBSCURED'"):
        build("OBSCURED", "OBSCURD", "ROUND|OBSCURD", labels=("OBSCURED", "ROUND"))


def test_a_term_that_only_test_images_show_is_warned_of_and_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    task = build("a", "b", "a|rare", held_out=1)
    assert task.classes == ("a", "b")
    np.testing.assert_array_equal(task.targets(task.shown)[2], [1, 0])
    assert "no training image shows 'rare' (1 image)" in caplog.text


@pytest.mark.parametrize(
    ("cells", "options", "message"),
    [
        (("a", "b"), {"labels": ("a", "b", "c")}, r"labels: no training image shows 'c'"),
        (("a|none", "b"), {"none": "none"}, r"none: an image is labelled 'a\|none'"),
        ((None, ""), {}, r"label: no training image of the label 'marks' names anything"),
        (("a + b", "c"), {}, r"labels: 'a \+ b' holds ' \+ '"),
    ],
)
def test_what_cannot_be_learnt_is_refused(
    cells: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=rf"busi.finetune.task.{message}"):
        build(*cells, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["a", "a"]}, "labels: a name appears twice"),
        ({"labels": ["a|b"]}, "holds the separator"),
        ({"labels": ["a"], "none": "a"}, "is one of labels as well"),
        ({"lables": ["a"]}, r"task.lables: .*'labels'"),
        ({"label": None}, r"task.label"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    block = {"task": {"name": "multilabel", "label": "marks", **options}, "steps": 1}
    with pytest.raises(UserError, match=message):
        parse_budget(block, "busi.finetune")


def test_a_misspelt_label_gets_the_close_match() -> None:
    with pytest.raises(UserError, match=r"task.label: .*did you mean 'marks'"):
        MultilabelConfig("mark").build(*table("a", "b"), "task")


def test_which_combinations_are_rare_is_told_without_the_test_part() -> None:
    learnt = ["a"] * 12 + ["b"] * 12 + ["a|b"] * 9
    strata = []
    for tested in ("a", "a|b"):
        index, splits = table(*learnt, *[tested] * 3, held_out=3)
        task = MultilabelConfig("marks").build(index, splits, "task")
        rows = splits.assign(group=splits["image_id"], row=np.arange(len(splits)))
        strata.append(list(task.labelled(index, rows)["stratum"][: len(learnt)]))
    assert strata[0] == strata[1]
    # Nine groups are too few for a stratum: they join the smaller one.
    assert set(strata[0]) == {"a", "b"}


# What is lost.


def test_a_positive_weighs_as_many_as_there_are_negatives_for_it_but_twenty_at_most() -> None:
    task = build(*(["a|c"] * 3 + ["b"] * 93 + ["b|c"] * 4))
    targets = task.targets(task.shown)
    # 97 / 3 is clipped, 3 / 97 is clipped to 1 / 20, 93 / 7.
    np.testing.assert_allclose(task.weights(targets), [20, 1 / 20, 93 / 7])
    none = replace(task, config=replace(task.config, class_weights="none"))
    np.testing.assert_array_equal(none.weights(targets), [1, 1, 1])


def test_a_lesion_with_two_margins_is_positive_for_both_in_the_loss() -> None:
    task = build("OBSCURED|ILL", "ROUND")
    targets = torch.from_numpy(task.targets(task.shown))
    logits = torch.zeros(2, 3, requires_grad=True)
    SIGMOID.loss(logits, targets, torch.ones(3)).backward()
    assert logits.grad is not None
    # Downhill is towards a label that is there, and away from one that is not.
    np.testing.assert_array_equal(logits.grad.sign(), [[-1, -1, 1], [1, 1, -1]])


def test_the_loss_of_training_is_binary_cross_entropy_with_heavier_positives() -> None:
    generator = np.random.default_rng(0)
    logits, targets = generator.normal(size=(6, 3)), generator.integers(0, 2, (6, 3))
    weights = np.array([1.0, 5.0, 20.0])
    terms = [
        -(w * t * np.log(expit(z)) + (1 - t) * np.log(1 - expit(z)))
        for row, truth in zip(logits, targets, strict=True)
        for z, t, w in zip(row, truth, weights, strict=True)
    ]
    found = SIGMOID.loss(*(torch.from_numpy(each) for each in (logits, targets, weights)))
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-5)


def test_log_loss_is_the_mean_of_scikit_learns_over_labels() -> None:
    generator = np.random.default_rng(0)
    logits, targets = (
        generator.normal(size=(40, 3)),
        generator.integers(0, 2, (40, 3)).astype(float),
    )
    each = [log_loss(targets[:, k], expit(logits[:, k])) for k in range(3)]
    assert SIGMOID.log_loss(logits, targets) == pytest.approx(np.mean(each))


def test_a_probe_is_one_logistic_regression_per_label_without_what_the_weights_add() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(80, 2))
    noisy = features @ [[1.0, -2.0], [0.5, 1.0]] + generator.normal(size=(80, 2))
    targets = (noisy > 1.5).astype(float)
    weights, strength = np.array([3.0, 7.0]), 0.1
    weight, bias = SIGMOID.solve(features, targets, weights, strength)
    for k in range(2):
        signs, each = 2 * targets[:, k] - 1, np.where(targets[:, k] > 0, weights[k], 1.0)

        def cost(x: np.ndarray, signs: np.ndarray = signs, each: np.ndarray = each) -> float:
            lost = each * np.logaddexp(0, -signs * (features @ x[:2] + x[2]))
            return float(strength * lost.sum() + x[:2] @ x[:2] / 2)

        best = minimize(cost, np.zeros(3)).x
        np.testing.assert_allclose(weight[k], best[:2], atol=2e-3)
        assert bias[k] == pytest.approx(best[2] - np.log(weights[k]), abs=2e-3)


def test_of_a_label_that_no_image_shows_the_answer_is_its_frequency_whatever_the_image() -> (
    None
):
    features, targets = np.random.default_rng(0).normal(size=(9, 2)), np.zeros((9, 1))
    weight, bias = SIGMOID.solve(features, targets, np.array([20.0]), 1.0)
    np.testing.assert_array_equal(weight, [[0, 0]])
    assert expit(bias[0]) == pytest.approx(0.5 / 10)


def test_probabilities_are_as_frequent_as_they_say_however_positives_were_weighed() -> None:
    generator = np.random.default_rng(1)
    features = generator.normal(size=(4000, 1))
    targets = (generator.random((4000, 1)) < expit(features - 3)).astype(float)
    weight, bias = SIGMOID.solve(features, targets, np.array([15.0]), 1.0)
    assert expit(features * weight[0] + bias).mean() == pytest.approx(targets.mean(), rel=0.1)


# Thresholds.


def slow_threshold(chances: list[float], truth: list[bool]) -> float:
    """Try every candidate, one after another."""
    known = sorted(set(chances))
    candidates = [0.5, *((a + b) / 2 for a, b in zip([0.0, *known], known, strict=False))]
    scored = [
        (f1_score(truth, [p >= t for p in chances]), -abs(t - 0.5), -t) for t in candidates
    ]
    best = max((round(f1, 12), near, low) for f1, near, low in scored)
    return -best[2]


@given(
    st.lists(
        st.tuples(st.integers(0, 20).map(lambda p: p / 20), st.booleans()),
        min_size=5,
        max_size=25,
    )
)
@settings(deadline=None, max_examples=80)
def test_a_threshold_has_the_highest_f1_and_of_those_is_the_nearest_to_a_half(
    images: list[tuple[float, bool]],
) -> None:
    chances, truth = map(list, zip(*images, strict=True))
    if sum(truth) < 5:
        return
    (found,) = choose_thresholds(np.array([chances]).T, np.array([truth], float).T)
    assert found == pytest.approx(slow_threshold(chances, truth))


def test_with_fewer_than_five_positives_the_threshold_is_a_half() -> None:
    chances = np.linspace(0, 0.2, 40)[:, None]
    assert choose_thresholds(chances, (chances > 0.185).astype(float)) == (0.5,)
    (chosen,) = choose_thresholds(chances, (chances > 0.17).astype(float))
    assert chosen == pytest.approx(0.17, abs=0.01)


# The stage.


def of(replicate: Finetuned, mode: str, fraction: float = 1.0) -> pd.DataFrame:
    rows = replicate.predictions
    return rows[(rows["mode"] == mode) & (rows["fraction"] == fraction)]


def test_predictions_hold_probability_truth_and_threshold_of_every_label(
    marks: Marks, replicate: Finetuned
) -> None:
    kinds = [f"{kind}_{name}" for kind in ("p", "truth", "threshold") for name in LABELS]
    assert tuple(replicate.predictions.columns) == (*PREDICTIONS, *kinds)
    cells = marks[0].index.set_index("image_id")["label_marks"]
    for _, row in of(replicate, "probe").iterrows():
        named = set(cells[row["image_id"]].split("|")) - {"none"}
        assert {name for name in LABELS if row[f"truth_{name}"] == 1} == named
        assert row["truth"] == (" + ".join(sorted(named)) or "none of them")


def test_images_that_were_not_rated_are_neither_learnt_from_nor_predicted(
    marks: Marks, replicate: Finetuned
) -> None:
    index = marks[0].index
    unrated = set(index.loc[index["label_marks"].isna(), "image_id"])
    assert unrated
    assert not unrated & set(replicate.predictions["image_id"])
    assert not unrated & set(replicate.subsets["image_id"])


def test_every_label_is_found_whatever_stands_beside_it(replicate: Finetuned) -> None:
    test = of(replicate, "probe").query("split == 'test'")
    for name in LABELS:
        assert roc_auc_score(test[f"truth_{name}"], test[f"p_{name}"]) > 0.9


def test_thresholds_are_those_of_the_validation_images_alone(replicate: Finetuned) -> None:
    for _, rows in replicate.predictions.groupby(["fraction", "mode"]):
        used = replicate.subsets.query("role == 'validation'")
        used = used[used["fraction"] == rows["fraction"].iloc[0]]
        held_out = rows[rows["image_id"].isin(used["image_id"])]
        columns = [[f"{kind}_{name}" for name in LABELS] for kind in ("p", "truth")]
        expected = choose_thresholds(*(held_out[each].to_numpy() for each in columns))
        found = rows[[f"threshold_{name}" for name in LABELS]].drop_duplicates()
        np.testing.assert_allclose(found, [expected])


def test_the_test_part_chooses_nothing(marks: Marks, tmp_path: Path) -> None:
    store, splits = marks
    run = replace(RUN, config=replace(RUN.config, keep="all"), fractions=(1.0,))
    index = store.index.copy()
    of_test = index["image_id"].isin(splits.query("split == 'test'")["image_id"])
    index.loc[of_test & index["label_marks"].notna(), "label_marks"] = "left|low|right"
    for name, given_store in (("as it is", store), ("changed", replace(store, index=index))):
        finetune(small_encoder(), given_store, splits, run).write_models(tmp_path / name)
    written = [
        json.loads((tmp_path / name / "index.json").read_text())
        for name in ("as it is", "changed")
    ]
    assert written[0] == written[1]


def test_the_model_file_knows_thresholds_and_their_rule_and_answers_as_predicted(
    marks: Marks, replicate: Finetuned, tmp_path: Path
) -> None:
    replicate.write_models(tmp_path / "models")
    model = load_model(tmp_path / "models/best.safetensors")
    metadata = model.metadata
    assert metadata.threshold_rule == RULE
    rows = of(replicate, metadata.mode).head(8)
    np.testing.assert_allclose(
        rows[[f"threshold_{name}" for name in LABELS]].to_numpy()[0], metadata.thresholds
    )
    store = marks[0].normalised_by(
        metadata.encoder.preparation.mean, metadata.encoder.preparation.std
    )
    images = torch.from_numpy(store.normalised(store.rows(rows["image_id"])))
    with torch.inference_mode():
        chances = model.probabilities(images)
    np.testing.assert_allclose(
        chances, rows[[f"p_{name}" for name in LABELS]].to_numpy(), atol=1e-5
    )


def test_the_same_run_gives_the_same_predictions_bit_for_bit(
    marks: Marks, replicate: Finetuned
) -> None:
    torch.rand(1)
    again = finetune(small_encoder(), *marks, RUN)
    pd.testing.assert_frame_equal(again.predictions, replicate.predictions, check_exact=True)


def test_subsets_keep_the_shares_of_combinations_and_are_nested(replicate: Finetuned) -> None:
    train = replicate.subsets.query("role == 'train'")
    whole, half = (train[train["fraction"] == fraction] for fraction in (1.0, 0.5))
    assert set(half["image_id"]) < set(whole["image_id"])
    assert set(half["label"]) == set(whole["label"])


def test_a_label_that_a_fraction_lacks_is_warned_of_and_answered_with_its_frequency(
    marks: Marks, caplog: pytest.LogCaptureFixture
) -> None:
    run = replace(RUN, fractions=(1.0, 0.03), config=replace(RUN.config, modes=("probe",)))
    with caplog.at_level(logging.WARNING):
        found = finetune(small_encoder(), *marks, run)
    few = found.subsets.query("role == 'train' and fraction == 0.03")["label"]
    absent = [name for name in LABELS if not few.str.contains(name).any()]
    assert absent
    for name in absent:
        assert f"0.03 of the labels: none of the {len(few)} training images show {name!r}" in (
            caplog.text
        )
        assert of(found, "probe", 0.03)[f"p_{name}"].nunique() == 1


def test_full_fine_tuning_starts_at_the_probe(marks: Marks) -> None:
    budget = replace(RUN.budget, learning_rates=(1e-9,))
    found = finetune(small_encoder(), *marks, replace(RUN, budget=budget, fractions=(1.0,)))
    columns = [f"p_{name}" for name in LABELS]
    both = [of(found, mode)[columns].to_numpy() for mode in ("full", "probe")]
    assert np.corrcoef(both[0].ravel(), both[1].ravel())[0, 1] > 0.9


@pytest.mark.parametrize("seed", [0, 1])
def test_with_folds_all_seeds_have_the_same_labels(marks: Marks, seed: int) -> None:
    store, splits = marks
    folded = splits.assign(split="train", fold=pd.factorize(splits["group"])[0] % 3)
    run = replace(
        RUN, seed=seed, fractions=(1.0,), config=replace(RUN.config, modes=("probe",))
    )
    found = finetune(small_encoder(), store, folded, run).predictions
    assert [name for name in found if name.startswith("p_")] == [f"p_{n}" for n in LABELS]


def test_a_task_s_block_becomes_its_options() -> None:
    block = {
        "task": {"name": "multilabel", "label": "margins", "labels": ["A", "B"], "none": "N"},
        "steps": 3,
    }
    task = parse(Budget, block, "busi.finetune").task
    assert task == MultilabelConfig("margins", labels=("A", "B"), none="N")
