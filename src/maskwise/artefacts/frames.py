"""Frames of a MedMNIST ``.npz``, streamed from the archive; nothing is ever unpickled."""

import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from maskwise.artefacts.reasons import RejectedError

PARTS = {"train": "train", "val": "validation", "test": "test"}
"""Prefix of a member -> split; frames count through train, then validation, then test."""

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


class FrameReader:
    """Reads single frames; in ascending order each byte is inflated once, whatever the size."""

    def __init__(self, file: Path, path: str) -> None:
        """Open the archive ``file``, called ``path`` in messages."""
        self._path = path
        self._lock = threading.Lock()
        try:
            self._archive = zipfile.ZipFile(file)
            self._members = {
                part: self._member(f"{part}_images.npy")
                for part in PARTS
                if f"{part}_images.npy" in self._archive.namelist()
            }
        except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
            detail = f"is no readable .npz archive ({type(error).__name__})"
            raise RejectedError(path, "damaged", detail) from None
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
        """Shape of a frame a part: ``(H, W)`` or ``(H, W, C)``."""
        return {part: member.shape[1:] for part, member in self._members.items()}

    def labels(self, part: str) -> NDArray[Any] | None:
        """Return the labels ``(N, L)`` of a part, or None where there are none."""
        name = f"{part}_labels.npy"
        if name not in self._archive.namelist():
            return None
        try:
            member = self._member(name)
            with self._archive.open(name) as stream:
                array = npy.read_array(stream, allow_pickle=False)
        except (zipfile.BadZipFile, EOFError, ValueError, OSError) as error:
            detail = f"{name} cannot be read ({type(error).__name__})"
            raise RejectedError(self._path, "damaged", detail) from None
        return np.asarray(array).reshape(member.shape[0], -1)

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
        except (zipfile.BadZipFile, EOFError, ValueError, OSError) as error:
            detail = f"frame {frame} cannot be read ({type(error).__name__})"
            raise RejectedError(self._path, "damaged", detail) from None
        return pixels[..., None] if pixels.ndim == 2 else pixels

    def _place(self, frame: int) -> tuple[str, int]:
        position = frame
        for part, count in self.counts.items():
            if position < count:
                return part, position
            position -= count
        raise RejectedError(self._path, "damaged", f"there is no frame {frame}")

    def _member(self, name: str) -> Member:
        """Read the header of one array; ``ValueError`` for what would have to be unpickled."""
        with self._archive.open(name) as stream:
            version = npy.read_magic(stream)
            shape, fortran, dtype = _HEADERS[version](stream)
            start = stream.tell()
        if dtype.hasobject or fortran or dtype.kind not in "uif":
            raise ValueError(f"{name} holds no plain numbers in C order")
        size = start + int(np.prod(shape, dtype=object)) * dtype.itemsize
        if size != self._archive.getinfo(name).file_size:
            raise ValueError(f"{name} is shorter than its header says")
        return Member(name, shape, dtype, start)
