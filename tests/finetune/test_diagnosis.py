"""The task: classes, targets, weights."""

import numpy as np
import pandas as pd
import pytest

from maskwise.errors import UserError
from maskwise.finetune.diagnosis.task import DiagnosisConfig

# Most frequent is the last class by name: frequency order differs from index order.
INDEX = pd.DataFrame({"label_diagnosis": ["z"] * 6 + ["a"] * 3 + ["m"] * 1 + [None] * 2})
SPLITS = pd.DataFrame(columns=["image_id", "split"])


def test_classes_are_sorted_by_name_and_unlabelled_images_are_no_class() -> None:
    assert DiagnosisConfig().build(INDEX, SPLITS, "busi.finetune.task").classes == (
        "a",
        "m",
        "z",
    )


def test_class_weights_follow_the_class_index_and_not_the_frequency() -> None:
    task = DiagnosisConfig(class_weights="balanced").build(INDEX, SPLITS, "task")
    targets = task.targets(INDEX["label_diagnosis"].dropna())
    # N / (K n_c) = 10 / (3 x 3), 10 / (3 x 1), 10 / (3 x 6)
    np.testing.assert_allclose(task.weights(targets), [10 / 9, 10 / 3, 10 / 18])


def test_without_class_weights_all_weigh_the_same() -> None:
    task = DiagnosisConfig().build(INDEX, SPLITS, "task")
    np.testing.assert_array_equal(task.weights(np.array([0, 2, 2])), [1, 1, 1])


def test_a_misspelt_label_is_refused_with_the_close_match() -> None:
    with pytest.raises(
        UserError, match=r"busi.finetune.task.label: .*did you mean 'diagnosis'"
    ):
        DiagnosisConfig(label="diagnosys").build(INDEX, SPLITS, "busi.finetune.task")


def test_one_class_alone_is_no_diagnosis() -> None:
    index = pd.DataFrame({"label_diagnosis": ["benign"] * 3})
    with pytest.raises(
        UserError, match=r"has 1 class \(benign\); a diagnosis needs at least two"
    ):
        DiagnosisConfig().build(index, SPLITS, "busi.finetune.task")
