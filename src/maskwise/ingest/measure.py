"""One look at each image: decoded once, in a worker, for hashes, sizes and intensities."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskwise.ingest.identities import without_names
from maskwise.ingest.volumes import check_volume
from maskwise.scans.decode import Decoded, check_values, claimed_format
from maskwise.scans.mask_files import read_lesion
from maskwise.scans.modality import contradicts
from maskwise.scans.pictures import frames_in, read_frame
from maskwise.scans.place import Place
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import AS_A_MASK, Reject, RejectedError
from maskwise.scans.region import Region
from maskwise.scans.remarks import OTHER_MODALITY, Remark
from maskwise.workers import Loss

BLANK_BELOW = 2.0
"""Standard deviation, grey levels of 255, under which a picture shows nothing: its perceptual
hash is noise, and that two are alike says nothing about whose they are."""

_LEVELS = np.arange(256.0)


class Task(NamedTuple):
    """One row of a listing."""

    row: int
    path: str
    frame: int
    masks: tuple[str, ...]
    frames: int = 1
    """Images that it stands for at least, from ``frame`` on."""
    classes: int = 0
    """Of the masks; 0 = a lesion or none."""
    region: Region | None = None
    """Part of the frame; None = all of it."""


class Measured(NamedTuple):
    """What one image is; the fields are columns of the manifest."""

    row: int
    frame: int
    width: int
    height: int
    channels: int
    bits: int
    sha256: str
    phash: str
    dhash: str
    """Difference hash, 16 hexadecimal digits."""
    pixels_sha256: str
    format: str
    mode: str
    bytes: int
    intensity_mean: float
    """All four intensities in stored units, channels as luminance."""
    intensity_std: float
    intensity_min: float
    intensity_max: float
    blank: bool
    lesion_share: float
    """Of the pixels; NaN without a mask."""
    place: Place | None = None
    """Whose slice it is, and where it lies; names hashed. No column, but several."""
    remarks: tuple[Remark, ...] = ()
    """No column: the summary counts them."""


@dataclass(frozen=True)
class Job:
    """What a worker must know beside its tasks."""

    raw: Path
    max_pixels: int
    key_file: Path
    """Of the hashes of patients and series; opened where there are any, and not before."""
    reading: Reading = DEFAULT
    modality: str = "other"
    """Of the source."""


class Found(NamedTuple):
    """What a worker gives back of a task."""

    measured: list[Measured]
    rejects: list[Reject]


def measure(job: Job, task: Task) -> Found:
    """Measure the images of ``task``, one in memory at a time."""
    measured: list[Measured] = []
    rejects: list[Reject] = []
    try:
        check_volume(job.raw, task.path, task.masks, task.classes, job.reading)
    except RejectedError as error:
        return Found([], [error.reject._replace(path=task.path)])
    frame, frames = task.frame, task.frame + task.frames
    while frame < frames:
        try:
            image, frames_there = _measure(job, task, frame)
            measured.append(image)
            frames = max(frames, frames_there)
        except RejectedError as error:
            frames = max(frames, _promised(job, task))
            rejects.append(_name(error.reject, task, frame, frames - task.frame))
        frame += 1
    return Found(measured, rejects)


def lost(task: Task, loss: Loss) -> Found:
    """Reject a file that no process could read to its end."""
    advice = "; set ingest.seconds_per_file higher" if loss.reason == "too_slow" else ""
    return Found([], [Reject(task.path, loss.reason, f"{loss.detail}{advice}")])


def _promised(job: Job, task: Task) -> int:
    """Return how many frames a file promises of which one is refused: others may be sound."""
    if task.frames > 1 or claimed_format(task.path) == "NIFTI":
        return 0  # the listing knows
    try:
        return frames_in(job.raw, task.path, job.max_pixels)
    except RejectedError:
        return 0


def _name(reject: Reject, task: Task, frame: int, frames: int) -> Reject:
    """Say which image is refused, of a file that holds many."""
    which = f"frame {frame}: " if frames > 1 else ""
    return reject._replace(path=task.path, detail=f"{which}{reject.detail}")


def _measure(job: Job, task: Task, frame: int) -> tuple[Measured, int]:
    data, decoded = read_frame(
        job.raw, task.path, frame, job.max_pixels, job.reading, task.region
    )
    grey, intensities = _grey(decoded, task.path)
    height, width, channels = decoded.pixels.shape
    share, remarks = _lesion_share(job, task, frame, decoded)
    measured = Measured(
        row=task.row,
        frame=frame,
        width=width,
        height=height,
        channels=channels,
        bits=decoded.bits,
        sha256=hashlib.sha256(data).hexdigest(),
        phash=str(imagehash.phash(grey)),
        dhash=str(imagehash.dhash(grey)),
        pixels_sha256=_hash_pixels(decoded.pixels),
        format=decoded.format,
        mode=decoded.mode,
        bytes=len(data),
        intensity_mean=intensities[0],
        intensity_std=intensities[1],
        intensity_min=intensities[2],
        intensity_max=intensities[3],
        blank=_is_blank(grey, decoded.pixels.dtype, intensities),
        lesion_share=share,
        place=without_names(decoded.place, job.key_file),
        remarks=(*decoded.remarks, *_other_modality(decoded, job.modality), *remarks),
    )
    return measured, decoded.frames


def _other_modality(decoded: Decoded, named: str) -> Iterator[Remark]:
    if contradicts(decoded.modality, named):
        yield Remark(OTHER_MODALITY, f"its Modality means {decoded.modality}, not {named}")


def _grey(decoded: Decoded, path: str) -> tuple[Image.Image, tuple[float, float, float, float]]:
    """Return an 8-bit grey picture, and mean, deviation, least and largest stored value."""
    pixels, background = decoded.pixels, decoded.background
    if pixels.dtype == np.uint8 and background is None:
        colour = pixels.shape[2] == 3
        grey = (
            Image.fromarray(pixels).convert("L") if colour else Image.fromarray(pixels[..., 0])
        )
        return grey, _moments(grey)
    check_values(pixels, path)
    values = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    values = values.astype(np.float64)
    values = values if values.ndim == 2 else values.mean(axis=2)
    known = values if background is None else values[~background]
    known = known if known.size else np.zeros(1)  # nothing was measured: as it is drawn
    low, high = float(known.min()), float(known.max())
    scaled = (values - low) * (255.0 / (high - low)) if high > low else np.zeros_like(values)
    intensities = float(known.mean()), float(known.std()), low, high
    return Image.fromarray(scaled.round().astype(np.uint8)), intensities


def _is_blank(
    grey: Image.Image, stored: np.dtype[Any], intensities: tuple[float, float, float, float]
) -> bool:
    """Tell whether the grey picture, 0 to 255, deviates by less than ``BLANK_BELOW``."""
    _, deviation, low, high = intensities
    if stored == np.uint8:
        return deviation < BLANK_BELOW
    if high > low:
        # Rounding to grey levels moves a deviation by half a level at most.
        scaled = deviation * 255 / (high - low)
        if abs(scaled - BLANK_BELOW) > 0.5:
            return scaled < BLANK_BELOW
    return _moments(grey)[1] < BLANK_BELOW


def _moments(grey: Image.Image) -> tuple[float, float, float, float]:
    """Return mean, deviation, least and largest of an 8-bit picture, from its histogram."""
    counts = np.asarray(grey.histogram(), dtype=np.float64)
    pixels = counts.sum()
    mean = float(counts @ _LEVELS / pixels)
    deviation = float(np.sqrt(counts @ np.square(_LEVELS - mean) / pixels))
    present = np.flatnonzero(counts)
    return mean, deviation, float(present[0]), float(present[-1])


def _hash_pixels(pixels: NDArray[Any]) -> str:
    digest = hashlib.sha256(f"{pixels.shape}{pixels.dtype.str}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _lesion_share(
    job: Job, task: Task, frame: int, decoded: Decoded
) -> tuple[float, tuple[Remark, ...]]:
    """Return the share of the pixels that is lesion, and what was decided about the masks."""
    if not task.masks:
        return float("nan"), ()
    size = decoded.frame_shape
    try:
        lesion = read_lesion(job.raw, task.masks, frame, job.max_pixels, job.reading)
    except RejectedError as error:
        path, reason, detail = error.reject
        reason = AS_A_MASK.get(reason, "damaged_mask")
        raise RejectedError(task.path, reason, f"the mask {path!r}: {detail}") from None
    if lesion.mask.shape != size:
        (h, w), (height, width) = lesion.mask.shape, size
        detail = f"the mask {task.masks[0]!r} is {w} x {h} pixels, the image {width} x {height}"
        if (w, h) == size:
            detail += ": a quarter turn apart, each turned by its own EXIF orientation"
        raise RejectedError(task.path, "mask_size", detail)
    mask = decoded.part_of(lesion.mask)
    return int(np.count_nonzero(mask)) / mask.size, lesion.remarks
