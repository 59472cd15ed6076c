"""How the slices of a volume are numbered: a frame says plane, slice and, in 4-D, which volume.

The frames of a NIfTI file count through its axial slices (inferior to superior), then the
coronal (posterior to anterior), then the sagittal (left to right). With n slices in the three
planes together, volume c of a 4-D file has the frames from ``(c + 1) n`` on; frames below n are
those of a file that holds one volume, so that 4-D where 3-D is meant never goes unnoticed.

Light: what reads the files (nibabel) is imported only where there is one.
"""

from dataclasses import dataclass

Shape = tuple[int, int, int]
"""Voxels from left to right, posterior to anterior, inferior to superior (RAS+)."""

PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}
"""Plane -> the axis of RAS+ along which its slices follow one another."""


@dataclass(frozen=True)
class VolumeSlice:
    """What one frame of a volume's file is."""

    plane: str
    number: int
    """From 0."""
    count: int
    """Slices of the volume in this plane."""
    volume: int | None
    """Of a 4-D file, from 0; None = the only one."""
    end: int
    """The frame after the last slice of this plane and volume."""


@dataclass(frozen=True)
class VolumeGeometry:
    """What a volume's header says."""

    shape: Shape
    volumes: int | None
    """Of a 4-D file; None = it holds one."""
    spacing: tuple[float, float, float]
    """Millimetres per voxel, in the order of ``shape``: the lengths of its sides."""
    across: tuple[float, float, float]
    """Millimetres from plane to plane, measured across: ``spacing`` unless the axes are not
    square to one another."""


def frames_of(shape: Shape, plane: str, volume: int | None = None) -> range:
    """Return the frames of all slices of ``plane``."""
    first = 0 if volume is None else (volume + 1) * sum(shape)
    for name, axis in PLANES.items():
        if name == plane:
            return range(first, first + shape[axis])
        first += shape[axis]
    raise ValueError(f"plane is {plane!r}, but must be one of {', '.join(PLANES)}")


def find_slice(shape: Shape, frame: int) -> VolumeSlice:
    """Return what ``frame`` (from 0) of a file with volumes of ``shape`` is."""
    turn, place = divmod(frame, sum(shape))
    volume = turn - 1 if turn else None
    for plane in PLANES:
        frames = frames_of(shape, plane)
        if place in frames:
            number = place - frames.start
            return VolumeSlice(plane, number, len(frames), volume, frame - number + len(frames))
    raise ValueError(f"frame is {frame}, but must not be negative")
