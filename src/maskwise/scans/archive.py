"""Frames of a MedMNIST ``.npz``, streamed from the archive; nothing is ever unpickled."""

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from maskwise.scans.decode import check_frame, check_size
from maskwise.scans.guarded import refusing
from maskwise.scans.reasons import RejectedError

PARTS = {"train": "train", "val": "validation", "test": "test"}
"""Prefix of a member -> split; frames count through train, then validation, then test."""

MOST_FRAMES = 2**24
"""Of a part; a header may claim any number, and each becomes a row."""
MOST_LABEL_BYTES = 2**28

_STREAMED = 2**20
_UNREADABLE = "is not a readable .npz archive"
_HEADERS: dict[tuple[int, int], Callable[..., Any]] = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
}


@dataclass(frozen=True)
class Member:
    """One array of the archive."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    """Bytes before the first element."""

    @property
    def size(self) -> int:
        """Bytes of all elements."""
        return math.prod(self.shape) * self.dtype.itemsize


class ArchiveReader:
    """Reads single frames; in ascending order each byte is inflated once, whatever the size."""

    def __init__(self, file: Path, path: str) -> None:
        """Open the archive ``file``, called ``path`` in messages.

        All of it is streamed once: its checksums stand at the end of each member, so that a
        frame read on its own would be taken whatever had become of it.

        Raises:
            RejectedError: ``damaged``, or ``not_an_image`` where there are no images in it.
        """
        self._path = path
        with refusing(path, _UNREADABLE):
            self._archive = zipfile.ZipFile(file)
            self._members = {
                part: self._images(f"{part}_images.npy")
                for part in PARTS
                if f"{part}_images.npy" in self._archive.namelist()
            }
        if not self._members:
            names = ", ".join(f"{part}_images" for part in PARTS)
            raise RejectedError(path, "not_an_image", f"an archive without {names}")
        self._streams: dict[str, IO[bytes]] = {}

    def __del__(self) -> None:
        for stream in getattr(self, "_streams", {}).values():
            stream.close()
        if hasattr(self, "_archive"):
            self._archive.close()

    @property
    def counts(self) -> dict[str, int]:
        """Frames per part, in the order in which they are counted."""
        return {part: member.shape[0] for part, member in self._members.items()}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one frame per part: ``(H, W)`` or ``(H, W, C)``."""
        return {part: member.shape[1:] for part, member in self._members.items()}

    def labels(self, part: str) -> NDArray[Any] | None:
        """Return the labels ``(N, L)`` of a part, or None where there are none."""
        name = f"{part}_labels.npy"
        if name not in self._archive.namelist():
            return None
        unread = f"{name} cannot be read"
        with refusing(self._path, unread):
            member = self._member(name, unread)
            if not member.shape or min(member.shape) < 1 or member.size > MOST_LABEL_BYTES:
                raise self._damaged(unread, f"it has the shape {member.shape}")
            with self._archive.open(name) as stream:
                array = np.asarray(npy.read_array(stream, allow_pickle=False))
            if not (np.isfinite(array) & (array == np.rint(array))).all():
                raise self._damaged(unread, "not all are whole numbers")
            return array.reshape(len(array), -1)

    def read(self, frame: int, max_pixels: int) -> NDArray[Any]:
        """Return frame ``(H, W, C)``.

        Raises:
            RejectedError: ``damaged`` or ``too_large``.
        """
        part, position = self._place(frame)
        member = self._members[part]
        shape = member.shape[1:]
        check_size(self._path, shape[1], shape[0], max_pixels)
        size = int(np.prod(shape)) * member.dtype.itemsize
        with refusing(self._path, f"frame {frame} cannot be read"):
            stream = self._streams.get(part) or self._archive.open(member.name)
            self._streams[part] = stream
            stream.seek(member.start + position * size)
            data = stream.read(size)
            pixels = np.frombuffer(data, member.dtype).reshape(shape)
        return pixels[..., None] if pixels.ndim == 2 else pixels

    def _place(self, frame: int) -> tuple[str, int]:
        """Return the part that holds a frame, and which of the part's own it is."""
        check_frame(self._path, frame, sum(self.counts.values()))
        first = 0
        for part, count in self.counts.items():
            if frame < first + count:
                return part, frame - first
            first += count
        raise AssertionError("counts add up to the frames that were checked")

    def _damaged(self, what: str, detail: str) -> RejectedError:
        return RejectedError(self._path, "damaged", f"{what} ({detail})")

    def _images(self, name: str) -> Member:
        member = self._member(name, _UNREADABLE)
        count, *sides = member.shape or (0,)
        if not 0 <= count <= MOST_FRAMES or not sides or min(sides) < 1:
            raise self._damaged(_UNREADABLE, f"{name} has the shape {member.shape}")
        with self._archive.open(name) as stream:
            while stream.read(_STREAMED):
                pass  # the last read compares the checksum
        return member

    def _member(self, name: str, unread: str) -> Member:
        """Read the header of one array; what would have to be unpickled is ``unread``."""
        with self._archive.open(name) as stream:
            version = npy.read_magic(stream)
            shape, fortran, dtype = _HEADERS[version](stream)
            start = stream.tell()
        if dtype.hasobject or fortran or dtype.kind not in "uif":
            raise self._damaged(unread, f"{name} holds no plain numbers in C order")
        member = Member(name, shape, dtype, start)
        if start + member.size != self._archive.getinfo(name).file_size:
            raise self._damaged(unread, f"{name} is shorter than its header says")
        return member
