"""A model's limits on their way out of the project, and back in elsewhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maskwise import load_model
from maskwise.artefacts.encoder import read_tensors, write_tensors
from maskwise.errors import UserError
from prediction.models import CLASSIFIER, SAVED, limits, save_classifier, save_segmenter


def test_a_model_comes_back_with_its_limits(tmp_path: Path) -> None:
    written = limits(24, ("benign", "malignant"))
    path = save_classifier(CLASSIFIER, tmp_path / "m.safetensors", limits=written)
    found = load_model(path).limits
    assert written.calibration is not None
    assert found.calibration.answers == ("benign", "malignant")
    for one, other in zip(found.calibration.scores, written.calibration.scores, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found.space.held_out, written.space.held_out)
    features = np.random.default_rng(0).normal(size=(5, 24))
    np.testing.assert_allclose(
        found.space.distances(features), written.space.distances(features), rtol=1e-6
    )


def test_a_model_that_outlines_has_distances_and_no_scores(tmp_path: Path) -> None:
    path = save_segmenter(tmp_path / "m.safetensors", limits(16, ()))
    assert load_model(path).limits.calibration is None


@pytest.mark.parametrize("kind", SAVED)
def test_a_file_of_a_version_that_kept_none_is_loaded_without(
    kind: str, tmp_path: Path
) -> None:
    assert load_model(SAVED[kind](tmp_path / "m.safetensors")).limits is None


def _drop(name: str) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    return lambda tensors, blocks: tensors.pop(f"limits.{name}")


def _put(name: str, value: Any) -> Callable[[dict[str, Any], dict[str, Any]], object]:
    return lambda tensors, blocks: tensors.update({f"limits.{name}": torch.tensor(value)})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_drop("axes"), r"lack or add \['axes'\]"),
        (_put("more", [1.0]), r"lack or add \['more'\]"),
        (_put("scores.0", [0.9, 0.1]), "not in ascending order"),
        (_put("held_out", [float("nan")]), "not finite"),
        (_put("held_out", []), "rest on no held-out patient"),
        (_put("mean", [[0.0]]), "not of numbers in 1-D"),
        (_put("mean", [0.0]), "do not fit one another, or the model"),
        (_put("std", [0.0] * 24), "not positive"),
        (lambda tensors, blocks: blocks["limits"].pop("rest"), "lacks rest"),
        (lambda tensors, blocks: blocks.pop("limits"), "unexpected: limits"),
    ],
)
def test_damaged_limits_are_named(
    damage: Callable[[Any, Any], object], message: str, tmp_path: Path
) -> None:
    written = limits(24, ("benign", "malignant"))
    path = save_classifier(CLASSIFIER, tmp_path / "m.safetensors", limits=written)
    tensors, blocks = read_tensors(path)
    damage(tensors, blocks)
    write_tensors(tensors, blocks, path)
    with pytest.raises(UserError, match=message):
        load_model(path)
