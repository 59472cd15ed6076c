"""The raw folder: which files it holds, and the only door to their pixels.

Nothing outside the folder is opened, nothing that is no regular file is opened, and no image is
decoded before its header was held against a pixel limit.
"""

import functools
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskwise.artefacts.decode import SUFFIXES, Decoded, decode, sniff
from maskwise.artefacts.frames import FrameReader
from maskwise.artefacts.reasons import Reject, RejectedError
from maskwise.errors import UserError

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
    if Path(path).suffix.lower() in SUFFIXES:
        return True
    try:
        with locate(raw, path).open("rb") as file:
            return sniff(file.read(16)) is not None
    except (OSError, RejectedError):
        return False


def locate(raw: Path, path: str) -> Path:
    """Return the regular file ``path`` inside ``raw``, links resolved.

    Raises:
        RejectedError: ``missing_file``, ``link``, ``not_a_file`` or ``unreadable``.
    """
    if "\0" in path:
        raise RejectedError(
            path.replace("\0", "?"), "missing_file", "the name holds a null character"
        )
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
    limit = 16 * max_pixels + 2**20  # four channels of 32 bits, and room for metadata
    try:
        if file.stat().st_size > limit:
            raise RejectedError(path, "too_large", f"more than {limit:,} bytes (by max_pixels)")
        return file.read_bytes()
    except OSError as error:
        raise RejectedError(path, "unreadable", str(error.strerror)) from None


def read_frame(raw: Path, path: str, frame: int, max_pixels: int) -> tuple[bytes, Decoded]:
    """Return the bytes that were hashed and decoded, and what they hold.

    For a frame of a ``.npz`` archive these are the frame's own bytes.
    """
    if _is_archive(raw, path):
        pixels = _frames(raw, path).read(frame, max_pixels)
        mode, bits = ("RGB" if pixels.shape[2] == 3 else "L"), 8 * pixels.dtype.itemsize
        return pixels.tobytes(), Decoded(pixels, "NPZ", mode, bits, 1)
    data = read_bytes(raw, path, max_pixels)
    return data, decode(data, path, frame, max_pixels)


def read_image(
    raw: Path, path: str, frame: int = 0, max_pixels: int = MAX_PIXELS
) -> NDArray[Any]:
    """Return the pixels ``(H, W, C)`` of one image as stored; C = 1 or 3, alpha dropped.

    The dtype is uint8 (1-bit images as 0 and 255) or uint16; TIFF and archives may hold int32
    or floating point. Frames of one archive are read fastest in ascending order.

    Raises:
        RejectedError: a ``UserError`` with the reason.
    """
    return read_frame(raw, path, frame, max_pixels)[1].pixels


def read_mask(
    raw: Path, paths: Sequence[str], frame: int = 0, max_pixels: int = MAX_PIXELS
) -> NDArray[np.bool_]:
    """Return the union ``(H, W)`` of the masks in ``paths``; True = lesion.

    1-bit, grey, RGB, RGBA and 16-bit masks give the same answer: whatever is not black (of a
    JPEG, whose black is noisy: whatever is brighter than half), and never the alpha.

    Raises:
        RejectedError: ``mask_size`` where two masks differ in size, and whatever
            ``read_image`` raises.
    """
    union: NDArray[np.bool_] | None = None
    for path in paths:
        mask = _mask(raw, path, frame, max_pixels)
        if union is not None and mask.shape != union.shape:
            (h, w), (other_h, other_w) = mask.shape, union.shape
            detail = f"the mask is {w} x {h} pixels, {paths[0]} {other_w} x {other_h}"
            raise RejectedError(path, "mask_size", detail)
        union = mask if union is None else union | mask
    if union is None:
        raise ValueError("no mask is named")
    return union


def frame_reader(raw: Path, path: str) -> FrameReader:
    """Return the reader of the ``.npz`` archive ``path``."""
    if not _is_archive(raw, path):
        raise RejectedError(path, "not_an_image", "is no .npz archive")
    return _frames(raw, path)


def _mask(raw: Path, path: str, frame: int, max_pixels: int) -> NDArray[np.bool_]:
    data = read_bytes(raw, path, max_pixels)
    decoded = decode(data, path, 0, max_pixels)
    if decoded.frames > 1 and frame:
        decoded = decode(data, path, frame, max_pixels)
    threshold = 127 if decoded.format == "JPEG" else 0
    lesion: NDArray[np.bool_] = decoded.pixels > threshold
    return lesion[..., 0] if lesion.shape[2] == 1 else np.asarray(lesion.any(axis=2))


def _is_archive(raw: Path, path: str) -> bool:
    if not path.lower().endswith(".npz"):
        return False
    try:
        with locate(raw, path).open("rb") as file:
            return file.read(4) == _ARCHIVE
    except OSError as error:
        raise RejectedError(path, "unreadable", str(error.strerror)) from None


def _frames(raw: Path, path: str) -> FrameReader:
    file = locate(raw, path)
    status = file.stat()
    return _open_frames(file, path, (status.st_mtime_ns, status.st_size, os.getpid()))


@functools.lru_cache(maxsize=4)
def _open_frames(file: Path, path: str, version: tuple[int, ...]) -> FrameReader:
    """Keep archives open; ``version`` tells a changed file or a forked process from the old."""
    del version
    return FrameReader(file, path)


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
