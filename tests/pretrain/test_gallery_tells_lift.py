"""Lift is a figure that others can compute again, from the gallery and the store alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskwise.artefacts.arrays import write_arrays
from maskwise.artefacts.gallery import read_gallery
from maskwise.artefacts.store import open_store
from pretrain.toys import RANDOM_BOX, SMALL, make_run, make_store, pretrain

DQN: dict[str, Any] = {
    "objective": {"name": "context_encoder"},
    "policy": {"name": "dqn", "preset": "paper", "box": [3, 3]},
    "encoder": SMALL,
}


def slow_lifts(
    masks: np.ndarray, lesions: np.ndarray, groups: list[str]
) -> tuple[float, float]:
    """Return mask lift and content lift by loops over images, in pixels."""
    side = lesions.shape[1] // masks.shape[1]
    hidden = masks.repeat(side, axis=1).repeat(side, axis=2)
    n = len(masks)

    def lift(i: int, j: int) -> float:
        inside = (hidden[i] & lesions[j]).sum() / lesions[j].sum()
        return float(inside / hidden[i].mean())

    own = np.mean([lift(i, i) for i in range(n)])
    strangers = [lift(i, j) for i in range(n) for j in range(n) if groups[i] != groups[j]]
    return float(own), float(own - np.mean(strangers))


@pytest.mark.parametrize("block", [RANDOM_BOX, DQN], ids=["random_box", "dqn"])
def test_the_lift_of_an_epoch_follows_from_its_gallery_and_the_store(
    tmp_path: Path, block: dict[str, Any]
) -> None:
    _, splits = make_store(tmp_path / "store", number=80)
    lesions = np.load(tmp_path / "store" / "masks.npy", mmap_mode="r+")
    lesions[:] = False
    for image, (y, x) in enumerate(np.random.default_rng(0).integers(0, 22, (80, 2))):
        lesions[image, y : y + 9, x : x + 7] = True
    lesions.flush()
    store = open_store(tmp_path / "store")

    result = pretrain(store, splits, make_run(tmp_path, block, steps=40, gallery_moments=2))
    write_arrays(result.gallery, tmp_path / "gallery.npz")
    gallery = read_gallery(tmp_path / "gallery.npz")

    rows = store.rows(gallery.probe_ids)
    groups = list(store.index["group"].iloc[rows])
    assert store.masks is not None
    assert len(gallery.probe_ids) == 20  # all of validation, where the gallery draws 12
    for epoch, packed in zip(gallery.epochs, gallery.probe_masks, strict=True):
        masks = np.unpackbits(packed, axis=1)[:, : 8 * 8].reshape(-1, 8, 8).astype(bool)
        row = result.history.set_index("epoch").loc[epoch]
        lift, content_lift = slow_lifts(masks, np.asarray(store.masks[rows]), groups)
        assert (row["lift"], row["content_lift"]) == pytest.approx((lift, content_lift))
    drawn = np.unpackbits(gallery.probe_masks, axis=2)[:, :12].reshape(gallery.masks.shape)
    np.testing.assert_array_equal(drawn.astype(bool), gallery.masks)
