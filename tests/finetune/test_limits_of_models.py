"""What finetune writes of a model's limits rests on validation images alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.patches import small_encoder, write_patches
from finetune.test_stage import GROUPS, RUN
from maskwise.artefacts.model import load_model
from maskwise.artefacts.store import Store
from maskwise.encoders.classifier import Classifier
from maskwise.finetune.stage import Finetuned, finetune


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Finetuned, Path]:
    folder = tmp_path_factory.mktemp("limits")
    store, splits = write_patches(folder / "store", GROUPS)
    run = replace(RUN, config=replace(RUN.config, keep="all"))
    found = finetune(small_encoder(), store, splits, run)
    found.write_models(folder / "models")
    return store, found, folder / "models"


@pytest.mark.parametrize("mode", ["probe", "full"])
@pytest.mark.parametrize("fraction", [1.0, 0.25])
def test_a_model_keeps_what_its_own_validation_patients_scored(
    mode: str, fraction: float, written: tuple[Store, Finetuned, Path]
) -> None:
    _, found, folder = written
    calibration = load_model(folder / f"{mode}_{fraction:g}.safetensors").limits.calibration
    used = found.subsets.query("role == 'validation' and fraction == @fraction")
    rows = found.predictions.query("mode == @mode and fraction == @fraction")
    rows = rows[rows["image_id"].isin(used["image_id"])]
    assert calibration.answers == ("a", "b", "c")
    for name, scores in zip(calibration.answers, calibration.scores, strict=True):
        own = rows[rows["truth"] == name]
        expected = [1 - part[f"p_{name}"].min() for _, part in own.groupby("group")]
        np.testing.assert_allclose(scores, sorted(expected))


@pytest.mark.parametrize("mode", ["probe", "full"])
def test_a_model_keeps_how_far_its_validation_patients_lie(
    mode: str, written: tuple[Store, Finetuned, Path]
) -> None:
    store, found, folder = written
    model = load_model(folder / f"{mode}_1.safetensors")
    assert isinstance(model, Classifier)
    used = found.subsets.query("role == 'validation' and fraction == 1")
    seen = model.metadata.encoder.preparation
    images = store.normalised_by(seen.mean, seen.std).normalised(store.rows(used["image_id"]))
    with torch.inference_mode():
        distances = model.limits.space.distances(model.pooled(torch.from_numpy(images)).numpy())
    farthest = [distances[used["group"] == name].max() for name in used["group"].unique()]
    np.testing.assert_allclose(model.limits.space.held_out, sorted(farthest), rtol=1e-4)


def test_the_test_part_decides_no_limit(
    written: tuple[Store, Finetuned, Path], tmp_path: Path
) -> None:
    store, _, folder = written
    _, splits = write_patches(tmp_path / "same", GROUPS)
    index = store.index.copy()
    tested = index["image_id"].isin(splits.query("split == 'test'")["image_id"])
    index.loc[tested, "label_diagnosis"] = "a"
    changed = replace(store, index=index)
    run = replace(RUN, config=replace(RUN.config, keep="all"))
    finetune(small_encoder(), changed, splits, run).write_models(tmp_path / "models")
    for name in ("probe_1", "full_0.25"):
        one, other = (
            load_model(each / f"{name}.safetensors").limits
            for each in (folder, tmp_path / "models")
        )
        np.testing.assert_array_equal(one.space.held_out, other.space.held_out)
        for mine, theirs in zip(one.calibration.scores, other.calibration.scores, strict=True):
            np.testing.assert_array_equal(mine, theirs)
