"""What a NIfTI header says about its voxels, checked: shape, type, place and scaling.

nibabel reads the bytes, in whatever order. Its own checks are left out, because they silently
correct what is refused here by the element's name.
"""

import gzip
import io
import math
from dataclasses import dataclass
from typing import IO, Any, Literal

import numpy as np
from nibabel.nifti1 import Nifti1Header, data_type_codes
from nibabel.nifti2 import Nifti2Header

from maskwise.scans.reasons import RejectedError
from maskwise.scans.volume import Shape

Stream = gzip.GzipFile | IO[bytes]

_HEADS: dict[int, tuple[type[Nifti1Header], slice, bytes]] = {
    348: (Nifti1Header, slice(344, 348), b"n+1\0"),
    540: (Nifti2Header, slice(4, 8), b"n+2\0"),
}
"""Bytes of a header -> its class, and where its magic stands."""
_FLAG = 4
"""Bytes behind a header; the first says whether extensions follow."""
_MOST_EXTENSIONS = 1000
_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Code in ``xyzt_units`` -> millimetres. 0 is "not said", for which all software takes mm."""


@dataclass(frozen=True)
class NiftiHeader:
    """A header that says nothing impossible of its voxels."""

    fields: Nifti1Header
    """As stored."""
    shape: Shape
    """Stored voxels of one volume."""
    volumes: int | None
    """Of a 4-D file; None = it holds one."""
    dtype: np.dtype[Any]
    """One real number, in the file's byte order."""
    offset: int
    """Bytes in front of the voxels."""
    slope: float | None
    """None = voxels are what is stored."""
    inter: float
    unit: float
    """Millimetres in the header's unit of length."""


def read_header(stream: Stream, path: str) -> NiftiHeader:
    """Read the header at the beginning of ``stream``; ``path`` only names it in messages.

    Raises:
        RejectedError: ``empty``, ``not_an_image``, ``dimensions`` or ``damaged``.
    """
    fields, size = _read_fields(stream, path)
    shape, volumes = _dimensions(fields, path)
    dtype = _dtype(fields, path)
    offset = _offset(fields, path, size + _FLAG)
    _check_extensions(stream, fields, path, size, offset)
    slope, inter = _scaling(fields, path)
    unit = _unit(fields, path)
    return NiftiHeader(fields, shape, volumes, dtype, offset, slope, inter, unit)


def _read_fields(stream: Stream, path: str) -> tuple[Nifti1Header, int]:
    head = stream.read(max(_HEADS))
    if not head:
        raise RejectedError(path, "empty", "the file has 0 bytes")
    for size, (kind, place, magic) in _HEADS.items():
        if head[place] == magic:
            return kind.from_fileobj(io.BytesIO(head[:size]), check=False), size
    detail = (
        "its content is not a NIfTI volume in one file (an .img beside an .hdr is not read)"
    )
    raise RejectedError(path, "not_an_image", detail)


def _dimensions(fields: Nifti1Header, path: str) -> tuple[Shape, int | None]:
    """Return the stored shape of one volume, and how many there are in a 4-D file."""
    number, *sizes = (int(size) for size in fields["dim"])
    if not 1 <= number <= 7:
        raise RejectedError(path, "damaged", f"dim[0] is {number}, but should be 1 to 7")
    sizes = sizes[:number]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if not 2 <= len(sizes) <= 4 or min(sizes) < 1:
        detail = f"has the dimensions {' x '.join(map(str, sizes))}, where 3 are meant"
        raise RejectedError(path, "dimensions", detail)
    x, y, z = (*sizes, 1)[:3]
    return (x, y, z), sizes[3] if len(sizes) == 4 else None


def _dtype(fields: Nifti1Header, path: str) -> np.dtype[Any]:
    code = int(fields["datatype"])
    if code not in data_type_codes.dtype:
        detail = f"holds voxels of the datatype {code}, which is not read"
        raise RejectedError(path, "not_an_image", detail)
    dtype: np.dtype[Any] = fields.get_data_dtype()
    # What 128 bits mean depends on the machine that wrote them.
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        name = data_type_codes.label[code]
        detail = (
            f"holds {name} voxels; only one real number per voxel, of 64 bits at most, is read"
        )
        raise RejectedError(path, "not_an_image", detail)
    return dtype


def _offset(fields: Nifti1Header, path: str, least: int) -> int:
    offset = float(fields["vox_offset"])
    if not (math.isfinite(offset) and offset == int(offset) and offset >= least):
        detail = (
            f"vox_offset is {offset:.10g}, but voxels begin at a whole number of bytes, behind "
            f"the header's {least}"
        )
        raise RejectedError(path, "damaged", detail)
    return int(offset)


def _check_extensions(
    stream: Stream, fields: Nifti1Header, path: str, size: int, offset: int
) -> None:
    """Refuse a file whose voxels begin within what stands between header and voxels."""
    stream.seek(size)
    flag = stream.read(_FLAG)
    if not flag[:1].strip(b"\0"):
        return
    place = size + _FLAG
    order: Literal["little", "big"] = "little" if fields.endianness == "<" else "big"
    for _ in range(_MOST_EXTENSIONS):
        stream.seek(place)
        length = int.from_bytes(stream.read(4), order, signed=True)
        if length == 0 and place > size + _FLAG:  # padding behind the last one
            return
        place += max(length, 8)
        if place > offset:
            detail = (
                f"vox_offset is {offset}, but an extension of the header takes bytes up to "
                f"{place}"
            )
            raise RejectedError(path, "damaged", detail)
        if place > offset - 8:
            return
    raise RejectedError(path, "damaged", f"has more than {_MOST_EXTENSIONS} header extensions")


def _scaling(fields: Nifti1Header, path: str) -> tuple[float | None, float]:
    """Return slope and intercept; a slope of None says that voxels are what is stored."""
    slope, inter = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0:  # by the standard: no scaling, whatever the intercept is
        return None, 0.0
    for name, value in (("scl_slope", slope), ("scl_inter", inter)):
        if not math.isfinite(value):
            detail = f"{name} is {value}, so that the values of its voxels are not known"
            raise RejectedError(path, "damaged", detail)
    return (None, 0.0) if (slope, inter) == (1.0, 0.0) else (slope, inter)


def _unit(fields: Nifti1Header, path: str) -> float:
    code = int(fields["xyzt_units"]) & 7
    if code not in _MILLIMETRES:
        detail = f"xyzt_units names the unit of length {code}, which the standard does not know"
        raise RejectedError(path, "damaged", detail)
    return _MILLIMETRES[code]
