"""What ingest says of values that floating point can hold and no scanner measures."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from maskwise.config import choose
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.stage import IngestConfig, Ingested, ingest
from sources.volume import write

SHAPE = (12, 14, 2)


def run(raw: Path) -> Ingested:
    """Ingest a flat folder, whatever is refused."""
    block = {"name": "image_folder", "layout": "flat", "duplicate_distance": 0}
    source = choose(SOURCES, block, "t.ingest")
    return ingest(raw, source, IngestConfig(max_reject_share=1.0, workers=1), "t")


def noise() -> NDArray[np.float64]:
    """Return voxels in [-1, 1]."""
    return np.random.default_rng(0).uniform(-1, 1, SHAPE)


@pytest.mark.parametrize(
    "voxels",
    [
        pytest.param(1.7e308 * noise(), id="a range that overflows"),
        pytest.param(np.full(SHAPE, 1.7e308), id="a mean that overflows"),
        pytest.param(1e200 * noise(), id="a deviation that overflows"),
    ],
)
def test_a_volume_whose_values_have_no_mean_is_damaged_and_costs_no_other(
    tmp_path: Path, voxels: NDArray[np.float64]
) -> None:
    write(tmp_path / "good.nii", noise())
    write(tmp_path / "huge.nii", voxels)
    result = run(tmp_path)
    assert set(result.manifest["path"]) == {"good.nii"}
    assert set(result.rejects["reason"]) == {"damaged"}
    assert result.rejects["detail"].str.contains("beyond what float32 can hold").all()


def test_every_number_of_float32_is_a_value(tmp_path: Path) -> None:
    voxels = noise()
    voxels[0, :2] = np.array([[-1], [1]]) * np.finfo(np.float32).max
    write(tmp_path / "a.nii", voxels.astype(np.float32))
    manifest = run(tmp_path).manifest
    assert len(manifest) == 2
    assert np.isfinite(manifest[["intensity_mean", "intensity_std"]]).all(axis=None)
