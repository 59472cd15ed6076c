"""The pixel-facts audit: ten figures, checked by hand, and who may be asked what."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from maskwise.artefacts.store import Store, StoreHeader, open_store, writing_store
from maskwise.config import choose
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.stage import IngestConfig, ingest
from maskwise.preprocess.config import PreprocessConfig, SourcePreprocessConfig
from maskwise.preprocess.pixel_facts import audit_pixels, pixel_facts
from maskwise.preprocess.stage import preprocess
from maskwise.preprocess.summary import summarise
from preparations import preparation

SIDE = 16


def a_store(
    folder: Path, leak: bool, images: int = 240, seed: int = 0
) -> tuple[Store, pd.DataFrame]:
    """Write noise of two classes; with a leak the sick ones have a white line on top.

    Two images are of a group; half of the groups train, a quarter validates.
    """
    rng = np.random.default_rng(seed)
    pixels = rng.integers(60, 120, (images, 1, SIDE, SIDE), dtype=np.uint8)
    sick = (np.arange(images) // 2) % 2
    if leak:
        pixels[sick == 1, :, 0] = 255
    part = np.array(["train", "train", "validation", "test"])[(np.arange(images) // 4) % 4]
    index = pd.DataFrame(
        {
            "image_id": [f"i{i}" for i in range(images)],
            "group": [f"g{i // 2}" for i in range(images)],
            "has_mask": False,
            "scale": 1 / 255,
            "offset": 0.0,
            "label_d": np.where(sick, "sick", "well"),
        }
    )
    header = StoreHeader(preparation(), "free", 0.0, "hash")
    with writing_store(folder, pixels.shape, "uint8", False) as writer:
        np.load(writer.images, mmap_mode="r+")[:] = pixels
        writer.finish(index, header)
    splits = index[["image_id", "group"]].assign(split=part, fold=-1)
    return open_store(folder), splits


def framed() -> NDArray[np.float32]:
    """Return one image of 8 x 8: black, two white lines on the left, a grey pixel."""
    image = np.zeros((1, 1, 8, 8), np.float32)
    image[..., :2] = 1.0
    image[0, 0, 4, 5] = 0.5
    return image


def test_each_figure_of_a_picture_is_what_one_counts_by_hand() -> None:
    facts = pixel_facts(framed()).iloc[0]
    mean = (16 + 0.5) / 64
    assert facts["mean"] == pytest.approx(mean)
    assert facts["deviation"] == pytest.approx(np.sqrt((16 + 0.25) / 64 - mean**2))
    assert facts["white_share"] == 16 / 64
    assert facts["black_share"] == 47 / 64
    assert (facts["left_line"], facts["right_line"]) == (1, 0)
    assert (facts["top_line"], facts["bottom_line"]) == (0.25, 0.25)
    # No row is flat; columns are but for the one with the grey pixel, 5 from the left.
    assert facts["margins"] == pytest.approx(7 / 8)
    # Of 36 inner pixels: the grey one 4 x 0.5, its four neighbours 0.5 each; and 6 on either
    # side of the white border, 1 each.
    assert facts["sharpness"] == pytest.approx((2 + 2 + 12) / 36)


def test_a_line_that_tells_the_class_is_found_and_named(tmp_path: Path) -> None:
    found = audit_pixels(*a_store(tmp_path / "store", leak=True))["d"]
    assert found["low"] > 0.9
    assert {"top_line", "white_share", "margins"} <= {*found["importances"]}
    assert (found["images"], found["groups"], found["trained_on"]) == (60, 30, 120)


def test_noise_tells_nothing(tmp_path: Path) -> None:
    found = [
        audit_pixels(*a_store(tmp_path / f"{seed}", leak=False, seed=seed))["d"]
        for seed in range(8)
    ]
    assert sum(each["low"] > 0.5 for each in found) <= 1
    assert abs(np.mean([each["auroc"] for each in found]) - 0.5) < 0.07


def test_test_images_are_never_looked_at(tmp_path: Path) -> None:
    store, splits = a_store(tmp_path / "store", leak=True)
    before = audit_pixels(store, splits)
    images = np.load(store.path / "images.npy", mmap_mode="r+")
    images[(splits["split"] == "test").to_numpy()] = 0
    images.flush()
    assert audit_pixels(open_store(store.path), splits) == before
    images[(splits["split"] == "validation").to_numpy()] = 0
    images.flush()
    assert audit_pixels(open_store(store.path), splits) != before


def test_without_validation_images_of_a_class_it_says_why_there_is_no_answer(
    tmp_path: Path,
) -> None:
    store, splits = a_store(tmp_path / "store", leak=True)
    sick = (store.index["label_d"] == "sick").to_numpy()
    splits.loc[sick & (splits["split"] == "validation"), "split"] = "test"
    found = audit_pixels(store, splits)["d"]
    assert found == {"auroc": None, "why_not": "1 class lacks validation images"}


def test_a_label_that_pixels_give_away_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    summarise(*a_store(tmp_path / "store", leak=True))
    assert "alone predict d: AUROC" in caplog.text


def test_pixels_of_covid_ct_tell_its_label_from_facts_alone(
    tmp_path: Path, shared_data: Path
) -> None:
    raw = shared_data / "covid_ct"
    options: dict[str, Any] = {"name": "covid_ct", "patients": "unknown"}
    found = ingest(raw, choose(SOURCES, options, "x.ingest"), IngestConfig(), "x")
    block = SourcePreprocessConfig(height=96, width=96, modality="ct", label="diagnosis")
    made = preprocess(raw, found.manifest, block, PreprocessConfig(), "x")
    made.write_store(tmp_path / "store")
    audit = audit_pixels(open_store(tmp_path / "store"), made.splits)["diagnosis"]
    assert audit["trained_on"] == 425
    assert audit["images"] == 118
    assert audit["low"] > 0.6
