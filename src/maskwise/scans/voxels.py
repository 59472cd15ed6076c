"""The voxels of a file, had plane by plane, whatever the file's size.

An uncompressed file is mapped. A compressed one has no way in but its beginning: it is inflated
once, piece by piece, into memory while it is small, else into a temporary file that has no name
(the system removes it with the process, however that ends) and is mapped too.
"""

import errno
import gzip
import io
import math
import mmap
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
from numpy.typing import NDArray

from maskwise.scans.reasons import RejectedError

LARGEST = 2**32
"""Bytes of a volume that are inflated at most: a header may claim any number."""
HELD = 2**26
"""Bytes of an inflated volume that are kept in memory at most; of a small machine's memory
no more than one ``SHARE``-th."""
SHARE = 64

_GZIP = b"\x1f\x8b"
_PIECE = 2**20
_LOOKED_AT = 2**26
"""Bytes of a mapped file after which the system may take their memory back."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

_Buffer = mmap.mmap | memoryview


def is_compressed(file: Path) -> bool:
    """Tell whether a file is gzip's, whatever its name."""
    with file.open("rb") as stream:
        return stream.read(2) == _GZIP


class Voxels:
    """The voxels ``(X, Y, Z)`` of the volumes in one file, the first axis the fastest."""

    def __init__(
        self, file: Path, path: str, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> None:
        """Make ``file``, called ``path`` in messages, ready to be read.

        ``offset`` is how many bytes stand in front of the voxels; ``shape`` ``(X, Y, Z)``, and
        how many volumes there are.

        Raises:
            RejectedError: ``damaged`` where voxels are missing or the checksum is wrong,
                ``too_long`` where it would inflate beyond ``LARGEST`` or the disk's room.
        """
        size = math.prod(shape) * dtype.itemsize
        if is_compressed(file):
            self._buffer = _inflated(file, path, offset, size)
        else:
            self._buffer = _mapped(file, path, offset, size)
        self._all: NDArray[Any] = np.ndarray(shape, dtype, self._buffer, offset, order="F")
        self._looked_at = 0

    def plane(self, axis: int, number: int, volume: int) -> NDArray[Any]:
        """Return the voxels of plane ``number`` along ``axis``, in this machine's byte order.

        The two other axes keep their order.
        """
        whole = self._all[..., volume]
        native = whole.dtype.newbyteorder("=")
        if axis == 2:
            found = whole[:, :, number].astype(native)
            self._let_go(found.nbytes)
            return found
        sides = whole.shape[1 - axis], whole.shape[2]
        found = np.empty(sides, native)
        step = max(1, _LOOKED_AT // whole[:, :, 0].nbytes)
        for first in range(0, sides[1], step):
            block = whole[:, :, first : first + step]
            found[:, first : first + step] = block[number] if axis == 0 else block[:, number]
            self._let_go(block.nbytes)
        return found

    def _let_go(self, looked_at: int) -> None:
        """Keep what is resident of a mapped file as small as if it were read."""
        self._looked_at += looked_at
        if self._looked_at >= _LOOKED_AT and isinstance(self._buffer, mmap.mmap):
            self._buffer.madvise(mmap.MADV_DONTNEED)
            self._looked_at = 0


def _mapped(file: Path, path: str, offset: int, size: int) -> mmap.mmap:
    with file.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    _check_length(path, len(mapped), offset, size)
    return mapped


def _inflated(file: Path, path: str, offset: int, size: int) -> _Buffer:
    if offset + size > LARGEST:
        detail = f"header and voxels take {offset + size:,} bytes, more than {LARGEST:,}"
        raise RejectedError(path, "too_long", detail)
    if offset + size <= min(HELD, psutil.virtual_memory().total // SHARE):
        memory = io.BytesIO()
        _inflate(file, path, offset, size, memory)
        return memory.getbuffer()
    if offset + size > shutil.disk_usage(tempfile.gettempdir()).free // 2:
        raise _no_room(path, offset + size)
    with tempfile.TemporaryFile() as disk:
        _inflate(file, path, offset, size, disk)
        disk.flush()
        return mmap.mmap(disk.fileno(), 0, access=mmap.ACCESS_READ)


def _inflate(file: Path, path: str, offset: int, size: int, into: IO[bytes]) -> None:
    """Write header and voxels of a compressed file ``into`` another."""
    left = offset + size
    with gzip.open(file) as stream:
        while left and (piece := stream.read(min(_PIECE, left))):
            left -= len(piece)
            try:
                into.write(piece)
            except OSError as error:
                if error.errno in _FULL:
                    raise _no_room(path, offset + size) from None
                raise
        _check_length(path, offset + size - left, offset, size)
        stream.read(_PIECE)  # beyond the voxels: the checksum is compared there


def _check_length(path: str, found: int, offset: int, size: int) -> None:
    if found < offset + size:
        detail = f"holds {max(0, found - offset):,} of {size:,} bytes of voxels"
        raise RejectedError(path, "damaged", detail)


def _no_room(path: str, size: int) -> RejectedError:
    detail = (
        f"header and voxels take {size:,} bytes, but there is not twice that room for "
        "temporary files: free some, or let TMPDIR name a folder on a larger disk"
    )
    return RejectedError(path, "too_long", detail)
