"""Bytes to pixels: PNG, JPEG, TIFF, PGM (and kin) and BMP, told by content, never by suffix.

DICOM and NIfTI are told here and read by ``dicom.py`` and ``nifti.py``.
"""

import io
import math
import posixpath
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskwise.scans.dicom_file import begins_as_dicom
from maskwise.scans.place import Place
from maskwise.scans.reasons import RejectedError
from maskwise.scans.remarks import Remark

HEAD = 132
"""Bytes of a file that tell every format apart."""
FORMATS = ("PNG", "JPEG", "TIFF", "PPM", "BMP")
SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".pgm": "PPM",
    ".pbm": "PPM",
    ".ppm": "PPM",
    ".pnm": "PPM",
    ".bmp": "BMP",
    ".dcm": "DICOM",
    ".nii": "NIFTI",
    ".nii.gz": "NIFTI",
}
"""What a suffix claims; only ever compared with what the content says."""

PIXEL_LIMIT = 89_478_485
"""Pillow's own bound: the largest ``max_pixels`` that can be asked for."""

LARGEST_VALUE = float(np.finfo(np.float32).max)
"""The squares of such values, over all pixels of a source, still have a finite sum."""

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"BM": "BMP",
    **{b"P%d" % kind: "PPM" for kind in range(1, 7)},
}
_OTHERS = {
    b"GIF8": "GIF",
    b"RIFF": "WebP",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "PDF",
    b"\x93NUMPY": "a NumPy array",
    b"II+\x00": "BigTIFF",
    b"MM\x00+": "BigTIFF",
    b"\x00\x00\x00\x0cjP": "JPEG 2000",
}


@dataclass(frozen=True)
class Decoded:
    """One image; ``pixels`` ``(H, W, C)``, C = 1 or 3, alpha dropped."""

    pixels: NDArray[Any]
    format: str
    """One of ``FORMATS``, or ``NPZ``, ``DICOM``, ``NIFTI``."""
    mode: str
    """Pillow's mode as stored (``RGBA``, ``P``, ``1``, ``I;16``), DICOM's photometric
    interpretation, a volume's number type: a fact about the file."""
    bits: int
    """A channel's: 1, 8, 16 or 32; of DICOM those that are used."""
    frames: int
    """Pages of a TIFF, frames of a DICOM file, else 1; of a volume: the frame after the last
    slice of this plane."""
    place: Place | None = None
    """Of a slice whose file says where it lies."""
    background: NDArray[np.bool_] | None = None
    """``(H, W)``, True = not measured (padding): as dark as the darkest pixel that was, and in
    no statistic; None = all of the image was measured."""
    remarks: tuple[Remark, ...] = ()


def claimed_format(path: str) -> str | None:
    """Return the format that a file's suffix claims, or None."""
    lower = path.lower()
    suffix = ".nii.gz" if lower.endswith(".nii.gz") else posixpath.splitext(lower)[1]
    return SUFFIXES.get(suffix)


def is_dicom(head: bytes) -> bool:
    """Tell whether content that begins with these 132 bytes or more is DICOM."""
    return begins_as_dicom(head)


def sniff(head: bytes) -> str | None:
    """Return which of ``FORMATS`` the first 16 bytes announce, or None."""
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name if name != "PPM" or head[2:3].isspace() else None
    return None


def describe(head: bytes) -> str:
    """Say what content that is no image here looks like."""
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            return f"its content is {name}; export it as PNG or TIFF"
    return f"its content is none of {', '.join(FORMATS)}, DICOM, NIfTI"


def check_values(pixels: NDArray[Any], path: str) -> None:
    """Refuse floating-point pixels that have no mean; ``path`` only names them in messages.

    Raises:
        RejectedError: ``damaged`` where a value is no finite number, or beyond float32.
    """
    if pixels.dtype.kind != "f":
        return
    low, high = float(pixels.min()), float(pixels.max())  # NaN where any value is
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RejectedError(path, "damaged", "holds values that are no finite numbers")
    largest = max(-low, high)
    if largest > LARGEST_VALUE:
        detail = f"holds values up to {largest:.2g}, beyond what float32 can hold"
        raise RejectedError(path, "damaged", detail)


def decode(data: bytes, path: str, frame: int, max_pixels: int) -> Decoded:
    """Decode ``frame`` of an image file's bytes; ``path`` only names it in messages.

    Raises:
        RejectedError: ``empty``, ``not_an_image``, ``damaged``, or (before decoding)
            ``too_large``.
    """
    if not data:
        raise RejectedError(path, "empty", "the file has 0 bytes")
    announced = sniff(data[:16])
    if announced is None:
        raise RejectedError(path, "not_an_image", describe(data[:132]))
    # Damaged metadata make Pillow warn of what does not concern the pixels.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=(announced,)) as image:
                return _decode_frame(image, path, frame, max_pixels)
        except RejectedError:
            raise
        except Image.DecompressionBombError:
            limit = min(max_pixels, PIXEL_LIMIT)
            raise RejectedError(path, "too_large", f"more than {limit:,} pixels") from None
        except Exception as error:
            # Hostile bytes raise anything out of a decoder: OSError, SyntaxError, IndexError.
            raise RejectedError(
                path, "damaged", f"cannot be decoded ({type(error).__name__})"
            ) from None


def _decode_frame(image: Image.Image, path: str, frame: int, max_pixels: int) -> Decoded:
    frames = int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
    channel = frame - frames
    if channel >= 0:
        # Behind its pages, each channel of a TIFF's first page can be had by itself.
        if image.format != "TIFF" or image.mode != "RGB" or channel > 2:
            detail = f"has {frames} frames, so there is no frame {frame}"
            raise RejectedError(path, "damaged", detail)
    elif frame:
        image.seek(frame)
    width, height = image.size
    if width * height > max_pixels:
        detail = f"{width} x {height} pixels are more than max_pixels = {max_pixels:,}"
        raise RejectedError(path, "too_large", detail)
    pixels, bits = _pixels(image)
    if channel >= 0:
        pixels = np.ascontiguousarray(pixels[..., channel, None])
    return Decoded(pixels, str(image.format), image.mode, bits, frames)


def _pixels(image: Image.Image) -> tuple[NDArray[Any], int]:
    """Return ``(H, W, C)`` and the bits a channel; 1-bit images become 0 and 255."""
    mode = image.mode
    if mode == "1":
        return np.asarray(image.convert("L"))[..., None], 1
    if mode == "L":
        return np.asarray(image)[..., None], 8
    if mode in ("LA", "La"):
        return np.asarray(image)[..., :1], 8
    if mode == "RGB":
        return np.asarray(image), 8
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PPM", "PNG")):
        # Pillow widens a PGM of more than 8 bits to 32, scaled to 0 ... 65535.
        return np.asarray(image).astype(np.uint16)[..., None], 16
    if mode in ("I", "F"):
        return np.asarray(image)[..., None], 32
    if mode == "RGBA":
        return np.asarray(image)[..., :3], 8
    return np.asarray(image.convert("RGB")), 8
