"""What is said of features while they are learnt, and that saying it changes nothing."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from maskwise.artefacts.store import Store
from maskwise.errors import UserError
from maskwise.pretrain.diagnostics import symptoms, watching
from maskwise.pretrain.diagnostics.symptoms import collapsed
from maskwise.pretrain.diagnostics.watching import Watch, by_neighbours, rank, spread
from pretrain.toys import RANDOM_BOX, SIMCLR, make_run, make_store, pretrain


def isotropic(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=1)


def rank_by_loop(vectors: Tensor) -> float:
    """Return the same from the eigenvalues of the covariance."""
    centred = (vectors - vectors.mean(0)).double()
    values = np.sqrt(np.linalg.eigvalsh((centred.T @ centred).numpy()).clip(0))
    shares = values / values.sum()
    entropy = -sum(p * math.log(p) for p in shares if p > 1e-9)
    return math.exp(entropy) / min(len(vectors) - 1, vectors.shape[1])


def test_the_rank_is_that_of_the_covariance_s_eigenvalues() -> None:
    vectors = isotropic(60, 8) * torch.linspace(0.1, 2, 8)
    assert rank(vectors) == pytest.approx(rank_by_loop(vectors), rel=1e-4)


def test_a_point_and_a_few_directions_are_told_from_a_cone_and_from_all_directions() -> None:
    every = isotropic(1024, 128)
    few = isotropic(1024, 8) @ isotropic(8, 128, seed=1)
    cone = every + 3.0
    assert spread(unit(every)) == pytest.approx(1.0, abs=0.02)
    assert rank(unit(every)) > 0.9
    assert rank(unit(few)) < symptoms.RANK
    assert rank(unit(cone)) > 0.9  # centred; a cone alone is no collapse
    assert spread(unit(cone)) < 0.5
    point = torch.ones(1024, 128) + 1e-4 * few
    assert spread(unit(point)) < symptoms.SPREAD


def history(*rows: tuple[float, float]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["projection_rank", "projection_spread"])


def test_features_have_collapsed_when_they_are_narrow_twice_in_a_row() -> None:
    nothing = (math.nan, math.nan)
    assert collapsed(history((0.5, 1.0), (0.05, 0.1), nothing, (0.05, 0.1)))
    assert not collapsed(history((0.05, 0.1), (0.05, 0.3)))  # a few directions, far apart
    assert not collapsed(history((0.5, 0.1), (0.5, 0.1)))  # a cone
    assert not collapsed(history((0.05, 0.1)))
    assert not collapsed(pd.DataFrame({"loss": [1.0]}))


def test_neighbours_tell_labels_and_every_class_counts_alike() -> None:
    known = torch.cat(
        [torch.tensor([[1.0, 0.0]]).expand(12, 2), torch.eye(2)[1:].expand(12, 2)]
    )
    labels = np.array(["a"] * 12 + ["b"] * 12)
    asked = torch.eye(2)[[0, 0, 0, 1, 0]]
    truth = np.array(["a", "a", "a", "b", "b"])
    assert by_neighbours(known, labels, asked, truth) == pytest.approx((1.0 + 0.5) / 2)


def test_images_without_a_label_neither_tell_nor_are_asked() -> None:
    known, asked = torch.eye(2)[[0, 1, 1]], torch.eye(2)[[0, 1]]
    labels, truth = np.array(["a", "b", ""]), np.array(["a", ""])
    assert by_neighbours(known, labels, asked, truth) == 1.0


def labelled(store: Store) -> Store:
    """Give every image a label that its pixels do not show."""
    store.index["label_kind"] = ["a", "b"] * (len(store) // 2)
    return store


def test_a_run_logs_its_features_at_the_moments_asked_for(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    run = make_run(tmp_path, SIMCLR, watches=2)
    measured = pretrain(labelled(store), splits, run).history
    for name in (
        "knn_kind",
        "knn_dice",
        "feature_rank",
        "projection_rank",
        "projection_spread",
    ):
        assert measured[name].notna().tolist() == [True, False, True], name
        assert measured[name].dropna().between(0, 2).all()


def test_an_objective_without_a_projector_is_watched_too(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    measured = pretrain(store, splits, make_run(tmp_path, RANDOM_BOX)).history
    assert "feature_rank" in measured
    assert "projection_rank" not in measured


@pytest.mark.parametrize("block", [SIMCLR, RANDOM_BOX], ids=["simclr", "random_box"])
def test_watching_changes_nothing_of_the_run(block: dict[str, Any], tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    weights = [
        pretrain(labelled(store), splits, make_run(tmp_path / str(n), block, watches=n))
        for n in (0, 3)
    ]
    first, second = (each.encoder.state_dict() for each in weights)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert weights[0].history["loss"].equals(weights[1].history["loss"])


def test_where_no_validation_image_is_outlined_there_is_no_dice(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    unseen = splits.loc[splits["split"] == "validation", "image_id"]
    store.index.loc[store.index["image_id"].isin(unseen), "has_mask"] = False
    measured = pretrain(store, splits, make_run(tmp_path, SIMCLR)).history
    assert "knn_dice" not in measured
    assert measured["feature_rank"].notna().any()


def test_a_run_that_stops_on_collapse_looks_after_every_epoch_or_is_refused(
    tmp_path: Path,
) -> None:
    store, splits = make_store(tmp_path / "store")
    run = make_run(tmp_path, SIMCLR, watches=1, on_collapse="stop")
    assert pretrain(store, splits, run).history["projection_rank"].notna().all()
    with pytest.raises(ValueError, match="with watches: 0 nothing looks"):
        make_run(tmp_path, SIMCLR, watches=0, on_collapse="stop")


def test_no_test_image_is_looked_at(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    watch = Watch.build(labelled(store), splits, seed=0)
    looked = {store.index["image_id"][row] for row in (*watch.training, *watch.validation)}
    assert looked == set(splits.loc[splits["split"] != "test", "image_id"])


def test_a_collapsed_network_stops_the_run_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watching, "rank", lambda vectors: 0.01)
    monkeypatch.setattr(watching, "spread", lambda vectors: 0.01)
    store, splits = make_store(tmp_path / "store")
    pretrain(store, splits, make_run(tmp_path / "warned", SIMCLR))
    assert "features collapsed" in caplog.text
    with pytest.raises(UserError, match=r"features collapsed.*\(epoch 2; pretrain.on_collapse"):
        pretrain(store, splits, make_run(tmp_path / "stopped", SIMCLR, on_collapse="stop"))
