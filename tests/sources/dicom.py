"""DICOM in miniature: slices and series of a patient whose name must not leak."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from sources.drawing import scan

NAME, ID = "Dumbledore^Albus", "PGBM-003"


def slice_of(pixels: NDArray[Any], **elements: Any) -> pydicom.Dataset:
    """Return a grey image with the given elements; ``pixels`` ``(H, W)`` or ``(N, H, W)``."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.4")
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    dataset.PatientName, dataset.PatientID = NAME, ID
    dataset.SeriesInstanceUID = "1.2.3.4"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def compressed(
    pixels: NDArray[Any], pictures: Sequence[bytes | bytearray], syntax: str, **elements: Any
) -> pydicom.Dataset:
    """Return an image whose frames are ``pictures``; ``pixels`` say its size and bits.

    Of pixels ``(H, W, 3)`` the elements must say which colours they are.
    """
    grey = pixels[..., 0] if pixels.shape[-1] == 3 else pixels
    dataset = slice_of(grey, **elements)
    if len(pictures) > 1:
        dataset.NumberOfFrames = len(pictures)
    if grey is not pixels:
        dataset.SamplesPerPixel = 3
        dataset.PlanarConfiguration = elements.get("PlanarConfiguration", 0)
    dataset.PixelData = encapsulate([bytes(picture) for picture in pictures])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset


def save(dataset: pydicom.Dataset, path: Path) -> Path:
    """Save a dataset as a file; what it holds need not make sense."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path, positions: list[float], uid: str = "1.2.3.4", **elements: Any
) -> list[Path]:
    """Write a slice at each of ``positions`` (mm along a normal that is 10 degrees oblique).

    File names are the numbers of ``positions`` from 0 on, whatever their order; slice i shows
    ``scan(i)``. Returns the files.
    """
    angle = np.deg2rad(10)
    down = [0.0, float(np.cos(angle)), float(np.sin(angle))]
    normal = np.array([0.0, -np.sin(angle), np.cos(angle)])
    files = []
    for number, position in enumerate(positions):
        corner = np.array([-40.0, -30.0, 12.0]) + position * normal
        dataset = slice_of(
            scan(number).astype(np.uint16),
            ImageOrientationPatient=[1, 0, 0, *down],
            ImagePositionPatient=[round(float(part), 6) for part in corner],
            PixelSpacing=[1.5, 1.25],
            SliceThickness="5",
            SeriesInstanceUID=uid,
            **elements,
        )
        files.append(save(dataset, folder / f"{number:03d}.dcm"))
    return files
