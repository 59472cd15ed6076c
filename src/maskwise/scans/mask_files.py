"""Masks of images out of files of any format: where the lesion is, or which class."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwise.scans.decode import Decoded, check_frame, claimed_format
from maskwise.scans.lesions import Lesion, classes_in, classes_of, known, lesion_of, settled
from maskwise.scans.pictures import (
    MAX_PIXELS,
    dicom_reader,
    frames_in,
    is_archive,
    read_stored,
    volume_reader,
)
from maskwise.scans.raw import version_of
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import RejectedError
from maskwise.scans.remarks import Remark


def read_lesion(
    raw: Path,
    paths: Sequence[str],
    frame: int = 0,
    max_pixels: int = MAX_PIXELS,
    reading: Reading = DEFAULT,
) -> Lesion:
    """Return the union ``(H, W)`` of the masks in ``paths``, and what was decided about each.

    Raises:
        RejectedError: ``mask_size`` where two masks differ in size, and whatever
            ``read_image`` raises.
    """
    found = [_lesion(raw, path, frame, max_pixels, reading) for path in paths]
    first, *others = _of_one_size([one.mask for one in found], paths)
    remarks = tuple(remark for one in found for remark in one.remarks)
    return Lesion(functools.reduce(np.logical_or, others, first), remarks)


def read_mask(
    raw: Path,
    paths: Sequence[str],
    frame: int = 0,
    max_pixels: int = MAX_PIXELS,
    reading: Reading = DEFAULT,
) -> NDArray[np.bool_]:
    """Return the union ``(H, W)`` of the masks in ``paths``; True = lesion.

    1-bit, grey, RGB, RGBA and 16-bit masks give the same answer, by the rule of
    ``scans/lesions.py``. Raises what ``read_lesion`` raises.
    """
    return read_lesion(raw, paths, frame, max_pixels, reading).mask


def read_classes(
    raw: Path,
    paths: Sequence[str],
    frame: int = 0,
    max_pixels: int = MAX_PIXELS,
    reading: Reading = DEFAULT,
) -> NDArray[np.uint8]:
    """Return the classes ``(H, W)`` that the masks in ``paths`` hold; 0 = background.

    Where several masks overlap the highest class stands.

    Raises:
        RejectedError: ``fractional_mask``, and what ``read_mask`` raises.
    """
    classes = [_classes(raw, path, frame, max_pixels, reading) for path in paths]
    first, *others = _of_one_size(classes, paths)
    return functools.reduce(np.maximum, others, first)


def _lesion(raw: Path, path: str, frame: int, max_pixels: int, reading: Reading) -> Lesion:
    if claimed_format(path) == "NIFTI":
        return _volume_lesion(raw, path, frame, max_pixels, reading)
    decoded = _mask(raw, path, frame, max_pixels, reading)
    mask, remarks = lesion_of(decoded, path, reading)
    found = (*decoded.remarks, *remarks)
    return Lesion(mask, tuple(remark.of(f"the mask {path!r}") for remark in found))


def _classes(
    raw: Path, path: str, frame: int, max_pixels: int, reading: Reading
) -> NDArray[np.uint8]:
    if claimed_format(path) == "NIFTI":
        return classes_in(_volume_mask(raw, path, frame, max_pixels, reading), path)
    mask = _mask(raw, path, frame, max_pixels, reading)
    return classes_of(replace(mask, pixels=settled(mask.pixels, path, reading)), path)


def _volume_lesion(
    raw: Path, path: str, frame: int, max_pixels: int, reading: Reading
) -> Lesion:
    """Cut a volume of probabilities at half of its largest; of whole numbers 0 is no lesion."""
    values = _volume_mask(raw, path, frame, max_pixels, reading)
    top = _soft_top(raw, path, reading, version_of(raw, path))
    if top is None or reading.mask_threshold == "any":
        return Lesion(values > 0)
    detail = f"the mask {path!r}: it holds numbers up to {top:g}, cut at half: {top / 2:g}"
    return Lesion(values >= top / 2, (Remark("mask_levels", detail),))


@functools.lru_cache(maxsize=2)
def _soft_top(raw: Path, path: str, reading: Reading, version: tuple[int, ...]) -> float | None:
    """Return the largest number of a mask's volume, or None where all are whole."""
    del version
    reader = volume_reader(raw, path, reading)
    if reader.is_whole:
        return None
    soft, top = False, 0.0
    for stored in reader.axial_slices():
        values = settled(stored, path, reading)
        soft = soft or bool((np.rint(values) != values).any())
        top = max(top, float(values.max()))
    return top if soft and top > 0 else None


def _volume_mask(
    raw: Path, path: str, frame: int, max_pixels: int, reading: Reading
) -> NDArray[Any]:
    values = volume_reader(raw, path, reading).read_as_mask(frame, max_pixels)
    return settled(values, path, reading)


def _mask(raw: Path, path: str, frame: int, max_pixels: int, reading: Reading) -> Decoded:
    """Return the mask of an image's ``frame``: its own of that number, or its only one."""
    dicom = dicom_reader(raw, path, max_pixels)
    if dicom is not None:  # a segmentation is a mask, though no image
        decoded = dicom.read_as_mask(0, max_pixels)
        if decoded.frames > 1 and frame:
            decoded = dicom.read_as_mask(frame, max_pixels)
    else:
        frames = 1 if is_archive(raw, path) else frames_in(raw, path, max_pixels)
        if frames > 1:
            check_frame(path, frame, frames)
        place = frame if frames > 1 else 0
        decoded = read_stored(raw, path, place, max_pixels, reading)[1]
    return replace(decoded, pixels=known(decoded.pixels, path, reading))


def _of_one_size(masks: list[NDArray[Any]], paths: Sequence[str]) -> list[NDArray[Any]]:
    if not masks:
        raise ValueError("no mask is named")
    for path, mask in zip(paths, masks, strict=True):
        if mask.shape != masks[0].shape:
            (h, w), (other_h, other_w) = mask.shape, masks[0].shape
            detail = f"the mask is {w} x {h} pixels, {paths[0]} {other_w} x {other_h}"
            raise RejectedError(path, "mask_size", detail)
    return masks
