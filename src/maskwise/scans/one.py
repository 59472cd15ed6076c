"""One image of one file, for a script: raw values, as ingest and preprocess read them."""

import os
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwise.config import parse
from maskwise.errors import UserError, hint, listed, shown
from maskwise.scans.decode import check_values, claimed_format
from maskwise.scans.pictures import (
    MAX_PIXELS,
    archive_reader,
    is_archive,
    read_frame,
    read_grey,
    volume_reader,
)
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import RejectedError
from maskwise.scans.volume import PLANES, frames_of
from maskwise.wording import count

ROOT = Path(os.sep)
"""The raw folder of files that somebody named: they may lie, or lead, anywhere."""


def below_root(path: str | Path) -> str:
    """Return where a file lies, relative to ``ROOT``."""
    return os.path.join(Path.cwd(), path).removeprefix(os.sep)


def read(
    path: str | Path,
    frame: int = 0,
    *,
    axis: str | None = None,
    volume: int | None = None,
    key: str | None = None,
    grey: bool = False,
    reading: Reading | Mapping[str, Any] = DEFAULT,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[Any]:
    """Return the raw values of one image, as ``maskwise.read`` describes."""
    name = below_root(path)
    if isinstance(reading, Mapping):
        reading = parse(Reading, reading, "reading")
    try:
        number = _frame(name, frame, reading, axis, volume, key)
        take = read_grey if grey else read_frame
        decoded = take(ROOT, name, number, max_pixels, reading)[1]
        check_values(decoded.pixels, name)
    except RejectedError as error:
        raise RejectedError(str(path), error.reject.reason, error.reject.detail) from None
    pixels = decoded.pixels[..., 0] if decoded.pixels.shape[2] == 1 else decoded.pixels
    background = decoded.background
    if background is None or not background.any():
        return pixels
    if pixels.ndim == 3:
        background = np.repeat(background[..., None], pixels.shape[2], axis=2)
    return np.ma.array(pixels, mask=background)


def _frame(
    path: str,
    frame: int,
    reading: Reading,
    axis: str | None,
    volume: int | None,
    key: str | None,
) -> int:
    """Return the number under which the file's reader knows the image."""
    for name, number in (("frame", frame), ("volume", volume)):
        if not isinstance(number, Integral) and (name, number) != ("volume", None):
            raise UserError(f"{name} is {shown(number)}, but must be a whole number from 0")
    if frame < 0:
        raise UserError(f"frame is {frame}, but must be 0 or more")
    if axis is not None or volume is not None:
        if claimed_format(path) != "NIFTI":
            raise UserError("axis and volume are for NIfTI files; leave them out")
        return _of_volume(path, frame, reading, axis or "axial", volume)
    if claimed_format(path) == "NIFTI":
        _check_volume(path, frame, reading)
    if key is not None:
        if not is_archive(ROOT, path):
            raise UserError("key is for .npz archives; leave it out")
        return _of_archive(path, frame, key)
    return frame


def _check_volume(path: str, frame: int, reading: Reading) -> None:
    """Refuse a frame without ``axis`` and ``volume`` that leaves open which volume is meant."""
    geometry = volume_reader(ROOT, path, reading).geometry
    if geometry.volumes is not None and frame < sum(geometry.shape):
        raise UserError(
            f"the file holds {geometry.volumes} volumes (4-D): name one from 0, as in volume=0"
        )


def _of_volume(path: str, frame: int, reading: Reading, axis: str, volume: int | None) -> int:
    geometry = volume_reader(ROOT, path, reading).geometry
    if axis not in PLANES:
        raise UserError(f"axis: there is no {shown(axis)}; {hint(str(axis), PLANES)}")
    if (volume is None) != (geometry.volumes is None) or (
        volume is not None and not 0 <= volume < (geometry.volumes or 0)
    ):
        held = (
            "one volume: leave it out"
            if geometry.volumes is None
            else (f"{geometry.volumes}: name one from 0")
        )
        raise UserError(f"volume is {shown(volume)}, but the file holds {held}")
    frames = frames_of(geometry.shape, axis, volume)
    if frame >= len(frames):
        held = count(len(frames), f"{axis} slice")
        raise UserError(f"frame is {frame}, but the volume has {held}")
    return frames[frame]


def _of_archive(path: str, frame: int, key: str) -> int:
    first = 0
    counts = archive_reader(ROOT, path).counts
    for part, images in counts.items():
        if key == f"{part}_images":
            if frame >= images:
                raise UserError(f"frame is {frame}, but {key} holds {images}")
            return first + frame
        first += images
    names = listed(f"{part}_images" for part in counts)
    raise UserError(f"key: there is no {shown(key)} in the archive; choose from {names}")
