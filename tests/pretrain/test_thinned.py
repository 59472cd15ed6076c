"""Images that look like a neighbouring slice are left out of pre-training."""

from pathlib import Path

import numpy as np
import pytest

from maskwise.artefacts.splits import THINNED
from pretrain.toys import RANDOM_BOX, make_run, make_store, pretrain


def test_images_that_were_thinned_out_are_never_drawn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store, splits = make_store(tmp_path / "store")
    trains = (splits["split"] == "train").to_numpy()
    all_of_them = int(trains.sum())
    pretrain(store, splits, make_run(tmp_path / "all", RANDOM_BOX))
    assert f"drawn from {all_of_them}." in caplog.text
    gone = np.zeros(len(splits), bool)
    gone[np.flatnonzero(trains)[:3]] = True
    pretrain(store, splits.assign(**{THINNED: gone}), make_run(tmp_path / "thin", RANDOM_BOX))
    assert f"drawn from {all_of_them - 3}." in caplog.text
