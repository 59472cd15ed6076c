"""A trained model that tells any number of labels, over scans that nobody labelled."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from maskwise import predict as predict_in_a_script
from maskwise.prediction.stage import PredictConfig, predict
from prediction.models import MULTILABEL, save_multilabel

CHANCES = [f"p_{name}" for name in MULTILABEL.classes]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_multilabel(tmp_path / "best.safetensors")


def test_every_label_has_a_probability_of_its_own_and_is_called_from_its_threshold_on(
    model: Path, scans: Path
) -> None:
    table = predict(model, scans, PredictConfig()).table
    assert (np.abs(table[CHANCES].sum(axis=1) - 1) > 0.01).any()
    called = table[CHANCES].to_numpy() >= np.array(MULTILABEL.thresholds)
    np.testing.assert_array_equal(table[[f"called_{n}" for n in MULTILABEL.classes]], called)
    for prediction, calls in zip(table["prediction"], called, strict=True):
        names = [n for n, yes in zip(MULTILABEL.classes, calls, strict=True) if yes]
        assert prediction == (" + ".join(names) or "none of them")


def test_a_scan_of_which_no_label_is_called_has_a_prediction_all_the_same(
    scans: Path, tmp_path: Path
) -> None:
    never = replace(MULTILABEL, thresholds=(1.0, 1.0, 1.0))
    table = predict(
        save_multilabel(tmp_path / "never.safetensors", never), scans, PredictConfig()
    ).table
    assert set(table["prediction"]) == {"none of them"}


def test_the_page_says_from_where_on_a_label_is_called_and_how_that_was_chosen(
    model: Path, scans: Path
) -> None:
    page = predict(model, scans, PredictConfig()).page
    assert "30 % (ill-defined), 50 % (obscured), 70 % (round)." in page
    assert MULTILABEL.threshold_rule in page
    assert "do not add to 100 %" in page
    assert ", called</span>" in page


def test_the_page_counts_a_scan_for_every_label_that_is_called(
    model: Path, scans: Path
) -> None:
    result = predict(model, scans, PredictConfig())
    for name in MULTILABEL.classes:
        assert f"{name} ({int(result.table[f'called_{name}'].sum())})" in result.page


def test_a_script_gets_the_same_table(model: Path, scans: Path) -> None:
    pd.testing.assert_frame_equal(
        predict_in_a_script(scans, model), predict(model, scans, PredictConfig()).table
    )
