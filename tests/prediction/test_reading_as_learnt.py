"""A model's file says how its images were read, and `predict` reads scans in the same way."""

import hashlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from maskwise.artefacts.manifest import READING, REGION, reading_text, region_text
from maskwise.artefacts.store import Store, open_store
from maskwise.errors import UserError
from maskwise.prediction.stage import PredictConfig, predict
from maskwise.preprocess.config import PreprocessConfig
from maskwise.preprocess.stage import preprocess
from maskwise.scans.one import read
from maskwise.scans.pictures import MAX_PIXELS, read_frame
from maskwise.scans.reading import DEFAULT, Reading, choices_for_images
from maskwise.scans.region import Region
from prediction.models import CLASSIFIER, save_classifier, seen_by
from preprocess.miniature import source, write_raw
from sources.films import film

CROPPED: dict[str, Any] = {"breast": "crop", "chest_wall": "left"}


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Return a folder of two films, a right breast and a left one."""
    folder = tmp_path / "films"
    folder.mkdir()
    for name, on_left in (("right", False), ("left", True)):
        Image.fromarray(film(on_left=on_left)).save(folder / f"{name}.png")
    return folder


def model_of(path: Path, reading: dict[str, Any], parts: bool = False) -> Path:
    seen = seen_by(CLASSIFIER, reading=reading, parts=parts)
    return save_classifier(replace(CLASSIFIER, encoder=seen), path)


def store_of(
    folder: Path, region: Region | None = None, reading: Reading | None = None
) -> Store:
    manifest = write_raw(folder / "raw", 6)
    if reading is not None:
        manifest[READING] = reading_text(reading)
    if region is not None:
        cut = [
            read_frame(folder / "raw", path, 0, MAX_PIXELS, DEFAULT, region)[0]
            for path in manifest["path"]
        ]
        manifest["sha256"] = [hashlib.sha256(each).hexdigest() for each in cut]
        manifest[REGION] = region_text(region)
    done = preprocess(
        folder / "raw", manifest, source(label=None), PreprocessConfig(workers=1), "x"
    )
    done.write_store(folder / "store")
    return open_store(folder / "store")


def test_a_store_says_how_its_images_were_read_and_nothing_of_masks(tmp_path: Path) -> None:
    reading = Reading(alpha="white", mask_threshold="any")
    store = store_of(tmp_path, reading=reading)
    assert store.header.preparation.reading == {"alpha": "white"}
    assert not store.header.preparation.parts
    assert store_of(tmp_path / "other").header.preparation.reading == {}


def test_a_store_of_parts_of_scans_says_so(tmp_path: Path) -> None:
    store = store_of(tmp_path, Region(0, 0, 12, 12))
    assert store.header.preparation.parts


@pytest.mark.parametrize("option", [name for name in asdict(DEFAULT) if "mask" not in name])
def test_every_choice_about_images_is_kept(option: str) -> None:
    changed: dict[str, Any] = {option: "other"}
    assert choices_for_images(replace(DEFAULT, **changed)) == {option: "other"}


def test_scans_are_read_as_the_model_s_images_were(films: Path, tmp_path: Path) -> None:
    told = model_of(tmp_path / "told.safetensors", CROPPED)
    untold = model_of(tmp_path / "untold.safetensors", {})
    cut = tmp_path / "cut"
    cut.mkdir()
    for name in ("left", "right"):
        values = read(films / f"{name}.png", reading=CROPPED)
        # What is no breast was not measured: it is as black as this file has it.
        pixels = np.ma.filled(values, 0).astype(np.uint8)
        Image.fromarray(pixels).save(cut / f"{name}.png")
    found = predict(told, films, PredictConfig()).table.set_index("path")["p_benign"]
    wanted = predict(untold, cut, PredictConfig()).table.set_index("path")["p_benign"]
    whole = predict(untold, films, PredictConfig()).table.set_index("path")["p_benign"]
    pd.testing.assert_series_equal(found, wanted, atol=1e-6)
    assert (found - whole).abs().min() > 1e-3


def test_a_reading_that_would_make_scans_look_otherwise_is_refused(
    films: Path, tmp_path: Path
) -> None:
    model = model_of(tmp_path / "m.safetensors", CROPPED)
    whole = PredictConfig(reading=Reading(nan="background"))
    with pytest.raises(UserError, match=r"predict\.reading\.breast: is keep.* read with crop"):
        predict(model, films, whole)
    same = PredictConfig(reading=Reading(nan="background", **CROPPED))
    assert len(predict(model, films, same).table) == 2


def test_a_model_of_parts_says_that_it_knows_no_whole_scan(films: Path, tmp_path: Path) -> None:
    for parts in (True, False):
        page = predict(
            model_of(tmp_path / "m.safetensors", {}, parts), films, PredictConfig()
        ).page
        assert ("learnt from parts of scans" in page) == parts
