"""Slices of a NIfTI volume (``.nii``, ``.nii.gz``), turned to one orientation, never resampled.

The voxel axes are flipped and swapped to the nearest of right, anterior, superior (RAS+, as
``nibabel.as_closest_canonical``), however oblique the volume, and slices are shown as on a
radiologist's screen and in DICOM: axial with the front up and the patient's right on the left,
coronal and sagittal with the head up, sagittal with the front on the left.

A slice costs its own bytes, but that a compressed file has to be inflated once (``voxels.py``).
"""

import gzip
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from maskwise.scans.decode import Decoded, check_size
from maskwise.scans.guarded import refusing
from maskwise.scans.nifti_affine import SHEARED, affine_of, lean, plane_distances
from maskwise.scans.nifti_header import Stream, read_header
from maskwise.scans.place import Place
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import RejectedError
from maskwise.scans.remarks import Remark
from maskwise.scans.volume import (
    PLANES,
    VolumeGeometry,
    VolumeSlice,
    find_slice,
    frames_of,
)
from maskwise.scans.voxels import Voxels, is_compressed
from maskwise.wording import count

T = TypeVar("T")


class NiftiReader:
    """Reads single slices of one file; ``frame`` counts as ``scans/volume.py`` says."""

    def __init__(self, file: Path, path: str, reading: Reading = DEFAULT) -> None:
        """Read the header of ``file``, called ``path`` in messages.

        Raises:
            RejectedError: ``damaged``, ``not_an_image``, ``no_affine``,
                ``contradictory_affine``, ``dimensions``.
        """
        self._file, self._path = file, path
        with refusing(path, "is not a readable NIfTI file"):
            with _opened(file) as stream:
                self._header = read_header(stream, path)
            affine = affine_of(self._header, path, reading)
            self._orientation = io_orientation(affine)
            turn = inv_ornt_aff(self._orientation, self._header.shape)
        self.affine: NDArray[np.float64] = affine @ turn
        """Of the turned volume: voxel to millimetres in RAS+."""
        self.geometry = self._geometry()
        self._remarks = _remarks(self.affine)

    @property
    def number_type(self) -> str:
        """Name of the stored type, as in ``float32``."""
        return str(self._header.dtype.newbyteorder("=").name)

    @property
    def is_whole(self) -> bool:
        """Tell whether voxels cannot be but whole numbers."""
        return self._header.slope is None and self._header.dtype.kind != "f"

    def read(self, frame: int, max_pixels: int) -> tuple[bytes, Decoded]:
        """Return the bytes of one slice as it is handed on, and the slice.

        Stored numbers keep their type; with a slope or intercept they become float32.

        Raises:
            RejectedError: ``dimensions`` where a volume is meant that the file has not,
                ``damaged``, ``too_large``.
        """
        found = find_slice(self.geometry.shape, frame)
        pixels = self._checked_slice(found, frame, max_pixels)
        decoded = Decoded(
            pixels=pixels[..., None],
            format="NIFTI",
            mode=self.number_type,
            bits=8 * pixels.dtype.itemsize,
            frames=found.end,
            place=self._place(found),
            remarks=self._remarks,
        )
        return pixels.tobytes(), decoded

    def read_as_mask(self, frame: int, max_pixels: int) -> NDArray[Any]:
        """Return the slice ``(H, W)`` of the only volume that lies where an image's does.

        ``frame`` is the image's, whichever of several volumes it looks at.
        """
        shape = self.geometry.shape
        frame %= sum(shape)
        return self._checked_slice(find_slice(shape, frame), frame, max_pixels)

    def load(self) -> None:
        """Make the voxels ready to be read.

        Raises:
            RejectedError: ``damaged`` where they are cut short or corrupt, ``too_long``.
        """
        _ = self._voxels

    def axial_slices(self) -> Iterator[NDArray[Any]]:
        """Yield the slices ``(H, W)`` of the only volume, from inferior to superior."""
        for frame in frames_of(self.geometry.shape, "axial"):
            yield self._slice(find_slice(self.geometry.shape, frame))

    def _checked_slice(self, found: VolumeSlice, frame: int, max_pixels: int) -> NDArray[Any]:
        self._check(found, frame, max_pixels)
        return self._slice(found)

    def _check(self, found: VolumeSlice, frame: int, max_pixels: int) -> None:
        volumes, shape = self.geometry.volumes, self.geometry.shape
        if found.volume is None and volumes is not None:
            detail = f"holds {volumes} volumes (4-D), where one is meant"
            raise RejectedError(self._path, "dimensions", detail)
        if found.volume is not None and found.volume >= (volumes or 0):
            slices = ", ".join(f"{shape[axis]} {plane}" for plane, axis in PLANES.items())
            held = "one volume" if volumes is None else f"{count(volumes, 'volume')} (4-D)"
            detail = f"holds {held} of {slices} slices, so there is no frame {frame}"
            raise RejectedError(self._path, "dimensions", detail)
        width, height = (size for axis, size in enumerate(shape) if axis != PLANES[found.plane])
        check_size(self._path, width, height, max_pixels)

    def _slice(self, found: VolumeSlice) -> NDArray[Any]:
        """Return ``(H, W)``, contiguous, in this machine's byte order."""
        across, *axes = (self._stored_axis(axis) for axis in _axes(found.plane))
        flips = self._orientation[:, 1]
        number = found.number if flips[across] > 0 else found.count - 1 - found.number
        plane = self._voxels.plane(across, number, found.volume or 0)
        plane = plane if axes[0] < axes[1] else plane.T
        # From RAS+, it is shown with the head or front up, the patient's right on the left.
        turned = plane[tuple(slice(None, None, -1 if flips[axis] > 0 else 1) for axis in axes)]
        shown = turned.T
        if self._header.slope is None:
            return np.ascontiguousarray(shown)
        with np.errstate(over="ignore", invalid="ignore"):  # who reads it looks for inf
            scaled = shown.astype(np.float64) * self._header.slope + self._header.inter
            return np.ascontiguousarray(scaled, np.float32)

    def _place(self, found: VolumeSlice) -> Place:
        across, first, second = _axes(found.plane)
        return Place(
            spacing_y=self.geometry.spacing[second],
            spacing_x=self.geometry.spacing[first],
            spacing_z=self.geometry.across[across],
            number=found.number,
            count=found.count,
        )

    @cached_property
    def _voxels(self) -> Voxels:
        """Of the file as stored."""
        header = self._header
        shape = (*header.shape, header.volumes or 1)
        with refusing(self._path, "its voxels cannot be read"):
            return Voxels(self._file, self._path, header.offset, header.dtype, shape)

    def _geometry(self) -> VolumeGeometry:
        lengths = [float(size) for size in voxel_sizes(self.affine)]
        square = lean(self.affine) < SHEARED
        across = lengths if square else [float(mm) for mm in plane_distances(self.affine)]
        shape = [self._header.shape[self._stored_axis(axis)] for axis in range(3)]
        return VolumeGeometry(
            _three(shape), self._header.volumes, _three(lengths), _three(across)
        )

    def _stored_axis(self, axis: int) -> int:
        """Return which stored axis lies nearest to axis ``axis`` of RAS+."""
        return int(np.flatnonzero(self._orientation[:, 0] == axis)[0])


def _opened(file: Path) -> Stream:
    return gzip.open(file) if is_compressed(file) else file.open("rb")


def _axes(plane: str) -> tuple[int, int, int]:
    """Return the axis of RAS+ across ``plane``, then the two within it."""
    across = PLANES[plane]
    first, second = (axis for axis in range(3) if axis != across)
    return across, first, second


def _three(values: list[T]) -> tuple[T, T, T]:
    x, y, z = values
    return x, y, z


def _remarks(affine: NDArray[np.float64]) -> tuple[Remark, ...]:
    degrees = lean(affine)
    if degrees < SHEARED:
        return ()
    return (Remark("sheared", f"its axes are up to {degrees:.1f} degrees off square"),)
