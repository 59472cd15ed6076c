"""With folds each seed learns from training images of its own, and is normalised by them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from maskwise.artefacts.splits import for_seed
from maskwise.artefacts.store import Store
from maskwise.pretrain.replicate import Pretrained
from pretrain.toys import RANDOM_BOX, make_run, make_store, pretrain

FOLDS = 3


@pytest.fixture
def folded(tmp_path: Path) -> tuple[Store, pd.DataFrame]:
    """A store whose groups, of two images each, are dealt to three folds in turn."""
    store, splits = make_store(tmp_path / "store")
    fold = np.arange(len(splits)) // 2 % FOLDS
    means = tuple((0.4 + 0.1 * seed,) for seed in range(FOLDS))
    header = replace(store.header, fold_mean=means, fold_std=((0.25,),) * FOLDS)
    return replace(store, header=header), splits.assign(fold=fold)


@pytest.mark.parametrize("seed", range(FOLDS))
def test_nothing_outside_a_seed_s_own_training_images_is_learnt_from(
    folded: tuple[Store, pd.DataFrame], tmp_path: Path, seed: int
) -> None:
    store, splits = folded
    own = for_seed(splits, seed)

    def trained(folder: str, blackened: list[str]) -> Pretrained:
        images = np.array(store.images)
        images[store.rows(own.loc[own["split"].isin(blackened), "image_id"])] = 0
        run = make_run(tmp_path / folder, RANDOM_BOX, seed=seed)
        return pretrain(replace(store, images=images), splits, run)

    as_it_is = trained("a", []).encoder.state_dict()
    others = trained("b", ["validation", "test"]).encoder.state_dict()
    itself = trained("c", ["train"]).encoder.state_dict()
    assert all(torch.equal(tensor, others[name]) for name, tensor in as_it_is.items())
    assert not all(torch.equal(tensor, itself[name]) for name, tensor in as_it_is.items())


def test_each_seed_is_normalised_by_its_own_training_images(
    folded: tuple[Store, pd.DataFrame], tmp_path: Path
) -> None:
    store, splits = folded
    means = store.header.fold_mean
    results = [
        pretrain(store, splits, make_run(tmp_path / str(seed), RANDOM_BOX, seed=seed))
        for seed in (0, 2, 4)
    ]
    assert [result.metadata.preparation.mean for result in results] == [
        means[0],
        means[2],
        means[1],
    ]
