"""DICOM through predict: what is no image is refused by name, and greys are a clip's own."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from maskwise.prediction.contracts import Scan
from maskwise.prediction.reading import Way, read_scan
from maskwise.prediction.stage import PredictConfig, predict
from maskwise.preprocess.fill import Job, Task, fill_image
from maskwise.scans.pictures import read_frame
from prediction.models import CLASSIFIER, SIDE, save_classifier
from sources.dicom import save, slice_of
from sources.drawing import scan

ENCODER = CLASSIFIER.encoder


def clip() -> NDArray[np.uint8]:
    """Return ``(2, H, W, 3)`` of YBR with strong colours, beyond what RGB can show."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (2, 40, 40, 3)).astype(np.uint8)


def write_clip(file: Path) -> NDArray[np.uint8]:
    """Write the clip, and return it."""
    frames = clip()
    dataset = slice_of(frames[..., 0], PhotometricInterpretation="YBR_FULL")
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PixelData = frames.tobytes()
    save(dataset, file)
    return frames


def test_what_is_no_image_is_refused_by_what_it_is(tmp_path: Path) -> None:
    dose = UID("1.2.840.10008.5.1.4.1.1.481.2")
    others: dict[str, dict[str, Any]] = {
        "dose": {"SOPClassUID": dose},
        "seg": {"Modality": "SEG"},
        "view": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        "scan": {},
    }
    folder = tmp_path / "scans"
    for seed, (name, elements) in enumerate(others.items()):
        stack = np.stack([scan(seed), scan(seed + 9)]).astype(np.uint16)
        save(slice_of(stack, **elements), folder / f"{name}.dcm")
    model = save_classifier(CLASSIFIER, tmp_path / "best.safetensors")
    table = predict(model, folder, PredictConfig()).table.set_index("path")["refused"]
    said = {
        "dose.dcm": "RT Dose Storage",
        "seg.dcm": "a segmentation",
        "view.dcm": "a localizer",
    }
    for path, words in said.items():
        assert words in table[path]
    assert len(table) == 3 + 2


def test_a_grey_network_sees_the_luminance_that_a_clip_has_in_training_and_later(
    tmp_path: Path,
) -> None:
    frames = write_clip(tmp_path / "clip.dcm")
    trained = ENCODER.preparation
    way = Way(tmp_path, trained, "grey")
    for number, frame in enumerate(frames):
        expected = trained.intensities(frame[..., :1])
        look = read_scan(way, Scan("clip.dcm", number, None))
        assert np.array_equal(look.intensities, expected)
        stored = _stored(tmp_path, number)
        assert np.abs(stored - expected * 65535).max() <= 1


def _stored(folder: Path, number: int) -> NDArray[np.uint16]:
    """Return a frame of the clip as preprocess stores it."""
    images = folder / f"images{number}.npy"
    np.save(images, np.zeros((1, 1, SIDE, SIDE), np.uint16))
    data = read_frame(folder, "clip.dcm", number, 10**6)[0]  # as ingest hashes it
    job = Job(folder, images, None, ENCODER.preparation, 10**6)
    digest = hashlib.sha256(data).hexdigest()
    fill_image(job, Task(0, "clip.dcm", number, digest, [], False))
    return np.asarray(np.load(images)[0])
