"""Decode, prepare and store the images: worker processes write into the mapped store."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwise.errors import UserError
from maskwise.scans.decode import check_values
from maskwise.scans.images import classes_to_network, mask_to_network, to_network
from maskwise.scans.raw import read_classes, read_frame, read_grey, read_mask
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import RejectedError
from maskwise.workers import map_chunks

CHUNK = 64
"""Images a task."""
DEATH = (
    "preprocess: a worker process was killed, perhaps for want of memory; the previous store "
    "is unchanged. Run it again with fewer processes: set `preprocess.workers: 1`"
)


@dataclass(frozen=True)
class Job:
    """What is the same for all images of a store."""

    raw: Path
    images: Path
    """``images.npy``, to be filled."""
    masks: Path | None
    """``masks.npy``, to be filled."""
    geometry: dict[str, Any]
    intensity: dict[str, Any]
    channels: int
    height: int
    width: int
    max_pixels: int
    classes: int = 0
    """Of the masks, where they are of several; 0 = a lesion or none."""
    reading: Reading = DEFAULT
    """As ingest read them."""


@dataclass(frozen=True)
class Task:
    """A run of rows."""

    first: int
    paths: list[str]
    frames: list[int]
    sha256: list[str]
    """Of the bytes that ingest read."""
    masks: list[list[str]]
    fine: list[bool]
    """More than 8 bits: the stored integers then span just the image's own intensities."""


@dataclass(frozen=True)
class Filled:
    """What a task says of its n images; their pixels are in the store."""

    scale: NDArray[np.float64]
    """``(n,)``."""
    offset: NDArray[np.float64]
    """``(n,)``."""
    sums: NDArray[np.float64]
    """``(n, C)``, mean of the stored intensities a channel."""
    squares: NDArray[np.float64]
    """``(n, C)``, mean of their squares."""
    rounding_error: float
    """Largest, of an intensity in [0, 1]."""
    lost_lesions: int
    """Masks with a lesion that is no longer in the image."""
    digests: bytes
    """32 bytes an image, of its pixels and its mask."""


def fill(job: Job, tasks: Iterable[Task], workers: int) -> Iterator[Filled]:
    """Do all tasks in so many processes; yield the answers in the tasks' order.

    Raises:
        UserError: naming the image that could not be read, or saying that a worker was killed.
    """
    return map_chunks(partial(fill_task, job), tasks, workers, DEATH)


def fill_task(job: Job, task: Task) -> Filled:
    """Store the task's images and masks."""
    images = np.load(job.images, mmap_mode="r+")
    masks = np.load(job.masks, mmap_mode="r+") if job.masks else None
    n, largest = len(task.paths), np.iinfo(images.dtype).max
    scale, offset = np.empty(n), np.empty(n)
    sums, squares = np.empty((n, job.channels)), np.empty((n, job.channels))
    error, lost, digests = 0.0, 0, b""
    for i, path in enumerate(task.paths):
        values = _image(job, path, task.frames[i], task.sha256[i])
        pixels, scale[i], offset[i] = quantise(values, int(largest), task.fine[i])
        images[task.first + i] = pixels
        stored = pixels.astype(np.float32) * np.float32(scale[i]) + np.float32(offset[i])
        error = max(error, float(np.abs(stored - values).max()))
        sums[i] = stored.mean(axis=(1, 2), dtype=np.float64)
        squares[i] = np.square(stored, dtype=np.float64).mean(axis=(1, 2))
        digest = hashlib.sha256(images[task.first + i].tobytes())
        if masks is not None and task.masks[i]:
            mask = _mask(job, task.masks[i], task.frames[i])
            shape = classes_to_network if job.classes else mask_to_network
            small = shape(mask, job.geometry, job.height, job.width)
            masks[task.first + i] = small
            lost += bool(mask.any() and not small.any())
            digest.update(small.tobytes())
        digests += digest.digest()
    return Filled(scale, offset, sums, squares, error, lost, digests)


def quantise(
    values: NDArray[np.float32], largest: int, fine: bool
) -> tuple[NDArray[np.int64], float, float]:
    """Return integers from 0 to ``largest``, and the scale and offset that turn them back.

    The integers span [0, 1], so that 8-bit files come through untouched; if ``fine``, they
    span just the image's own intensities, so that a dark 12-bit image keeps its levels.
    """
    low, high = (float(values.min()), float(values.max())) if fine else (0.0, 1.0)
    scale = (high - low) / largest if high > low else 1.0
    pixels = np.rint((values.astype(np.float64) - low) / scale).astype(np.int64)
    return pixels, scale, low


def _image(job: Job, path: str, frame: int, sha256: str) -> NDArray[np.float32]:
    read = read_grey if job.channels == 1 else read_frame
    try:
        data, decoded = read(job.raw, path, frame, job.max_pixels, job.reading)
    except UserError as error:
        raise _changed(error) from None
    if hashlib.sha256(data).hexdigest() != sha256:
        # Labels, groups and duplicates in the manifest are of the file that was there.
        raise UserError(f"{path}: the file changed since ingest read it; run ingest again")
    try:
        # One such image makes the mean of its source none, and thereby every image.
        check_values(decoded.pixels, path)
    except UserError as error:
        raise UserError(f"{error}; run ingest again, which leaves it out") from None
    try:
        return to_network(
            decoded.pixels,
            job.geometry,
            job.intensity,
            job.channels,
            job.height,
            job.width,
            background=decoded.background,
        )
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _mask(job: Job, masks: list[str], frame: int) -> NDArray[Any]:
    """Return where the lesion is, bool, or the class of every pixel, uint8."""
    try:
        if not job.classes:
            return read_mask(job.raw, masks, frame, job.max_pixels, job.reading)
        classes = read_classes(job.raw, masks, frame, job.max_pixels, job.reading)
    except UserError as error:
        raise _changed(error) from None
    if classes.max(initial=0) > job.classes:
        raise _changed(UserError(f"{masks[0]}: holds the class {classes.max()}"))
    return classes


def _changed(error: UserError) -> UserError:
    """Say why an image of the manifest cannot be read; plain, so that it can leave a worker."""
    if isinstance(error, RejectedError) and error.reject.reason == "too_large":
        return UserError(
            f"{error}; ingest could read it: set preprocess.max_pixels to what "
            "ingest.max_pixels is"
        )
    return UserError(f"{error}; ingest could read it, so the raw folder changed: run it again")
