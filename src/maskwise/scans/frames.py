"""Frames of a MedMNIST ``.npz``, streamed from the archive; nothing is ever unpickled."""

import math
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from maskwise.scans.reasons import RejectedError

PARTS = {"train": "train", "val": "validation", "test": "test"}
"""Prefix of a member -> split; frames count through train, then validation, then test."""

MOST_FRAMES = 2**24
"""Of a part; a header may claim any number, and each becomes a row."""
MOST_LABEL_BYTES = 2**28

_STREAMED = 2**20
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


class FrameReader:
    """Reads single frames; in ascending order each byte is inflated once, whatever the size."""

    def __init__(self, file: Path, path: str) -> None:
        """Open the archive ``file``, called ``path`` in messages.

        All of it is streamed once: its checksums stand at the end of each member, so that a
        frame read on its own would be taken whatever had become of it.

        Raises:
            RejectedError: ``damaged``, or ``not_an_image`` where there are no images in it.
        """
        self._path = path
        self._lock = threading.Lock()
        try:
            self._archive = zipfile.ZipFile(file)
            self._members = {
                part: self._images(f"{part}_images.npy")
                for part in PARTS
                if f"{part}_images.npy" in self._archive.namelist()
            }
        except Exception as error:
            raise self._damaged("is no readable .npz archive", error) from None
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
        """Frames a part, in the order in which they are counted."""
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
        try:
            member = self._member(name)
            if not member.shape or min(member.shape) < 1 or member.size > MOST_LABEL_BYTES:
                raise ValueError(f"it has the shape {member.shape}")
            with self._archive.open(name) as stream:
                array = np.asarray(npy.read_array(stream, allow_pickle=False))
            if not (np.isfinite(array) & (array == np.rint(array))).all():
                raise ValueError("not all are whole numbers")
            return array.reshape(len(array), -1)
        except Exception as error:
            raise self._damaged(f"{name} cannot be read", error) from None

    def read(self, frame: int, max_pixels: int) -> NDArray[Any]:
        """Return frame ``(H, W, C)``.

        Raises:
            RejectedError: ``damaged`` or ``too_large``.
        """
        part, position = self._place(frame)
        member = self._members[part]
        shape = member.shape[1:]
        if shape[0] * shape[1] > max_pixels:
            detail = f"{shape[1]} x {shape[0]} pixels are more than max_pixels = {max_pixels:,}"
            raise RejectedError(self._path, "too_large", detail)
        size = int(np.prod(shape)) * member.dtype.itemsize
        try:
            with self._lock:
                stream = self._streams.get(part) or self._archive.open(member.name)
                self._streams[part] = stream
                stream.seek(member.start + position * size)
                data = stream.read(size)
            pixels = np.frombuffer(data, member.dtype).reshape(shape)
        except Exception as error:
            raise self._damaged(f"frame {frame} cannot be read", error) from None
        return pixels[..., None] if pixels.ndim == 2 else pixels

    def _place(self, frame: int) -> tuple[str, int]:
        position = frame
        for part, count in self.counts.items():
            if position < count:
                return part, position
            position -= count
        raise RejectedError(self._path, "damaged", f"there is no frame {frame}")

    def _damaged(self, what: str, error: Exception) -> RejectedError:
        """Hostile bytes raise anything: zlib.error, LZMAError, KeyError, RuntimeError."""
        says = str(error) if type(error) is ValueError else type(error).__name__
        return RejectedError(self._path, "damaged", f"{what} ({says})")

    def _images(self, name: str) -> Member:
        member = self._member(name)
        count, *sides = member.shape or (0,)
        if not 0 <= count <= MOST_FRAMES or not sides or min(sides) < 1:
            raise ValueError(f"{name} has the shape {member.shape}")
        with self._archive.open(name) as stream:
            while stream.read(_STREAMED):
                pass  # the last read compares the checksum
        return member

    def _member(self, name: str) -> Member:
        """Read the header of one array; ``ValueError`` for what would have to be unpickled."""
        with self._archive.open(name) as stream:
            version = npy.read_magic(stream)
            shape, fortran, dtype = _HEADERS[version](stream)
            start = stream.tell()
        if dtype.hasobject or fortran or dtype.kind not in "uif":
            raise ValueError(f"{name} holds no plain numbers in C order")
        member = Member(name, shape, dtype, start)
        if start + member.size != self._archive.getinfo(name).file_size:
            raise ValueError(f"{name} is shorter than its header says")
        return member
