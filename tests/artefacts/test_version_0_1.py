"""Files that version 0.1 wrote are read as those of today: its fields lay flat."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskwise import load_encoder, load_model
from maskwise.artefacts.encoder import origin, read_tensors, write_encoder
from maskwise.artefacts.store import open_store
from preparations import preparation

FILES = Path(__file__).parent / "version_0_1"
PREPARATION = preparation(
    height=16,
    width=24,
    geometry={"name": "resize", "aspect": "keep", "fill": "edge"},
    intensity={"name": "window", "low": -160.0, "high": 240.0},
    mean=(0.25,),
    std=(0.5,),
    modality="ct",
)


def test_an_encoder_of_version_0_1_knows_its_preparation() -> None:
    encoder = load_encoder(FILES / "encoder.safetensors")
    assert encoder.metadata.preparation == PREPARATION
    assert (encoder.metadata.architecture, encoder.metadata.seed) == ("context_cnn", 3)
    assert origin(FILES / "encoder.safetensors") == encoder.metadata


def test_a_model_of_version_0_1_knows_its_preparation() -> None:
    model = load_model(FILES / "model.safetensors")
    assert model.metadata.encoder.preparation == PREPARATION
    assert model.metadata.classes == ("benign", "malignant")


def test_a_store_of_version_0_1_knows_its_preparation(tmp_path: Path) -> None:
    store = open_store(shutil.copytree(FILES / "store", tmp_path / "store"))
    assert store.header.preparation == PREPARATION
    assert (store.header.laterality, store.header.fold_mean) == ("fixed", ((0.2,), (0.3,)))
    assert store.for_seed(1).header.preparation.mean == (0.3,)
    expected = (np.arange(24, dtype=np.float32) / 255 - 0.25) / 0.5
    assert store.normalised(np.array([0]))[0, 0, 0] == pytest.approx(expected, abs=1e-6)


def test_what_is_written_again_has_the_layout_of_today(tmp_path: Path) -> None:
    encoder = load_encoder(FILES / "encoder.safetensors")
    write_encoder(encoder, encoder.metadata, tmp_path / "again.safetensors")
    block: Any = read_tensors(tmp_path / "again.safetensors")[1]["encoder"]
    assert "height" not in block
    assert block["preparation"]["height"] == 16
    assert load_encoder(tmp_path / "again.safetensors").metadata == encoder.metadata
