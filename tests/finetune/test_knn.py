"""The k-NN probe: the most similar training images vote."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from finetune.blobs import write_blobs
from finetune.marks import write_marks
from finetune.patches import small_encoder, write_patches
from maskwise.errors import UserError
from maskwise.finetune.classification.knn import KnnConfig, choose, vote
from maskwise.finetune.classification.softmax import Softmax
from maskwise.finetune.diagnosis.task import DiagnosisConfig
from maskwise.finetune.lesion.config import LesionConfig
from maskwise.finetune.multilabel.task import MultilabelConfig
from maskwise.finetune.stage import Budget, FinetuneConfig, FinetuneRun, finetune

RUN = FinetuneRun(
    budget=Budget(MultilabelConfig("marks", none="none"), steps=2),
    config=FinetuneConfig(modes=("knn",), keep="all"),
    fractions=(1.0,),
    source="marks",
    recipe="scratch",
    seed=0,
)


def problem(images: int, seed: int = 0) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(images, 3)).astype(np.float32), np.arange(images) % 3


@given(st.integers(1, 12), st.sampled_from([0.05, 0.5, 5.0]))
@settings(deadline=None, max_examples=20)
def test_votes_are_scikit_learns_with_the_same_weights(k: int, temperature: float) -> None:
    (bank, targets), (queries, _) = problem(12), problem(5, seed=1)
    model = KNeighborsClassifier(
        k, metric="cosine", weights=lambda far: np.exp((1 - far) / temperature)
    )
    expected = model.fit(bank, targets).predict_proba(queries)
    found = vote(queries, bank, np.eye(3)[targets], k, temperature)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_neighbour_counts_for_every_label_that_it_shows() -> None:
    bank = np.array([[1, 0], [0, 1]], np.float32)
    shown = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    # Similarities 1 and 0 at the temperature 1: weights e and 1.
    near, far = np.e / (np.e + 1), 1 / (np.e + 1)
    found = vote(np.array([[2, 0]], np.float32), bank, shown, 2, 1.0)
    np.testing.assert_allclose(found, [[near, near, far]])


def test_where_there_are_fewer_training_images_than_neighbours_all_vote() -> None:
    bank, targets = problem(4)
    args = (bank, bank, np.eye(3)[targets])
    np.testing.assert_array_equal(vote(*args, 20, 0.07), vote(*args, 4, 0.07))


def test_features_of_nothing_but_zeros_break_nothing() -> None:
    bank, targets = problem(6)
    found = vote(np.zeros((1, 3), np.float32), bank, np.eye(3)[targets], 2, 0.07)
    np.testing.assert_allclose(found.sum(), 1)


def test_of_several_k_held_out_images_choose() -> None:
    # Each image has one good neighbour, and many bad ones farther off.
    angles = np.concatenate([np.linspace(0, 3, 10), np.linspace(0, 3, 10) + 0.01])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    targets = np.tile(np.arange(10) % 2, 2)
    folds = [(np.arange(10), np.arange(10, 20)), (np.arange(10, 20), np.arange(10))]
    config = KnnConfig(neighbours=(10, 1), temperature=100.0)
    chosen = choose(Softmax(), [features], targets, 2, folds, [(0,)], config)
    assert chosen.strength == 1


def test_a_probe_by_neighbours_tells_labels_apart_and_writes_no_model(tmp_path: Path) -> None:
    found = finetune(small_encoder(), *write_marks(tmp_path / "store"), RUN)
    test = found.predictions.query("split == 'test'")
    assert set(test["mode"]) == {"knn"}
    assert test.query("truth_left == 1")["p_left"].mean() > 0.1 + (
        test.query("truth_left == 0")["p_left"].mean()
    )
    found.write_models(tmp_path / "models")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["index.json"]
    (entry,) = json.loads((tmp_path / "models/index.json").read_text())["models"]
    assert (entry["mode"], entry["file"], entry["neighbours"]) == ("knn", None, 20)


@pytest.mark.parametrize("architecture", ["context_cnn", "pixels"])
def test_a_diagnosis_by_neighbours_stands_beside_the_other_modes_and_changes_none(
    tmp_path: Path, architecture: str
) -> None:
    patches = write_patches(tmp_path / "store", {"a": 12, "b": 12})
    usual = replace(
        RUN, budget=Budget(DiagnosisConfig(), steps=2), config=FinetuneConfig(keep="none")
    )
    more = replace(usual, config=replace(usual.config, modes=("probe", "full", "knn")))
    without, beside = (
        finetune(small_encoder(architecture), *patches, run).predictions
        for run in (usual, more)
    )
    others = beside[beside["mode"] != "knn"].reset_index(drop=True)
    assert others.equals(without)
    votes = beside.loc[beside["mode"] == "knn", ["p_a", "p_b"]]
    np.testing.assert_allclose(votes.sum(axis=1), 1)
    assert len(votes)


def test_outlines_cannot_be_learnt_by_neighbours(tmp_path: Path) -> None:
    run = replace(RUN, budget=Budget(LesionConfig(), steps=2))
    with pytest.raises(UserError, match=r"finetune.modes: knn is no mode of the task at marks"):
        finetune(small_encoder(), *write_blobs(tmp_path / "store"), run)
