"""DICOM through predict: what is no image is refused by name, and greys are a clip's own."""

import hashlib
from dataclasses import replace
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
from prediction.models import CLASSIFIER, SIDE, save_classifier, seen_by
from sources.dicom import save, slice_of
from sources.drawing import scan

ENCODER = CLASSIFIER.encoder


def test_a_scan_of_more_bits_than_the_model_was_trained_on_is_refused(tmp_path: Path) -> None:
    described = replace(CLASSIFIER, encoder=seen_by(CLASSIFIER, ranges=(255,)))
    model = save_classifier(described, tmp_path / "best.safetensors")
    save(slice_of(scan(0), BitsStored=8), tmp_path / "scans" / "8.dcm")
    twelve = slice_of(scan(1).astype(np.uint16) * 16, BitsStored=12, HighBit=11)
    save(twelve, tmp_path / "scans" / "12.dcm")
    table = predict(model, tmp_path / "scans", PredictConfig()).table
    refused = table.set_index("path")["refused"]
    assert refused["8.dcm"] == ""
    assert "holds 16 bits, but the network was trained on images of 8 bits" in refused["12.dcm"]


def test_a_scan_whose_own_modality_is_not_the_models_is_refused(tmp_path: Path) -> None:
    assert ENCODER.preparation.modality == "ultrasound"
    for said in ("US", "MR", "CR", "OT"):
        save(slice_of(scan(0), Modality=said), tmp_path / "scans" / f"{said}.dcm")
    model = save_classifier(CLASSIFIER, tmp_path / "best.safetensors")
    table = predict(model, tmp_path / "scans", PredictConfig()).table
    assert dict(zip(table["path"], table["refused"], strict=True)) == {
        "US.dcm": "",
        "MR.dcm": "the modality is mr, but the model was trained on ultrasound",
        "CR.dcm": "the modality is xray, but the model was trained on ultrasound",
        "OT.dcm": "",
    }


def test_a_model_of_no_known_modality_takes_a_scan_of_any(tmp_path: Path) -> None:
    save(slice_of(scan(0), Modality="MR"), tmp_path / "a.dcm")
    trained = replace(ENCODER.preparation, modality="other")
    assert read_scan(Way(tmp_path, trained), Scan("a.dcm", 0, None)).shape == scan(0).shape


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
