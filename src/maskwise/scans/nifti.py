"""Slices of a NIfTI volume (``.nii``, ``.nii.gz``), turned to one orientation, never resampled.

The voxel axes are flipped and swapped to the nearest of right, anterior, superior (RAS+, as
``nibabel.as_closest_canonical``), however oblique the volume, and slices are shown as on a
radiologist's screen and in DICOM: axial with the front up and the patient's right on the left,
coronal and sagittal with the head up, sagittal with the front on the left.

An uncompressed file is mapped, so that a slice costs its own bytes; a compressed one, which has
no way in but its beginning, is inflated once and kept as stored while its reader lives.
"""

import gzip
import io
import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from maskwise.scans.decode import Decoded
from maskwise.scans.place import Place
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import RejectedError
from maskwise.scans.volume import (
    PLANES,
    Shape,
    VolumeGeometry,
    VolumeSlice,
    find_slice,
    frames_of,
)

LARGEST = 2**32
"""Bytes of a volume that are inflated at most: a header may claim any number."""

_GZIP = b"\x1f\x8b"
_HEADS: dict[int, tuple[type[Nifti1Header], slice, bytes]] = {
    348: (Nifti1Header, slice(344, 348), b"n+1\0"),
    540: (Nifti2Header, slice(4, 8), b"n+2\0"),
}
"""Bytes of a header -> its class, and where its magic stands."""
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}


class NiftiReader:
    """Reads single slices of one file; ``frame`` counts as ``scans/volume.py`` says."""

    def __init__(self, file: Path, path: str, reading: Reading = DEFAULT) -> None:
        """Read the header of ``file``, called ``path`` in messages.

        Raises:
            RejectedError: ``damaged``, ``not_an_image``, ``no_affine``, ``dimensions``.
        """
        self._file, self._path, self._reading = file, path, reading
        try:
            with _opened(file) as stream:
                self._header = _read_header(stream, path)
            self._dtype: np.dtype[Any] = self._header.get_data_dtype()
            self._offset = int(self._header.get_data_offset())
            self._slope, self._inter = _scaling(self._header)
            self._stored_shape, volumes = _dimensions(self._header, path)
            affine = _affine(self._header, path)
            self._orientation = io_orientation(affine)
            turn = inv_ornt_aff(self._orientation, self._stored_shape)
            self.affine: NDArray[np.float64] = affine @ turn
            """Of the turned volume: voxel to millimetres in RAS+."""
            self.geometry = VolumeGeometry(
                self._turned_shape(), volumes, self._spacing(self.affine)
            )
        except RejectedError:
            raise
        except Exception as error:
            raise self._damaged("is no readable NIfTI file", error) from None
        if self._dtype.kind not in "uif":
            detail = f"holds {self._dtype} voxels; only one real number a voxel is read"
            raise RejectedError(path, "not_an_image", detail)

    @property
    def number_type(self) -> str:
        """Name of the stored type, as in ``float32``."""
        return str(self._dtype.newbyteorder("=").name)

    def read(self, frame: int, max_pixels: int) -> tuple[bytes, Decoded]:
        """Return the bytes of one slice as it is handed on, and the slice.

        Stored numbers keep their type; with a slope or intercept they become float32.

        Raises:
            RejectedError: ``dimensions`` where a volume is meant that the file has not,
                ``damaged``, ``too_large``.
        """
        found = find_slice(self.geometry.shape, frame)
        pixels = self._checked_slice(found, max_pixels)
        decoded = Decoded(
            pixels=pixels[..., None],
            format="NIFTI",
            mode=self.number_type,
            bits=8 * pixels.dtype.itemsize,
            frames=found.end,
            place=self._place(found),
        )
        return pixels.tobytes(), decoded

    def read_as_mask(self, frame: int, max_pixels: int) -> NDArray[Any]:
        """Return the slice ``(H, W)`` of the only volume that lies where an image's does.

        ``frame`` is the image's, whichever of several volumes it looks at.
        """
        shape = self.geometry.shape
        return self._checked_slice(find_slice(shape, frame % sum(shape)), max_pixels)

    def load(self) -> None:
        """Make the voxels ready to be read.

        Raises:
            RejectedError: ``damaged`` where they are cut short or corrupt, ``too_large``.
        """
        _ = self._stored

    def axial_slices(self) -> Iterator[NDArray[Any]]:
        """Yield the slices ``(H, W)`` of the only volume, from inferior to superior."""
        for frame in frames_of(self.geometry.shape, "axial"):
            yield self._slice(find_slice(self.geometry.shape, frame))

    def _checked_slice(self, found: VolumeSlice, max_pixels: int) -> NDArray[Any]:
        self._check(found, max_pixels)
        return self._slice(found)

    def _check(self, found: VolumeSlice, max_pixels: int) -> None:
        volumes, shape = self.geometry.volumes, self.geometry.shape
        if found.volume is None and volumes is not None:
            detail = f"holds {volumes} volumes (4-D), where one is meant"
            raise RejectedError(self._path, "dimensions", detail)
        if found.volume is not None and found.volume >= (volumes or 0):
            detail = f"holds {volumes or 1}, so there is no volume {found.volume}"
            raise RejectedError(self._path, "dimensions", detail)
        width, height = (size for axis, size in enumerate(shape) if axis != PLANES[found.plane])
        if width * height > max_pixels:
            detail = f"{width} x {height} pixels are more than max_pixels = {max_pixels:,}"
            raise RejectedError(self._path, "too_large", detail)

    def _slice(self, found: VolumeSlice) -> NDArray[Any]:
        """Return ``(H, W)``, contiguous, in this machine's byte order."""
        volume = self._turned if found.volume is None else self._turned[..., found.volume]
        where: list[int | slice] = [slice(None, None, -1)] * 3
        where[PLANES[found.plane]] = found.number
        shown = volume[tuple(where)].T  # the head or front up, the patient's right on the left
        if self._slope is None:
            return np.ascontiguousarray(shown, self._dtype.newbyteorder("="))
        with np.errstate(over="ignore", invalid="ignore"):  # who reads it looks for inf
            scaled = shown.astype(np.float64) * self._slope + self._inter
            return np.ascontiguousarray(scaled, np.float32)

    def _place(self, found: VolumeSlice) -> Place:
        spacing = list(self.geometry.spacing)
        across = spacing.pop(PLANES[found.plane])
        return Place(
            spacing_y=spacing[1],
            spacing_x=spacing[0],
            spacing_z=across,
            number=found.number,
            count=found.count,
        )

    @cached_property
    def _turned(self) -> NDArray[Any]:
        """A view of the voxels as RAS+: nothing is read or copied until a slice is taken."""
        turned: NDArray[Any] = apply_orientation(self._stored, self._orientation)
        return turned

    @cached_property
    def _stored(self) -> NDArray[Any]:
        """The voxels as stored, ``(X, Y, Z)`` or ``(X, Y, Z, volumes)``."""
        volumes = () if self.geometry.volumes is None else (self.geometry.volumes,)
        shape = (*self._stored_shape, *volumes)
        try:
            if _is_compressed(self._file):
                data = _inflate(self._file, self._path, self._offset, self._size(shape))
                return np.ndarray(shape, self._dtype, data, self._offset, order="F")
            return np.memmap(self._file, self._dtype, "r", self._offset, shape, order="F")
        except RejectedError:
            raise
        except Exception as error:
            raise self._damaged("its voxels cannot be read", error) from None

    def _size(self, shape: tuple[int, ...]) -> int:
        return math.prod(shape) * self._dtype.itemsize

    def _turned_shape(self) -> Shape:
        axes = self._orientation[:, 0].astype(int)
        x, y, z = (
            self._stored_shape[int(np.flatnonzero(axes == axis)[0])] for axis in range(3)
        )
        return x, y, z

    def _spacing(self, affine: NDArray[np.float64]) -> tuple[float, float, float]:
        unit = self._header.get_xyzt_units()[0]
        x, y, z = voxel_sizes(affine) * _MILLIMETRES.get(unit, 1.0)
        return float(x), float(y), float(z)

    def _damaged(self, what: str, error: Exception) -> RejectedError:
        """Hostile bytes raise anything; a message of nibabel's may quote the header."""
        return RejectedError(self._path, "damaged", f"{what} ({type(error).__name__})")


def _opened(file: Path) -> gzip.GzipFile | IO[bytes]:
    return gzip.open(file) if _is_compressed(file) else file.open("rb")


def _is_compressed(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(2) == _GZIP


def _read_header(stream: gzip.GzipFile | IO[bytes], path: str) -> Nifti1Header:
    head = stream.read(max(_HEADS))
    if not head:
        raise RejectedError(path, "empty", "the file has 0 bytes")
    for size, (kind, place, magic) in _HEADS.items():
        if head[place] == magic:
            header: Nifti1Header = kind.from_fileobj(io.BytesIO(head[:size]))
            return header
    detail = "its content is no NIfTI volume in one file (an .img beside an .hdr is not read)"
    raise RejectedError(path, "not_an_image", detail)


def _scaling(header: Nifti1Header) -> tuple[float | None, float]:
    """Return slope and intercept; a slope of None says that voxels are what is stored."""
    slope, inter = header.get_slope_inter()
    if slope is None or (slope, inter) == (1.0, 0.0):
        return None, 0.0
    return float(slope), float(inter)


def _dimensions(header: Nifti1Header, path: str) -> tuple[Shape, int | None]:
    """Return the stored shape of one volume, and how many there are in a 4-D file."""
    sizes = [int(size) for size in header.get_data_shape()]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if not 2 <= len(sizes) <= 4 or min(sizes) < 1:
        detail = f"has the dimensions {' x '.join(map(str, sizes))}, where 3 are meant"
        raise RejectedError(path, "dimensions", detail)
    x, y, z = (*sizes, 1)[:3]
    return (x, y, z), sizes[3] if len(sizes) == 4 else None


def _affine(header: Nifti1Header, path: str) -> NDArray[np.float64]:
    """Return voxel to millimetres; without any in the header nibabel would invent one."""
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        detail = "its header says not how the volume lies (sform and qform have the code 0)"
        raise RejectedError(path, "no_affine", detail)
    affine: NDArray[np.float64] = np.asarray(header.get_best_affine(), np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise RejectedError(path, "no_affine", "its affine is not finite or cannot be inverted")
    return affine


def _inflate(file: Path, path: str, offset: int, size: int) -> bytes:
    """Return header and voxels of a compressed file; its checksum stands at the end."""
    if offset + size > LARGEST:
        detail = f"header and voxels take {offset + size:,} bytes, more than {LARGEST:,}"
        raise RejectedError(path, "too_large", detail)
    with gzip.open(file) as stream:
        data = stream.read(offset + size)
        if len(data) < offset + size:
            detail = f"holds {max(0, len(data) - offset):,} of {size:,} bytes of voxels"
            raise RejectedError(path, "damaged", detail)
        stream.read(2**20)  # beyond the voxels: the checksum is compared there
    return data
