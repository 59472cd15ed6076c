"""Speed of ingest of NIfTI volumes and DICOM series, as a share of a bare loop.

The bare loop reads with nibabel and pydicom, slices, and computes of each slice the SHA-256 of
its bytes (of DICOM the file's), that of its pixels and the perceptual hash, and counts the
lesion's pixels; in as many spawned processes (or, with one worker, in none), a volume at a
time, or as many files as ingest takes at once. It turns nothing round, checks nothing and keeps
nothing. Both run by turns, in changing order; printed are the medians of the ratios of
neighbouring runs: of the reading alone, and of the whole stage (listing, groups, figure).
Aim: at least 0.7.

The volumes are smooth noise of 16 bits, compressed (`.nii.gz`) with their labels, and the same
as series of uncompressed DICOM files.

    python benchmarks/ingest_volumes.py [--rounds 20] [--volumes 40] [--side 128] [--slices 48]
        [--workers 2]
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import imagehash
import nibabel as nib
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from scipy.ndimage import gaussian_filter

from maskwise.ingest.sources.decathlon import DecathlonConfig
from maskwise.ingest.sources.image_folder import ImageFolderConfig
from maskwise.ingest.stage import CHUNK, IngestConfig, ingest
from turns import ingest_speed, machine


def voxels(seed: int, side: int, slices: int) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Return a volume and its labels 0, 1, 2."""
    noise = np.random.default_rng(seed).standard_normal((side, side, slices))
    smooth = gaussian_filter(noise, 3)
    smooth = 2000 * (smooth - smooth.min()) / np.ptp(smooth)
    volume = (smooth + 20 * noise + 100).astype(np.int16)
    labels = (smooth > 1300).astype(np.uint8) + (smooth > 1500).astype(np.uint8)
    return volume, labels


def write_task(raw: Path, volumes: int, side: int, slices: int) -> None:
    """Write a task of the Decathlon."""
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    training = []
    for number in range(volumes):
        name = f"v_{number:03d}.nii.gz"
        for folder, array in zip(
            ("imagesTr", "labelsTr"), voxels(number, side, slices), strict=True
        ):
            nib.save(nib.Nifti1Image(array, np.diag([1.0, 1.0, 3.0, 1.0])), raw / folder / name)
        training.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    description = {
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "a", "2": "b"},
        "training": training,
        "test": [],
    }
    (raw / "dataset.json").write_text(json.dumps(description), encoding="utf-8")


def write_series(raw: Path, volumes: int, side: int, slices: int) -> None:
    """Write each volume as a series of files, one folder per series."""
    for number in range(volumes):
        folder = raw / f"series {number:03d}"
        folder.mkdir(parents=True)
        volume = voxels(number, side, slices)[0]
        for k in range(slices):
            write_slice(
                folder / f"{k:03d}.dcm", volume[..., k].T.copy(), f"1.2.{number}", 3.0 * k
            )


def write_slice(path: Path, pixels: NDArray[np.int16], uid: str, position: float) -> None:
    """Write one slice that lies at ``position`` mm."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.4")
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.PatientID = dataset.SeriesInstanceUID = uid
    dataset.ImagePositionPatient = [0, 0, position]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [1, 1]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.add_new("PixelData", "OW", pixels.tobytes())
    dataset.save_as(path, enforce_file_format=True)


def hash_slice(data: bytes, pixels: NDArray[Any]) -> None:
    """Compute what ingest computes of a slice."""
    hashlib.sha256(data).hexdigest()
    hashlib.sha256(pixels.tobytes()).hexdigest()
    values = pixels.astype(np.float64)
    low, high = values.min(), values.max()
    grey = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
    str(imagehash.phash(Image.fromarray(grey.round().astype(np.uint8))))


def read_volumes(paths: Sequence[Path]) -> None:
    """Slice and hash; the loop that somebody in a hurry would write."""
    for path in paths:
        volume = np.asarray(nib.Nifti1Image.from_filename(path).dataobj)
        label = path.parent.parent / "labelsTr" / path.name
        labels = np.asarray(nib.Nifti1Image.from_filename(label).dataobj)
        for k in range(volume.shape[2]):
            hash_slice(volume[..., k].tobytes(), volume[..., k])
            np.count_nonzero(labels[..., k])


def read_series(paths: Sequence[Path]) -> None:
    """The same for DICOM files."""
    for path in paths:
        hash_slice(path.read_bytes(), pydicom.dcmread(path).pixel_array)


def bare_loop(
    read: Callable[[Sequence[Path]], None], paths: list[Path], size: int, workers: int
) -> None:
    """Spread ``read`` over processes, ``size`` files at a time."""
    chunks = [paths[start : start + size] for start in range(0, len(paths), size)]
    if workers == 1:
        list(map(read, chunks))
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        list(pool.map(read, chunks))


def main() -> None:
    """Print the ratios and the machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--volumes", type=int, default=40)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--slices", type=int, default=48)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    images = options.volumes * options.slices
    shape = (options.volumes, options.side, options.slices)
    config = IngestConfig(workers=options.workers)
    print(f"{machine()}; nibabel {nib.__version__}, pydicom {pydicom.__version__}")
    print(
        f"{options.volumes} volumes of {options.side} x {options.side} x {options.slices}, "
        f"{options.workers} workers"
    )
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "task"
        write_task(raw, *shape)
        paths = sorted((raw / "imagesTr").iterdir())
        size = max(1, CHUNK // options.slices)
        loop = partial(bare_loop, read_volumes, paths, size, options.workers)
        stage = partial(ingest, raw, DecathlonConfig(), config, "volumes")
        ingest_speed("NIfTI", stage, loop, images, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "series"
        write_series(raw, *shape)
        paths = sorted(raw.glob("*/*.dcm"))
        loop = partial(bare_loop, read_series, paths, CHUNK, options.workers)
        source = ImageFolderConfig(layout="flat", modality="mr", duplicate_distance=0)
        stage = partial(ingest, raw, source, config, "volumes")
        ingest_speed("DICOM", stage, loop, images, options.rounds)


if __name__ == "__main__":
    main()
