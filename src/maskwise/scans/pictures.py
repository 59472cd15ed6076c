"""Frames of files, whatever the format: the only door to their pixels.

No image is decoded before its header was checked against a pixel limit.
"""

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from numpy.typing import NDArray

from maskwise.scans.archive import ArchiveReader
from maskwise.scans.background import nan_as_background, on_paper
from maskwise.scans.decode import (
    HEAD,
    Decoded,
    check_size,
    claimed_format,
    decode,
    sniff,
)
from maskwise.scans.dicom_file import begins_as_dicom
from maskwise.scans.raw import head_of, locate, most_bytes, read_bytes, version_of
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import RejectedError
from maskwise.scans.region import Region, framed
from maskwise.scans.zipped import archive_of

if TYPE_CHECKING:
    from maskwise.scans.dicom import DicomReader
    from maskwise.scans.nifti import NiftiReader
    from maskwise.scans.tiff import TiffReader

MAX_PIXELS = 50_000_000
"""Default bound of an image's pixels: twice a mammogram at full resolution."""

_ARCHIVE = b"PK\x03\x04"


def read_frame(
    raw: Path,
    path: str,
    frame: int,
    max_pixels: int,
    reading: Reading = DEFAULT,
    region: Region | None = None,
) -> tuple[bytes, Decoded]:
    """Return the bytes that were hashed and decoded, and what they hold.

    Of a file that holds many images (an archive, a volume, a DICOM file of several frames, a
    film of which a ``region`` is asked for) these are the image's own bytes. Frames count as
    the file's format has it: the pages of a TIFF and then, for each of its first page's
    channels, that channel alone; the slices of a volume as in ``scans/volume.py``. A file's
    bytes are as stored, whatever ``reading`` makes of the pixels.
    """
    if region is not None:  # which may reach far beyond the frame
        check_size(path, region.width, region.height, max_pixels)
        rows = _rows(raw, path, frame, max_pixels, reading, region)
        if rows is not None:
            return rows.pixels.tobytes(), rows
    stored = read_stored(raw, path, frame, max_pixels, reading)
    return _settled(*stored, path, reading, region)


def read_stored(
    raw: Path, path: str, frame: int, max_pixels: int, reading: Reading
) -> tuple[bytes, Decoded]:
    """Return what ``read_frame`` does, but NaN as it is."""
    if is_archive(raw, path):
        pixels = _frames(raw, path).read(frame, max_pixels)
        mode, bits = ("RGB" if pixels.shape[2] == 3 else "L"), 8 * pixels.dtype.itemsize
        return pixels.tobytes(), Decoded(pixels, "NPZ", mode, bits, 1)
    if claimed_format(path) == "NIFTI":
        return volume_reader(raw, path, reading).read(frame, max_pixels)
    data, reader = _open(raw, path, max_pixels, version_of(raw, path))
    if reader is not None:
        return reader.read(frame, max_pixels)
    return data, decode(data, path, frame, max_pixels)


def read_grey(
    raw: Path,
    path: str,
    frame: int,
    max_pixels: int,
    reading: Reading = DEFAULT,
    region: Region | None = None,
) -> tuple[bytes, Decoded]:
    """Return what ``read_frame`` does, but of an image that has its luminance, that alone.

    For networks of one channel: DICOM's YBR need not become RGB and grey again.
    """
    # A region's bytes are those of its pixels, and must be the same to whoever reads it.
    reader = dicom_reader(raw, path, max_pixels) if region is None else None
    if reader is not None:
        return _settled(*reader.read_grey(frame, max_pixels), path, reading)
    return read_frame(raw, path, frame, max_pixels, reading, region)


def read_image(
    raw: Path,
    path: str,
    frame: int = 0,
    max_pixels: int = MAX_PIXELS,
    reading: Reading = DEFAULT,
) -> NDArray[Any]:
    """Return the pixels ``(H, W, C)`` of one image as stored; C = 1 or 3, alpha dropped.

    The dtype is uint8 (1-bit images as 0 and 255) or uint16; TIFF, archives, DICOM and volumes
    may hold other integers or floating point. Frames of one archive are read fastest in
    ascending order.

    Raises:
        RejectedError: a ``UserError`` with the reason.
    """
    return read_frame(raw, path, frame, max_pixels, reading)[1].pixels


def frames_in(raw: Path, path: str, max_pixels: int = MAX_PIXELS) -> int:
    """Return how many frames a picture or a DICOM file holds; raises what ``read_frame`` does.

    A DICOM file's own claim is believed once its first frame could be read.
    """
    data, reader = _open(raw, path, max_pixels, version_of(raw, path))
    if reader is None:
        return 1
    if sniff(data) == "TIFF":
        return cast("TiffReader", reader).frames
    return reader.read(0, max_pixels)[1].frames


def volume_reader(raw: Path, path: str, reading: Reading = DEFAULT) -> "NiftiReader":
    """Return the reader of a NIfTI file; its header has been read, its voxels not yet."""
    return _open_volume(raw, path, reading, version_of(raw, path))


def archive_reader(raw: Path, path: str) -> ArchiveReader:
    """Return the reader of the ``.npz`` archive ``path``."""
    if not is_archive(raw, path):
        raise RejectedError(path, "not_an_image", "is not an .npz archive")
    return _frames(raw, path)


def dicom_reader(raw: Path, path: str, max_pixels: int) -> "DicomReader | None":
    """Return the reader of a file that is DICOM, whatever its name."""
    if is_archive(raw, path):
        return None
    data, reader = _open(raw, path, max_pixels, version_of(raw, path))
    return cast("DicomReader", reader) if begins_as_dicom(data) else None


def is_archive(raw: Path, path: str) -> bool:
    """Tell whether a file is an ``.npz`` archive, by name and content."""
    return path.lower().endswith(".npz") and head_of(raw, path).startswith(_ARCHIVE)


def _rows(
    raw: Path, path: str, frame: int, max_pixels: int, reading: Reading, region: Region
) -> Decoded | None:
    """Return a region out of its own rows alone, or None where all of the file is needed."""
    whole = (reading.breast, reading.chest_wall) != ("keep", "keep")
    if whole or frame or not begins_as_dicom(head_of(raw, path)) or archive_of(raw, path):
        return None
    from maskwise.scans.dicom import DicomReader  # late, as nibabel is
    from maskwise.scans.dicom_rows import rows_of

    found = rows_of(locate(raw, path), path, region.top, region.top + region.height)
    if found is None:
        return None
    check_size(path, found.width, found.height, max_pixels)
    reader = DicomReader(found.data, path, most_bytes(max_pixels))
    decoded = reader.read(0, max_pixels)[1]
    part = replace(region, top=region.top - max(0, region.top))
    decoded = _settled(found.data, decoded, path, reading, part)[1]
    return replace(decoded, region=region, whole=(found.height, found.width))


def _settled(
    data: bytes, decoded: Decoded, path: str, reading: Reading, region: Region | None = None
) -> tuple[bytes, Decoded]:
    """Return the last of every way to an image: its pixels as ``reading`` says."""
    if reading.nan == "background":
        decoded = nan_as_background(decoded)
    if reading.alpha != "drop":
        decoded = on_paper(decoded, reading.alpha)
    if region is None and (reading.breast, reading.chest_wall) == ("keep", "keep"):
        return data, decoded
    decoded = framed(decoded, path, reading, region)
    return (data if region is None else decoded.pixels.tobytes()), decoded


def _frames(raw: Path, path: str) -> ArchiveReader:
    return _open_frames(raw, path, version_of(raw, path))


@functools.lru_cache(maxsize=4)
def _open_frames(raw: Path, path: str, version: tuple[int, ...]) -> ArchiveReader:
    """Keep archives open."""
    del version
    return ArchiveReader(locate(raw, path), path)


@functools.lru_cache(maxsize=2)
def _open_volume(
    raw: Path, path: str, reading: Reading, version: tuple[int, ...]
) -> "NiftiReader":
    """Keep an image's volume and its mask's, so that each is inflated once and no more stay."""
    # nibabel takes as long to import as all else that a worker process needs.
    from maskwise.scans.nifti import NiftiReader

    del version
    return NiftiReader(locate(raw, path), path, reading)


@functools.lru_cache(maxsize=3)
def _open(
    raw: Path, path: str, max_pixels: int, version: tuple[int, ...]
) -> "tuple[bytes, DicomReader | TiffReader | None]":
    """Keep an image's file and those of two masks, so that each is parsed once.

    What reads the content stands beside it if that is DICOM or TIFF, whatever its name.
    """
    del version
    data = read_bytes(raw, path, max_pixels)
    if begins_as_dicom(data):
        from maskwise.scans.dicom import DicomReader  # late, as nibabel is

        return data, DicomReader(data, path, most_bytes(max_pixels))
    if sniff(data[:HEAD]) == "TIFF":
        from maskwise.scans.tiff import TiffReader

        return data, TiffReader(data, path, most_bytes(max_pixels))
    return data, None
