"""The stage: a manifest and its raw files in; the store and the splits out."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from maskwise.artefacts.manifest import classes_text
from maskwise.artefacts.splits import for_seed
from maskwise.artefacts.store import PLACE_COLUMNS, Store, open_store
from maskwise.errors import UserError
from maskwise.preprocess.config import PreprocessConfig, SourcePreprocessConfig
from maskwise.preprocess.fill import quantise
from maskwise.preprocess.stage import preprocess
from preparations import preparation
from preprocess.miniature import looked_at_again, pixels_of, source, write_raw

ONE = PreprocessConfig(workers=1)


def run(
    folder: Path,
    block: SourcePreprocessConfig | None = None,
    config: PreprocessConfig = ONE,
    manifest: pd.DataFrame | None = None,
) -> tuple[Store, pd.DataFrame]:
    """Preprocess ``folder/raw`` into ``folder/store``."""
    manifest = write_raw(folder / "raw") if manifest is None else manifest
    out = preprocess(folder / "raw", manifest, block or source(), config, "phantom")
    out.write_store(folder / "store")
    return open_store(folder / "store"), out.splits


def expected(i: int) -> NDArray[np.float32]:
    """Return image ``i`` as a network should see it, before its mean is taken off."""
    return preparation().intensities(pixels_of(i))


def test_the_store_holds_every_image_to_within_half_a_grey_level(tmp_path: Path) -> None:
    store, _ = run(tmp_path)
    assert store.images.dtype == np.uint8
    found = store.intensities(np.arange(24))
    error = np.abs(found - np.stack([expected(i) for i in range(24)])).max()
    assert error <= 0.5 / 255 + 1e-6
    assert store.header.largest_rounding_error == pytest.approx(error, abs=1e-7)


@pytest.mark.parametrize(
    ("channels", "windows", "message"),
    [
        (1, [[40, 400], [100, 50]], "channels is 1, but intensity.windows names 2: set"),
        (2, None, "channels is 2, which is for two windows of one image"),
    ],
)
def test_channels_and_windows_that_do_not_go_together_are_refused(
    channels: int, windows: Any, message: str
) -> None:
    intensity = None if windows is None else {"name": "windows", "windows": windows}
    with pytest.raises(ValueError, match=message):
        source(channels=channels, intensity=intensity)


def test_two_windows_are_stored_as_two_channels(tmp_path: Path) -> None:
    intensity = {"name": "windows", "windows": [[128, 256], [64, 64]]}
    block = source(
        channels=2, height=20, width=30, geometry={"name": "pad"}, intensity=intensity
    )
    store, _ = run(tmp_path, block)
    assert store.images.shape == (24, 2, 20, 30)
    assert len(store.header.preparation.mean) == 2
    expected = np.rint(np.clip((pixels_of(3) - 32.0) / 64, 0, 1) * 255)
    assert np.array_equal(store.images[3, 1], expected)


def test_eight_bit_images_that_are_not_scaled_come_through_to_the_bit(tmp_path: Path) -> None:
    block = source(height=20, width=30, geometry={"name": "pad"})
    store, _ = run(tmp_path, block)
    assert all(np.array_equal(store.images[i, 0], pixels_of(i)) for i in range(24))
    assert store.header.largest_rounding_error < 1e-6


def test_sixteen_bit_images_keep_their_levels_however_dark(tmp_path: Path) -> None:
    manifest = write_raw(tmp_path / "raw", dtype=np.uint16)
    for i in range(24):  # 12-bit images in 16-bit files
        dark = pixels_of(i, np.uint16) // 16
        Image.fromarray(dark).save(tmp_path / "raw" / f"{i:05d}.png")
    block = source(height=20, width=30, geometry={"name": "pad"})
    manifest = looked_at_again(tmp_path / "raw", manifest)
    store, _ = run(tmp_path, block, manifest=manifest)
    assert store.images.dtype == np.uint16
    levels = store.intensities(np.array([3]))[0, 0] * 65535
    assert np.array_equal(np.rint(levels), pixels_of(3, np.uint16) // 16)


def test_sixteen_bit_images_may_be_stored_in_eight(tmp_path: Path) -> None:
    manifest = write_raw(tmp_path / "raw", dtype=np.uint16)
    store, _ = run(
        tmp_path, config=PreprocessConfig(workers=1, dtype="uint8"), manifest=manifest
    )
    assert store.images.dtype == np.uint8
    # Each image's own range over 255 levels.
    assert 0 < store.header.largest_rounding_error <= 0.5 * store.index["scale"].max() + 1e-6


@given(st.integers(0, 2**32 - 1), st.sampled_from([255, 65535]), st.booleans())
@settings(deadline=None, max_examples=60)
def test_stored_integers_turn_back_into_the_intensity(
    seed: int, largest: int, fine: bool
) -> None:
    generator = np.random.default_rng(seed)
    low, span = generator.random(2)
    values = (low + (1 - low) * span * generator.random((1, 6, 6))).astype(np.float32)
    pixels, scale, offset = quantise(values, largest, fine)
    assert 0 <= pixels.min() <= pixels.max() <= largest
    assert np.abs(pixels * scale + offset - values).max() <= scale / 2 + 1e-7


def test_a_flat_image_is_stored_without_dividing_by_nothing() -> None:
    pixels, scale, offset = quantise(np.full((1, 4, 4), 0.3, np.float32), 255, spans_own=True)
    assert np.allclose(pixels * scale + offset, 0.3)


def test_masks_are_united_and_brought_to_the_images_place(tmp_path: Path) -> None:
    store, _ = run(tmp_path)
    lesion = np.zeros((20, 30), bool)
    lesion[5:15, 3:13] = lesion[5:15, 15:25] = True
    assert store.masks is not None
    assert np.array_equal(store.masks[0], preparation().mask(lesion))
    assert store.index["has_mask"].tolist() == [(i // 2) % 3 != 2 for i in range(24)]
    assert not store.masks[4:6].any()


def with_classes(raw: Path) -> pd.DataFrame:
    """Write masks of two classes side by side; return the manifest that names them."""
    manifest = write_raw(raw)
    for names in manifest["masks"]:
        for number, name in enumerate(names):
            lesion = np.asarray(Image.open(raw / name)) > 0
            Image.fromarray(lesion.astype(np.uint8) * np.uint8(number + 1)).save(raw / name)
    return manifest.assign(mask_classes=classes_text(("left", "right")))


def test_masks_of_classes_become_their_numbers(tmp_path: Path) -> None:
    block = source(height=20, width=30, geometry={"name": "pad"})
    store, _ = run(tmp_path, block, manifest=with_classes(tmp_path / "raw"))
    expected = np.zeros((20, 30), np.uint8)
    expected[5:15, 3:13], expected[5:15, 15:25] = 1, 2
    assert store.header.mask_classes == ("left", "right")
    assert store.masks is not None
    assert np.array_equal(store.masks[0], expected)
    assert not store.masks[4:6].any()


def test_with_or_without_classes_the_lesion_is_the_same(tmp_path: Path) -> None:
    classes, _ = run(tmp_path / "a", manifest=with_classes(tmp_path / "a" / "raw"))
    lesions, _ = run(tmp_path / "b")
    rows = np.arange(24)
    assert np.array_equal(classes.lesions(rows), lesions.lesions(rows))
    assert lesions.masks is not None
    assert lesions.masks.dtype == np.bool_


def test_a_class_beyond_those_that_the_manifest_names_stops_the_run(tmp_path: Path) -> None:
    manifest = with_classes(tmp_path / "raw")
    lesion = np.full((20, 30), 3, np.uint8)
    Image.fromarray(lesion).save(tmp_path / "raw" / manifest["masks"][0][0])
    with pytest.raises(UserError, match="holds the class 3; ingest could read it"):
        run(tmp_path, manifest=manifest)


def test_the_store_knows_how_large_a_stored_pixel_is_and_which_slice_it_shows(
    tmp_path: Path,
) -> None:
    manifest = write_raw(tmp_path / "raw").assign(
        width=30, height=20, spacing_y=0.5, spacing_x=0.25, spacing_z=3.0, volume="v"
    )
    manifest["slice"] = np.arange(24)
    store, _ = run(tmp_path, manifest=manifest)
    assert store.index["spacing_y"].eq(0.5 * 20 / 16).all()
    assert store.index["spacing_x"].eq(0.25 * 30 / 16).all()
    assert store.index["spacing_z"].eq(3.0).all()
    assert store.index["slice"].tolist() == list(range(24))


def test_a_store_of_images_that_lie_nowhere_has_no_column_for_it(tmp_path: Path) -> None:
    manifest = write_raw(tmp_path / "raw").assign(
        width=30, height=20, spacing_y=np.nan, spacing_x=np.nan
    )
    store, _ = run(tmp_path, manifest=manifest)
    assert not {*PLACE_COLUMNS} & {*store.index.columns}


def test_a_spacing_that_comes_to_be_known_is_no_reason_to_train_again(tmp_path: Path) -> None:
    manifest = write_raw(tmp_path / "raw")
    before, _ = run(tmp_path, manifest=manifest)
    placed = manifest.assign(width=30, height=20, spacing_y=0.5, spacing_x=0.5)
    after, _ = run(tmp_path, manifest=placed)
    assert after.header == before.header


def test_a_source_without_masks_has_a_store_without_masks(tmp_path: Path) -> None:
    manifest = write_raw(tmp_path / "raw")
    manifest["masks"] = [[] for _ in range(24)]
    store, _ = run(tmp_path, manifest=manifest)
    assert store.masks is None
    assert not store.index["has_mask"].any()


def test_a_lesion_that_the_crop_cuts_away_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = write_raw(tmp_path / "raw")
    corner = np.zeros((20, 30), np.uint8)
    corner[:2, :2] = 255
    for name in ("00000_mask.png", "00000_mask_1.png"):
        Image.fromarray(corner).save(tmp_path / "raw" / name)
    run(tmp_path, source(geometry={"name": "crop"}), manifest=manifest)
    assert "in 1 image the lesion is gone after the geometry" in caplog.text


def test_mean_and_std_are_those_of_the_training_images_alone(tmp_path: Path) -> None:
    store, splits = run(tmp_path)
    pixels = store.intensities(np.flatnonzero(splits["split"] == "train")).astype(np.float64)
    assert store.header.preparation.mean == pytest.approx([pixels.mean()], abs=1e-7)
    assert store.header.preparation.std == pytest.approx([pixels.std()], abs=1e-7)
    everything = store.intensities(np.arange(24))
    assert store.header.preparation.mean != pytest.approx([everything.mean()], abs=1e-5)


def test_with_folds_each_seed_takes_the_mean_of_its_own_training_images(
    tmp_path: Path,
) -> None:
    store, splits = run(tmp_path, source(folds=4))
    for seed in (1, 6):
        own = for_seed(splits, seed)
        pixels = store.intensities(np.flatnonzero(own["split"] == "train"))
        assert store.for_seed(seed).header.preparation.mean == pytest.approx(
            [pixels.mean()], abs=1e-6
        )


def test_a_colour_store_has_a_mean_a_channel(tmp_path: Path) -> None:
    manifest = write_raw(tmp_path / "raw")
    for i in range(24):
        colour = np.stack([pixels_of(i), pixels_of(i) // 2, 0 * pixels_of(i)], axis=2)
        Image.fromarray(colour).save(tmp_path / "raw" / f"{i:05d}.png")
    manifest = looked_at_again(tmp_path / "raw", manifest)
    store, _ = run(tmp_path, source(channels=3), manifest=manifest)
    said = store.header.preparation
    red, green, blue = said.mean
    assert green == pytest.approx(red / 2, abs=0.01)
    assert (blue, said.std[2]) == (
        0.0,
        1.0,
    )  # a channel of one level is left alone


def test_the_header_says_how_to_prepare_images_to_come(tmp_path: Path) -> None:
    said = run(tmp_path, source(modality="mr"))[0].header.preparation
    assert said.geometry == {"name": "resize", "aspect": "stretch", "fill": "black"}
    assert said.intensity == {"name": "percentile", "low": 0.5, "high": 99.5}
    image = said.intensities(pixels_of(5))
    stored = open_store(tmp_path / "store").intensities(np.array([5]))[0]
    assert np.abs(image - stored).max() <= 0.5 / 255 + 1e-6


def test_the_header_says_by_which_numbers_range_divided_the_training_images(
    tmp_path: Path,
) -> None:
    manifest = write_raw(tmp_path / "raw")
    said = run(tmp_path, manifest=manifest)[0].header
    assert said.preparation.ranges == (255,)
    splits = run(tmp_path, manifest=manifest)[1]
    for part, ranges in (("test", (255,)), ("train", (255, 65535))):
        row = int(np.flatnonzero(splits["split"] == part)[0])
        deep = pixels_of(row, np.uint16)
        Image.fromarray(deep).save(tmp_path / "raw" / f"{row:05d}.png")
        manifest = looked_at_again(tmp_path / "raw", manifest)
        assert run(tmp_path, manifest=manifest)[0].header.preparation.ranges == ranges
    folds, _ = run(tmp_path, source(folds=4), manifest=manifest)
    assert folds.for_seed(0).header.preparation.ranges == (255, 65535)


def test_the_header_names_no_pixel_type_where_none_was_divided_by(tmp_path: Path) -> None:
    store, _ = run(tmp_path, source(intensity={"name": "percentile"}))
    assert store.header.preparation.ranges == ()


def test_the_header_says_whether_left_and_right_mean_something(tmp_path: Path) -> None:
    assert run(tmp_path / "a", source())[0].header.laterality == "free"
    assert run(tmp_path / "b", source(laterality="fixed"))[0].header.laterality == "fixed"


def test_the_number_of_workers_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = write_raw(tmp_path / "raw")
    monkeypatch.setattr("maskwise.preprocess.stage.CHUNK", 5)
    run(tmp_path, config=ONE, manifest=manifest)
    alone = {p.name: p.read_bytes() for p in (tmp_path / "store").iterdir()}
    run(tmp_path, config=PreprocessConfig(workers=2), manifest=manifest)
    assert {p.name: p.read_bytes() for p in (tmp_path / "store").iterdir()} == alone


def data_hash(folder: Path, **changes: Any) -> str:
    manifest = write_raw(folder / "raw")
    if "pixel" in changes:
        image = pixels_of(7)
        image[0, 0] ^= 128
        Image.fromarray(image).save(folder / "raw" / "00007.png")
    if "mask" in changes:
        Image.fromarray(np.full((20, 30), 255, np.uint8)).save(
            folder / "raw" / "00000_mask.png"
        )
    if "label" in changes:
        manifest.loc[0, "label_diagnosis"] = "malignant"
    manifest = looked_at_again(folder / "raw", manifest)
    block = source(split_seed=1) if "split" in changes else source()
    return run(folder, block, manifest=manifest)[0].header.data_hash


def test_the_data_hash_is_the_same_for_the_same_data_only(tmp_path: Path) -> None:
    first = data_hash(tmp_path / "a")
    assert data_hash(tmp_path / "b") == first
    others = {
        data_hash(tmp_path / change, **{change: True})
        for change in ("pixel", "mask", "label", "split")
    }
    assert len(others | {first}) == 5


def test_a_source_without_labels_is_stored_all_the_same(tmp_path: Path) -> None:
    manifest = write_raw(tmp_path / "raw").drop(columns="label_diagnosis")
    store, splits = run(tmp_path, source(label=None), manifest=manifest)
    assert len(store) == 24
    assert set(splits["split"]) == {"train", "validation"}


def test_labels_of_all_kinds_go_into_the_index(tmp_path: Path) -> None:
    manifest = write_raw(tmp_path / "raw").assign(label_side="left")
    store, _ = run(tmp_path, manifest=manifest)
    assert store.index["label_diagnosis"].tolist() == manifest["label_diagnosis"].tolist()
    assert set(store.index["label_side"]) == {"left"}


def test_an_empty_manifest_is_refused(tmp_path: Path) -> None:
    manifest = write_raw(tmp_path / "raw").head(0)
    with pytest.raises(UserError, match="the manifest of phantom holds no image"):
        preprocess(tmp_path / "raw", manifest, source(), ONE, "phantom")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_image_that_vanished_since_ingest_is_named_and_the_store_stays(
    tmp_path: Path, workers: int
) -> None:
    manifest = write_raw(tmp_path / "raw")
    run(tmp_path, manifest=manifest)
    before = (tmp_path / "store" / "store.json").read_text()
    (tmp_path / "raw" / "00013.png").unlink()
    with pytest.raises(UserError, match=r"00013\.png.*folder changed: run ingest again"):
        run(tmp_path, config=PreprocessConfig(workers=workers), manifest=manifest)
    assert (tmp_path / "store" / "store.json").read_text() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw", "store"]


def test_an_image_that_is_too_large_only_for_preprocess_names_both_options(
    tmp_path: Path,
) -> None:
    manifest = write_raw(tmp_path / "raw")
    with pytest.raises(
        UserError, match=r"00000\.png.*\(too_large\); .*preprocess.max_pixels.*ingest.max_pix"
    ):
        run(tmp_path, config=PreprocessConfig(max_pixels=9), manifest=manifest)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_image_that_changed_since_ingest_is_named_and_the_store_stays(
    tmp_path: Path, workers: int
) -> None:
    manifest = write_raw(tmp_path / "raw")
    run(tmp_path, manifest=manifest)
    before = (tmp_path / "store" / "store.json").read_text()
    shutil.copy(tmp_path / "raw" / "00014.png", tmp_path / "raw" / "00013.png")
    with pytest.raises(UserError, match=r"00013\.png: the file changed.*run ingest again"):
        run(tmp_path, config=PreprocessConfig(workers=workers), manifest=manifest)
    assert (tmp_path / "store" / "store.json").read_text() == before


def test_a_mask_that_vanished_since_ingest_is_named(tmp_path: Path) -> None:
    manifest = write_raw(tmp_path / "raw")
    (tmp_path / "raw" / "00000_mask_1.png").unlink()
    with pytest.raises(UserError, match=r"00000_mask_1\.png.*run ingest again"):
        run(tmp_path, manifest=manifest)


@pytest.mark.parametrize("name", ["window", "percentile"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_without_a_mean_is_named_and_never_stored(
    tmp_path: Path, name: str, value: float
) -> None:
    manifest = write_raw(tmp_path / "raw")
    pixels = pixels_of(3).astype(np.float32)
    pixels[4, 4] = value
    manifest.loc[3, "path"] = "00003.tif"
    Image.fromarray(pixels).save(tmp_path / "raw" / "00003.tif")
    manifest = looked_at_again(tmp_path / "raw", manifest)
    block = {"name": name, "low": 0, "high": 90}
    with pytest.raises(UserError, match=r"00003\.tif: holds values .* not finite .*again"):
        run(tmp_path, source(intensity=block), manifest=manifest)
    assert not (tmp_path / "store").exists()


def test_an_image_too_large_to_decode_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"00000\.png.*max_pixels"):
        run(tmp_path, config=PreprocessConfig(workers=1, max_pixels=100))


def test_an_image_that_does_not_fit_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"00000\.png: an image of 20 x 30 pixels does not fit"):
        run(tmp_path, source(geometry={"name": "pad"}))


def test_a_disk_that_is_full_while_saving_leaves_the_previous_store(tmp_path: Path) -> None:
    disk = tmp_path / "small disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if (
        os.geteuid()
        or not shutil.which("mount")
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        pytest.skip("mounting a small disk needs root")
    try:
        manifest = write_raw(tmp_path / "raw")
        small, large = source(), source(height=128, width=128)
        preprocess(tmp_path / "raw", manifest, small, ONE, "x").write_store(disk / "store")
        before = (disk / "store" / "store.json").read_text()
        out = preprocess(tmp_path / "raw", manifest, large, ONE, "x")
        with pytest.raises(UserError, match="store: the disk is full; free some space"):
            out.write_store(disk / "store")
        assert (disk / "store" / "store.json").read_text() == before
        assert [p.name for p in disk.iterdir()] == ["store"]
        assert len(open_store(disk / "store")) == 24
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_real_ultrasound_is_stored_with_the_lesions_in_place(
    tmp_path: Path, shared_data: Path
) -> None:
    folder = shared_data / "busi" / "Dataset_BUSI_with_GT" / "benign"
    manifest = write_raw(tmp_path / "raw")
    for i in range(24):
        shutil.copy(folder / f"benign ({i + 1}).png", tmp_path / "raw" / f"{i:05d}.png")
        shutil.copy(
            folder / f"benign ({i + 1})_mask.png", tmp_path / "raw" / f"{i:05d}_mask.png"
        )
    manifest["masks"] = [[f"{i:05d}_mask.png"] for i in range(24)]
    manifest = looked_at_again(tmp_path / "raw", manifest)
    store, _ = run(tmp_path, source(height=64, width=64), manifest=manifest)
    assert store.masks is not None
    lesions = np.asarray(store.masks)
    # Benign lesions are darker than what surrounds them.
    inside, outside = store.images[:, 0][lesions].mean(), store.images[:, 0][~lesions].mean()
    assert inside < 0.75 * outside
    assert lesions.any(axis=(1, 2)).all()
