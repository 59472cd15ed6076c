"""The raw folder: which files it holds, and the only door to their pixels.

Nothing outside the folder is opened, nothing that is no regular file is opened, and no image is
decoded before its header was held against a pixel limit.
"""

import functools
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from maskwise.errors import UserError
from maskwise.scans.background import nan_as_background
from maskwise.scans.decode import (
    HEAD,
    Decoded,
    check_frame,
    claimed_format,
    decode,
    is_dicom,
    sniff,
)
from maskwise.scans.frames import FrameReader
from maskwise.scans.masks import Lesion, classes_in, classes_of, lesion_of, settled
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import Reject, RejectedError

if TYPE_CHECKING:
    from maskwise.scans.dicom import DicomReader
    from maskwise.scans.nifti import NiftiReader
    from maskwise.scans.tiff import TiffReader

MAX_PIXELS = 50_000_000
"""Default bound of an image's pixels: twice a mammogram at full resolution."""

_JUNK = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX"})
_ARCHIVE = b"PK\x03\x04"


def check_raw(raw: Path, advice: str) -> None:
    """Raise ``UserError`` with ``advice`` unless ``raw`` is a folder with something in it."""
    if not raw.is_dir():
        raise UserError(f"{raw}: there is no such folder; {advice}")
    try:
        empty = next(iter(_visible(raw)), None) is None
    except OSError as error:
        raise UserError(
            f"{raw}: cannot be listed ({error.strerror}); check its permissions"
        ) from None
    if empty:
        raise UserError(f"{raw}: the folder is empty; {advice}")


def walk(raw: Path) -> tuple[list[str], list[Reject]]:
    """Return all files below ``raw``, as sorted relative paths, and what may not be opened.

    Hidden names and what desktops leave behind (``Thumbs.db``, ``__MACOSX``) are passed over.
    """
    _real.cache_clear()  # what a link points to may have changed since the last look
    files: list[str] = []
    rejects: list[Reject] = []
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            entries = list(_visible(raw / folder))
        except OSError as error:
            rejects.append(Reject(folder, "unreadable", f"cannot be listed ({error.strerror})"))
            continue
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
                continue
            reject = _refusal(raw, path, entry)
            if reject is None:
                files.append(path)
            else:
                rejects.append(reject)
    return sorted(files), sorted(rejects)


def looks_like_image(raw: Path, path: str) -> bool:
    """Tell whether the suffix or else the first bytes of a file claim an image."""
    if claimed_format(path) is not None:
        return True
    try:
        head = _head(raw, path)
    except RejectedError:
        return False
    return sniff(head) is not None or is_dicom(head)


def locate(raw: Path, path: str) -> Path:
    """Return the regular file ``path`` inside ``raw``, links resolved.

    Raises:
        RejectedError: ``missing_file``, ``link``, ``not_a_file`` or ``unreadable``.
    """
    if "\0" in path:
        raise RejectedError(
            path.replace("\0", "?"), "missing_file", "the name holds a null character"
        )
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        shown = path.encode("ascii", "backslashreplace").decode()
        detail = "the name holds half a character"
        raise RejectedError(shown, "missing_file", detail) from None
    folder, name = os.path.split(path)
    root, parent = _real(os.fspath(raw)), _real(os.path.join(raw, folder))
    target = os.path.join(parent, name)
    if name in ("", ".", "..") or os.path.islink(target):
        target = os.path.realpath(target)
    if target != root and not target.startswith(os.path.join(root, "")):
        raise RejectedError(path, "link", "leads out of the raw folder")
    try:
        mode = os.stat(target).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise RejectedError(path, "missing_file", "there is no such file") from None
    except OSError as error:
        raise RejectedError(path, "unreadable", str(error.strerror)) from None
    if not stat.S_ISREG(mode):
        raise RejectedError(path, "not_a_file", "is no regular file")
    return Path(target)


def read_bytes(raw: Path, path: str, max_pixels: int) -> bytes:
    """Return the content of one file, which may be as large as ``max_pixels`` can explain."""
    file = locate(raw, path)
    limit = _most_bytes(max_pixels)
    try:
        if file.stat().st_size > limit:
            detail = f"more than {limit:,} bytes (by max_pixels = {max_pixels:,})"
            raise RejectedError(path, "too_large", detail)
        return file.read_bytes()
    except OSError as error:
        raise RejectedError(path, "unreadable", str(error.strerror)) from None


def read_frame(
    raw: Path, path: str, frame: int, max_pixels: int, reading: Reading = DEFAULT
) -> tuple[bytes, Decoded]:
    """Return the bytes that were hashed and decoded, and what they hold.

    Of a file that holds many frames (an archive, a volume, a DICOM file of several) these are
    the frame's own bytes. Frames count as the file's format has it: the pages of a TIFF and
    then, for each of its first page's channels, that channel alone; the slices of a volume as
    in ``scans/volume.py``. The bytes are as stored, whatever ``reading`` makes of the pixels.
    """
    data, decoded = _read_frame(raw, path, frame, max_pixels, reading)
    if reading.nan == "background":
        decoded = nan_as_background(decoded)
    return data, decoded


def _read_frame(
    raw: Path, path: str, frame: int, max_pixels: int, reading: Reading
) -> tuple[bytes, Decoded]:
    if _is_archive(raw, path):
        pixels = _frames(raw, path).read(frame, max_pixels)
        mode, bits = ("RGB" if pixels.shape[2] == 3 else "L"), 8 * pixels.dtype.itemsize
        return pixels.tobytes(), Decoded(pixels, "NPZ", mode, bits, 1)
    if claimed_format(path) == "NIFTI":
        return volume_reader(raw, path, reading).read(frame, max_pixels)
    data, reader = _open(raw, path, max_pixels, _version(raw, path))
    if reader is not None:
        return reader.read(frame, max_pixels)
    return data, decode(data, path, frame, max_pixels)


def read_grey(
    raw: Path, path: str, frame: int, max_pixels: int, reading: Reading = DEFAULT
) -> tuple[bytes, Decoded]:
    """Return what ``read_frame`` does, but of an image that has its luminance, that alone.

    For networks of one channel: DICOM's YBR need not become RGB and grey again.
    """
    reader = _dicom(raw, path, max_pixels)
    if reader is not None:
        return reader.read_grey(frame, max_pixels)
    return read_frame(raw, path, frame, max_pixels, reading)


def frames_in(raw: Path, path: str, max_pixels: int = MAX_PIXELS) -> int:
    """Return how many frames a picture's or DICOM file's header promises.

    Raises:
        RejectedError: whatever ``read_frame`` raises of a header.
    """
    reader = _open(raw, path, max_pixels, _version(raw, path))[1]
    return 1 if reader is None else reader.frames


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
    ``scans/masks.py``. Raises what ``read_lesion`` raises.
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


def volume_reader(raw: Path, path: str, reading: Reading = DEFAULT) -> "NiftiReader":
    """Return the reader of a NIfTI file; its header has been read, its voxels not yet."""
    return _open_volume(raw, path, reading, _version(raw, path))


def frame_reader(raw: Path, path: str) -> FrameReader:
    """Return the reader of the ``.npz`` archive ``path``."""
    if not _is_archive(raw, path):
        raise RejectedError(path, "not_an_image", "is no .npz archive")
    return _frames(raw, path)


def _most_bytes(max_pixels: int) -> int:
    return 16 * max_pixels + 2**20  # four channels of 32 bits, and room for metadata


def _lesion(raw: Path, path: str, frame: int, max_pixels: int, reading: Reading) -> Lesion:
    if claimed_format(path) == "NIFTI":
        return Lesion(_volume_mask(raw, path, frame, max_pixels, reading) > 0)
    decoded = _mask(raw, path, frame, max_pixels, reading)
    mask, remarks = lesion_of(decoded, path, reading)
    found = (*decoded.remarks, *remarks)
    return Lesion(mask, tuple(remark.of(f"the mask {path!r}") for remark in found))


def _classes(
    raw: Path, path: str, frame: int, max_pixels: int, reading: Reading
) -> NDArray[np.uint8]:
    if claimed_format(path) == "NIFTI":
        return classes_in(_volume_mask(raw, path, frame, max_pixels, reading), path)
    return classes_of(_mask(raw, path, frame, max_pixels, reading), path)


def _volume_mask(
    raw: Path, path: str, frame: int, max_pixels: int, reading: Reading
) -> NDArray[Any]:
    values = volume_reader(raw, path, reading).read_as_mask(frame, max_pixels)
    return settled(values, path, reading)


def _mask(raw: Path, path: str, frame: int, max_pixels: int, reading: Reading) -> Decoded:
    """Return the mask of an image's ``frame``: its own of that number, or its only one."""
    frames = 1 if _is_archive(raw, path) else frames_in(raw, path, max_pixels)
    if frames > 1:
        check_frame(path, frame, frames)
    decoded = _mask_frame(raw, path, frame if frames > 1 else 0, max_pixels, reading)
    return replace(decoded, pixels=settled(decoded.pixels, path, reading))


def _mask_frame(raw: Path, path: str, frame: int, max_pixels: int, reading: Reading) -> Decoded:
    dicom = _dicom(raw, path, max_pixels)
    if dicom is not None:  # a segmentation is a mask, though no image
        return dicom.read_as_mask(frame, max_pixels)
    return _read_frame(raw, path, frame, max_pixels, reading)[1]


def _of_one_size(masks: list[NDArray[Any]], paths: Sequence[str]) -> list[NDArray[Any]]:
    if not masks:
        raise ValueError("no mask is named")
    for path, mask in zip(paths, masks, strict=True):
        if mask.shape != masks[0].shape:
            (h, w), (other_h, other_w) = mask.shape, masks[0].shape
            detail = f"the mask is {w} x {h} pixels, {paths[0]} {other_w} x {other_h}"
            raise RejectedError(path, "mask_size", detail)
    return masks


def _head(raw: Path, path: str) -> bytes:
    try:
        with locate(raw, path).open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise RejectedError(path, "unreadable", str(error.strerror)) from None


def _is_archive(raw: Path, path: str) -> bool:
    return path.lower().endswith(".npz") and _head(raw, path).startswith(_ARCHIVE)


def _frames(raw: Path, path: str) -> FrameReader:
    return _open_frames(raw, path, _version(raw, path))


def _version(raw: Path, path: str) -> tuple[int, ...]:
    """Return what tells a changed file, or a forked process, from the one that is kept open."""
    try:
        status = os.stat(os.path.join(raw, path))
    except (OSError, ValueError):
        locate(raw, path)  # says what is wrong with it
        raise
    return status.st_mtime_ns, status.st_size, os.getpid()


@functools.lru_cache(maxsize=4)
def _open_frames(raw: Path, path: str, version: tuple[int, ...]) -> FrameReader:
    """Keep archives open."""
    del version
    return FrameReader(locate(raw, path), path)


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
    if is_dicom(data):
        from maskwise.scans.dicom import DicomReader  # late, as nibabel is

        return data, DicomReader(data, path, _most_bytes(max_pixels))
    if sniff(data[:HEAD]) == "TIFF":
        from maskwise.scans.tiff import TiffReader

        return data, TiffReader(data, path, _most_bytes(max_pixels))
    return data, None


def _dicom(raw: Path, path: str, max_pixels: int) -> "DicomReader | None":
    """Return the reader of a file that is DICOM, whatever its name."""
    if _is_archive(raw, path):
        return None
    data, reader = _open(raw, path, max_pixels, _version(raw, path))
    return cast("DicomReader", reader) if is_dicom(data) else None


@functools.lru_cache(maxsize=1024)
def _real(folder: str) -> str:
    """Resolve the links of a folder, once for all the files in it."""
    return os.path.realpath(folder)


def _visible(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.name not in _JUNK:
                yield entry


def _refusal(raw: Path, path: str, entry: os.DirEntry[str]) -> Reject | None:
    try:
        path.encode()
    except UnicodeEncodeError:
        shown = path.encode(errors="backslashreplace").decode()
        return Reject(shown, "bad_name", "the name is not valid UTF-8; rename the file")
    if not entry.is_symlink():
        regular = entry.is_file(follow_symlinks=False)
        return None if regular else Reject(path, "not_a_file", "is no regular file")
    try:
        locate(raw, path)
    except RejectedError as error:
        if error.reject.reason == "link":
            return error.reject
        detail = "leads to a folder" if os.path.isdir(raw / path) else "leads nowhere"
        return Reject(path, "link", detail)
    return None
