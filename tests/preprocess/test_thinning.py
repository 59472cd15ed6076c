"""Thinning: which slices pre-training leaves out, and which it never may."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskwise.artefacts.splits import THINNED, for_seed, learnt_from
from maskwise.artefacts.store import open_store
from maskwise.config import choose, parse
from maskwise.errors import UserError
from maskwise.ingest.sources import SOURCES
from maskwise.ingest.stage import IngestConfig, ingest
from maskwise.preprocess.config import PreprocessConfig, SourcePreprocessConfig
from maskwise.preprocess.stage import preprocess
from maskwise.preprocess.summary import summarise
from maskwise.preprocess.thinning import ThinConfig, thinned
from preprocess.miniature import manifest_of
from sources.drawing import scan
from sources.volume import write as write_volume


def slices(bits: list[int], series: list[str], **columns: Any) -> pd.DataFrame:
    """Return slices whose hashes have so many bits set, from the first on."""
    table = manifest_of(series, [None] * len(bits), volume=series, **columns)
    return table.assign(dhash=[f"{(1 << number) - 1:016x}" for number in bits])


def split(manifest: pd.DataFrame, parts: str | list[str] = "train") -> pd.DataFrame:
    return manifest[["image_id", "group"]].assign(split=parts, fold=-1)


def gone(manifest: pd.DataFrame, splits: pd.DataFrame, **options: Any) -> list[bool]:
    return list(thinned(manifest, splits, ThinConfig(**options), "x.preprocess"))


def test_the_first_is_kept_and_all_near_it_go_and_so_on_with_the_rest() -> None:
    manifest = slices([0, 6, 7, 13, 14, 40], ["a"] * 6)
    # 6 is near 0; 7 is kept, and 13 is near it; 14 is not.
    assert gone(manifest, split(manifest)) == [False, True, False, True, False, False]
    assert gone(manifest, split(manifest), distance=0) == [False] * 6
    assert gone(manifest, split(manifest), distance=7)[:4] == [False, True, True, False]


def test_slices_of_two_series_never_stand_for_each_other() -> None:
    manifest = slices([0, 0, 0, 0], ["a", "b", "a", "b"])
    assert gone(manifest, split(manifest)) == [False, False, True, True]


def test_only_training_images_go_and_they_are_held_against_training_images_alone() -> None:
    manifest = slices([0] * 6, ["a"] * 6)
    parts = ["test", "train", "train", "validation", "validation", "test"]
    assert gone(manifest, split(manifest, parts)) == [False, False, True, False, False, False]


@given(st.lists(st.integers(0, 64), min_size=1, max_size=40), st.integers(0, 16))
@settings(max_examples=60, deadline=None)
def test_whatever_goes_is_near_one_that_is_kept_and_those_kept_are_far_apart(
    bits: list[int], distance: int
) -> None:
    manifest = slices(bits, ["a"] * len(bits))
    left = ~np.array(gone(manifest, split(manifest), distance=distance))
    kept = np.array(bits)[left]
    assert all(np.abs(kept - number).min() <= distance for number in bits)
    assert all(
        abs(int(one) - int(other)) > distance
        for place, one in enumerate(kept)
        for other in kept[place + 1 :]
    )


def test_with_folds_an_image_is_left_out_only_while_it_trains() -> None:
    manifest = slices([0] * 6, ["a", "a", "b", "b", "c", "c"])
    splits = split(manifest).assign(fold=[0, 0, 1, 1, 2, 2])
    splits[THINNED] = gone(manifest, splits)
    for seed in range(3):
        own = for_seed(splits, seed)
        assert len(learnt_from(own, ["train"])) == 1
        assert len(learnt_from(own, ["test"])) == 2


def test_without_volumes_it_is_refused_and_groups_are_offered() -> None:
    manifest = slices([0, 0], ["a", "a"]).drop(columns="volume")
    with pytest.raises(UserError, match=r"thin\.within: is 'series', but no image says"):
        gone(manifest, split(manifest))
    assert gone(manifest, split(manifest), within="group") == [False, True]


def test_a_distance_that_makes_no_sense_is_refused() -> None:
    block = {"height": 32, "width": 32, "thin": {"distance": 40}}
    with pytest.raises(UserError, match=r"thin\.distance.*between 0 and 16"):
        parse(SourcePreprocessConfig, block, "x.preprocess")


def preprocessed(
    raw: Path, folder: Path, source_block: dict[str, Any], **options: Any
) -> dict[str, Any]:
    """Ingest and preprocess volumes with thinning; return the summary."""
    source = choose(SOURCES, source_block, "x.ingest")
    found = ingest(raw, source, IngestConfig(), "x")
    block = SourcePreprocessConfig(
        height=32, width=32, modality="mr", thin=ThinConfig(**options)
    )
    made = preprocess(raw, found.manifest, block, PreprocessConfig(workers=1), "x")
    made.write_store(folder / "store")
    store = open_store(folder / "store")
    assert len(store) == len(made.splits) == len(found.manifest)  # nothing is lost
    return summarise(store, made.splits)


def test_the_summary_counts_what_pre_training_leaves_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for number in range(8):
        # Of 12 axial slices four are the same, and so are the next four, and the last.
        different = [scan(10 * number + place, 16, 16) for place in range(3)]
        volume = np.stack(different, axis=2).astype(np.int16)
        write_volume(tmp_path / "raw" / f"{number}.nii", np.repeat(volume, 4, axis=2))
    block = {"name": "image_folder", "layout": "flat"}
    thinning = preprocessed(tmp_path / "raw", tmp_path, block)["thinning"]
    volumes = thinning["images"] // 12
    assert thinning == {"removed": 9 * volumes, "images": 12 * volumes}
    assert f"pre-training leaves out {9 * volumes} images" in caplog.text


def test_neighbouring_slices_of_real_volumes_are_thinned(
    tmp_path: Path, shared_data: Path
) -> None:
    raw = shared_data / "dicom-nifti-samples" / "Task04_Hippocampus"
    thinning = preprocessed(raw, tmp_path, {"name": "decathlon"})["thinning"]
    assert 0.05 < thinning["removed"] / thinning["images"] < 0.9
