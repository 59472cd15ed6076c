"""Whatever the file: a script prepares an image to what the store holds of it."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import maskwise
from finetune.patches import small_encoder
from maskwise.artefacts.store import Store, open_store
from maskwise.encoders.contract import Encoder
from maskwise.preprocess.config import PreprocessConfig
from maskwise.preprocess.stage import preprocess
from maskwise.scans.pictures import MAX_PIXELS, read_frame
from preprocess.miniature import manifest_of, source
from sources.dicom import save, slice_of
from sources.medmnist import write as write_archive
from sources.volume import write as write_volume

PADDING = -2000


def noise(*shape: int, most: int = 256, dtype: Any = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(sum(shape)).integers(0, most, shape).astype(dtype)


def write_picture(path: Path, pixels: NDArray[Any]) -> None:
    Image.fromarray(pixels).save(path)


def write_ct(path: Path) -> None:
    """Write Hounsfield units in a round field of view, with padding outside."""
    y, x = np.ogrid[-20:20, -26:26]
    stored = noise(40, 52, most=1400, dtype=np.int16)
    stored[y**2 + x**2 > 19**2] = PADDING
    elements = {"PixelPaddingValue": PADDING, "RescaleSlope": 1, "RescaleIntercept": -1024}
    save(slice_of(stored, Modality="CT", **elements), path)


def write_ultrasound(path: Path) -> None:
    frames = noise(2, 40, 44, 3)
    dataset = slice_of(frames[..., 0], PhotometricInterpretation="YBR_FULL", Modality="US")
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PixelData = frames.tobytes()
    save(dataset, path)


FILES: dict[str, Callable[[Path], object]] = {
    "grey.png": lambda path: write_picture(path, noise(37, 50)),
    "colour.png": lambda path: write_picture(path, noise(37, 41, 3)),
    "photograph.jpg": lambda path: write_picture(path, noise(33, 44)),
    "eight.tif": lambda path: write_picture(path, noise(35, 60)),
    "sixteen.tif": lambda path: write_picture(path, noise(36, 52, most=4096, dtype=np.uint16)),
    "ct.dcm": write_ct,
    "clip.dcm": write_ultrasound,
    "mr.nii.gz": lambda path: write_volume(path, noise(34, 38, 3, most=900, dtype=np.int16)),
    "breastmnist.npz": lambda path: write_archive(path.parent),
}
"""Of every kind of source one."""
FRAMES = {"clip.dcm": 1, "mr.nii.gz": 2, "breastmnist.npz": 13}
"""Others than the first."""
SIGNED = ("ct.dcm", "mr.nii.gz")
"""Not for intensity `range`, which needs unsigned integers."""

INTENSITIES: dict[str, dict[str, Any]] = {
    "range": {},
    "window": {"low": -100, "high": 300},
    "windows": {"windows": [[100, 400]]},
    "percentile": {"low": 1, "high": 98},
}
GEOMETRIES: dict[str, dict[str, Any]] = {
    "resize": {"aspect": "keep", "fill": "edge"},
    "crop": {},
    "pad": {"larger": "crop"},
}


def make_store(folder: Path, names: list[str], **options: Any) -> Store:
    """Write the files, and preprocess them."""
    raw = folder / "raw"
    raw.mkdir()
    for name in names:
        FILES[name](raw / name)
    frames = [FRAMES.get(name, 0) for name in names]
    rows = zip(names, frames, strict=True)
    hashed = [read_frame(raw, name, frame, MAX_PIXELS)[0] for name, frame in rows]
    manifest = manifest_of(names, [None] * len(names), path=names, frame=frames, bits=16)
    sizes = [
        maskwise.read(raw / name, frame).shape
        for name, frame in zip(names, frames, strict=True)
    ]
    manifest["height"], manifest["width"] = ([size[axis] for size in sizes] for axis in (0, 1))
    manifest["sha256"] = [hashlib.sha256(data).hexdigest() for data in hashed]
    block = source(label=None, **options)
    done = preprocess(raw, pd.DataFrame(manifest), block, PreprocessConfig(workers=1), "x")
    done.write_store(folder / "store")
    return open_store(folder / "store")


def encoder_of(store: Store) -> Encoder:
    seen = store.header.preparation
    encoder = small_encoder(channels=seen.channels)
    encoder.metadata = replace(encoder.metadata, preparation=seen)
    return encoder


def differences(store: Store, folder: Path, names: list[str]) -> dict[str, float]:
    """Return how far each image that a script prepares lies from the store's, in [0, 1]."""
    encoder, grey = encoder_of(store), store.header.preparation.channels == 1
    std = np.array(store.header.preparation.std, np.float32)[:, None, None]
    found = {}
    for row, name in enumerate(names):
        image = maskwise.read(folder / "raw" / name, FRAMES.get(name, 0), grey=grey)
        prepared = encoder.prepare(image)[0].numpy()
        found[name] = float(
            np.abs((prepared - store.normalised(np.array([row]))[0]) * std).max()
        )
    return found


@pytest.mark.parametrize("intensity", INTENSITIES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_an_image_is_prepared_to_what_the_store_holds_of_it_but_for_rounding(
    tmp_path: Path, intensity: str, geometry: str
) -> None:
    names = [name for name in FILES if intensity != "range" or name not in SIGNED]
    store = make_store(
        tmp_path,
        names,
        intensity={"name": intensity, **INTENSITIES[intensity]},
        geometry={"name": geometry, **GEOMETRIES[geometry]},
    )
    assert store.images.std(axis=(1, 2, 3)).min() > 0
    rounding = store.header.largest_rounding_error
    assert 0 < rounding < 1e-4
    found = differences(store, tmp_path, names)
    assert max(found.values()) <= rounding + 1e-6, found


@pytest.mark.parametrize("fine", [2, 4])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_an_image_that_is_kept_finer_is_prepared_to_the_mean_of_what_is_kept(
    tmp_path: Path, fine: int, geometry: str
) -> None:
    names = ["grey.png", "eight.tif", "photograph.jpg"]
    block = {"name": geometry, **GEOMETRIES[geometry]}
    store = make_store(tmp_path, names, fine=fine, geometry=block)
    seen = store.header.preparation
    assert store.images.shape[2:] == (seen.height * fine, seen.width * fine)
    # Of 33 to 60 pixels a side each file has 2 * 16, and none has 4 * 16; padded, none is more.
    enough = store.index["detail"] >= fine
    assert enough.tolist() == [fine == 2 or geometry == "pad"] * 3
    found = differences(store, tmp_path, names)
    assert max(found.values()) <= store.header.largest_rounding_error + 1e-6, found
    rows = np.arange(len(names))
    kept, images = store.fine_normalised(rows), store.normalised(rows)
    for i in range(seen.height):
        for j in range(seen.width):
            block_of = kept[:, :, fine * i : fine * (i + 1), fine * j : fine * (j + 1)]
            assert np.allclose(images[:, :, i, j], block_of.mean((2, 3)), atol=1e-5)
    # Deviations are of what a network sees, those of noise that is kept finer are larger.
    assert 0.75 < float(images.std()) < 1.25 < float(kept.std()) or geometry == "pad"


def test_of_colour_all_three_channels_are_the_same_as_well(tmp_path: Path) -> None:
    names = ["colour.png", "grey.png", "clip.dcm", "photograph.jpg"]
    store = make_store(tmp_path, names, channels=3)
    found = differences(store, tmp_path, names)
    assert max(found.values()) <= store.header.largest_rounding_error + 1e-6, found


def test_padding_is_masked_by_reading_and_black_to_the_network(tmp_path: Path) -> None:
    names = ["ct.dcm", "grey.png", "eight.tif", "sixteen.tif"]
    store = make_store(tmp_path, names, intensity={"name": "percentile"})
    image = maskwise.read(tmp_path / "raw" / "ct.dcm")
    assert isinstance(image, np.ma.MaskedArray)
    masked = np.ma.getmaskarray(image)
    assert masked[0, 0]
    assert not masked[20, 26]
    assert image.min() >= -1024
    pixels = encoder_of(store).prepare(image)[0, 0]
    seen = store.header.preparation
    black = (0 - np.float32(seen.mean[0])) / np.float32(seen.std[0])
    assert pixels[0, 0] == torch.tensor(black)
