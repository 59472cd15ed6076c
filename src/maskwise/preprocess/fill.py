"""Decode, prepare and store the images: worker processes write into the mapped store."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwise.errors import UserError
from maskwise.preparation import Preparation, averaged
from maskwise.preparation.intensity import largest_of
from maskwise.scans.decode import Decoded, check_values
from maskwise.scans.mask_files import read_classes, read_mask
from maskwise.scans.pictures import read_frame, read_grey
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import RejectedError
from maskwise.scans.region import Region
from maskwise.workers import Loss, Pool

CHUNK = 64
"""Images that are handed on together."""


@dataclass(frozen=True)
class Job:
    """What is the same for all images of a store."""

    raw: Path
    images: Path
    """``images.npy``, to be filled."""
    masks: Path | None
    """``masks.npy``, to be filled."""
    preparation: Preparation
    max_pixels: int
    classes: int = 0
    """Of the masks, where they are of several; 0 = a lesion or none."""
    reading: Reading = DEFAULT
    """As ingest read them."""


@dataclass(frozen=True)
class Task:
    """One image."""

    row: int
    """Of the store."""
    path: str
    frame: int
    sha256: str
    """Of the bytes that ingest read."""
    masks: list[str]
    spans_own: bool
    """More than 8 bits: the stored integers then span just the image's own intensities."""
    region: Region | None = None
    """Part of the frame; None = all of it."""


@dataclass(frozen=True)
class Filled:
    """What is known of n images; their pixels are in the store."""

    scale: NDArray[np.float64]
    """``(n,)``."""
    offset: NDArray[np.float64]
    """``(n,)``."""
    sums: NDArray[np.float64]
    """``(n, C)``, mean of the intensities per channel, as a network sees them."""
    squares: NDArray[np.float64]
    """``(n, C)``, mean of their squares."""
    largest: NDArray[np.uint64]
    """``(n,)``, largest value of the pixel type of the files; 0 = it is no unsigned integer."""
    rounding_error: float
    """Largest, of an intensity in [0, 1]."""
    lost_lesions: int
    """Masks with a lesion that is no longer in the image."""
    digests: bytes
    """32 bytes per image, of its pixels and its mask."""


def fill(job: Job, tasks: Iterable[Sequence[Task]], pool: Pool) -> Iterator[Filled]:
    """Do all tasks in the pool's processes; yield one answer per list, in their order.

    Raises:
        UserError: naming the image that could not be read.
    """
    for answers in pool.map(partial(fill_image, job), tasks, _lost):
        yield _together(answers)


def fill_image(job: Job, task: Task) -> Filled:
    """Store an image and its mask."""
    images = _mapped(job.images)
    values, decoded = _image(job, task)
    pixels, scale, offset = quantise(values, int(np.iinfo(images.dtype).max), task.spans_own)
    images[task.row] = pixels
    stored = pixels.astype(np.float32) * np.float32(scale) + np.float32(offset)
    seen = averaged(stored, job.preparation.fine)
    digest, lost = hashlib.sha256(images[task.row].tobytes()), False
    if job.masks and task.masks:
        mask = decoded.part_of(_mask(job, task.masks, task.frame))
        prepare = job.preparation.classes if job.classes else job.preparation.mask
        small: NDArray[Any] = prepare(mask)
        _mapped(job.masks)[task.row] = small
        lost = bool(mask.any() and not small.any())
        digest.update(small.tobytes())
    return Filled(
        scale=np.array([scale]),
        offset=np.array([offset]),
        sums=seen.mean(axis=(1, 2), dtype=np.float64)[None],
        squares=np.square(seen, dtype=np.float64).mean(axis=(1, 2))[None],
        largest=np.array([largest_of(decoded.pixels.dtype) or 0], np.uint64),
        rounding_error=float(np.abs(stored - values).max()),
        lost_lesions=int(lost),
        digests=digest.digest(),
    )


def _together(images: Sequence[Filled]) -> Filled:
    return Filled(
        scale=np.concatenate([image.scale for image in images]),
        offset=np.concatenate([image.offset for image in images]),
        sums=np.concatenate([image.sums for image in images]),
        squares=np.concatenate([image.squares for image in images]),
        largest=np.concatenate([image.largest for image in images]),
        rounding_error=max(image.rounding_error for image in images),
        lost_lesions=sum(image.lost_lesions for image in images),
        digests=b"".join(image.digests for image in images),
    )


def _lost(task: Task, loss: Loss) -> Filled:
    advice = (
        "set preprocess.seconds_per_file higher"
        if loss.reason == "too_slow"
        else "ingest could read it: run ingest again, which looks at the file anew, or use "
        "less memory: set preprocess.workers lower"
    )
    raise UserError(f"{task.path}: {loss.detail}; {advice}; the previous store is unchanged")


@lru_cache(maxsize=2)
def _mapped(array: Path) -> NDArray[Any]:
    """Open images or masks once per process; their folder is this store's alone."""
    mapped: NDArray[Any] = np.load(array, mmap_mode="r+")
    return mapped


def quantise(
    values: NDArray[np.float32], largest: int, spans_own: bool
) -> tuple[NDArray[np.int64], float, float]:
    """Return integers from 0 to ``largest``, and the scale and offset that turn them back.

    The integers span [0, 1], so that 8-bit files come through untouched; if ``spans_own``, they
    span just the image's own intensities, so that a dark 12-bit image keeps its levels.
    """
    low, high = (float(values.min()), float(values.max())) if spans_own else (0.0, 1.0)
    scale = (high - low) / largest if high > low else 1.0
    pixels = np.rint((values.astype(np.float64) - low) / scale).astype(np.int64)
    return pixels, scale, low


def _image(job: Job, task: Task) -> tuple[NDArray[np.float32], Decoded]:
    """Return intensities, and what they were made of."""
    read, path = read_grey if job.preparation.takes == 1 else read_frame, task.path
    try:
        data, decoded = read(
            job.raw, path, task.frame, job.max_pixels, job.reading, task.region
        )
    except UserError as error:
        raise _changed(error) from None
    if hashlib.sha256(data).hexdigest() != task.sha256:
        # Labels, groups and duplicates in the manifest are of the file that was there.
        raise UserError(f"{path}: the file changed since ingest read it; run ingest again")
    try:
        # One such image makes the mean of its source none, and thereby every image.
        check_values(decoded.pixels, path)
    except UserError as error:
        raise UserError(f"{error}; run ingest again, which leaves it out") from None
    try:
        values = job.preparation.fine_intensities(decoded.pixels, decoded.background)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return values, decoded


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
            f"{error}; ingest could read it: set preprocess.max_pixels to the value of "
            "ingest.max_pixels"
        )
    return UserError(
        f"{error}; ingest could read it, so the raw folder changed: run ingest again"
    )
