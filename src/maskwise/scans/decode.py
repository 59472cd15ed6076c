"""Bytes to pixels: PNG, JPEG, PGM (and kin) and BMP, recognised by content, never by suffix.

TIFF, DICOM and NIfTI are recognised here and read by ``tiff.py``, ``dicom.py`` and
``nifti.py``.
"""

import io
import math
import posixpath
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maskwise.scans.guarded import quiet, refusing
from maskwise.scans.orientation import orientation_in, turned
from maskwise.scans.place import Place
from maskwise.scans.reasons import RejectedError
from maskwise.scans.region import Region
from maskwise.scans.remarks import Remark
from maskwise.wording import count

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
LONGEST_SUFFIX = max(map(len, SUFFIXES))
"""Letters at the end of a name that say what it claims."""

PIXEL_LIMIT = 89_478_485
"""Pillow's own bound: the largest ``max_pixels`` that can be asked for."""

LARGEST_VALUE = float(np.finfo(np.float32).max)
"""The squares of such values, over all pixels of a source, still have a finite sum."""

_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
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
    b"\x00\x00\x00\x0cjP": "JPEG 2000",
}
_SEVERAL = (b"\x02", b"\x04", b"\x06")
"""PNG's colour types of several channels: colour, grey with alpha, colour with alpha."""


@dataclass(frozen=True)
class Decoded:
    """One image; ``pixels`` ``(H, W, C)``, C = 1 or 3, alpha dropped, turned upright."""

    pixels: NDArray[Any]
    format: str
    """One of ``FORMATS``, or ``NPZ``, ``DICOM``, ``NIFTI``."""
    mode: str
    """Pillow's mode as stored (``RGBA``, ``P``, ``1``, ``I;16``), photometric interpretation of
    a TIFF or a DICOM file, a volume's number type: a fact about the file."""
    bits: int
    """A channel's; of TIFF and DICOM those that are used."""
    frames: int
    """Pages of a TIFF, frames of a DICOM file, else 1; of a volume: the frame after the last
    slice of this plane."""
    place: Place | None = None
    """Of a slice whose file says where it lies."""
    background: NDArray[np.bool_] | None = None
    """``(H, W)``, True = not measured (padding): as dark as the darkest pixel that was, and in
    no statistic; None = all of the image was measured."""
    remarks: tuple[Remark, ...] = ()
    indices: NDArray[Any] | None = None
    """``(H, W)``, what is stored of a picture with a palette; ``pixels`` are its colours."""
    alpha: NDArray[Any] | None = None
    """``(H, W)``, opacity; a mask may be drawn in nothing else."""
    lossy: bool = False
    """Whether compression by JPEG or its like changed the pixels: its noise is about them."""
    modality: str | None = None
    """``ultrasound``, ``mr``, ``ct`` or ``xray``, where a DICOM file says so."""
    region: Region | None = None
    """What part of the frame this is; None = all of it."""
    whole: tuple[int, int] | None = None
    """Of such a part: height and width of the frame, pixels."""

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Return height and width of the frame, of which this may be a part."""
        return self.whole or (self.pixels.shape[0], self.pixels.shape[1])

    def part_of(self, mask: NDArray[Any]) -> NDArray[Any]:
        """Return what of a mask ``(H, W)`` of the frame lies in this part of it."""
        return mask if self.region is None else self.region.cut(mask)


def claimed_format(path: str) -> str | None:
    """Return the format that a file's suffix claims, or None."""
    lower = path.lower()
    suffix = ".nii.gz" if lower.endswith(".nii.gz") else posixpath.splitext(lower)[1]
    return SUFFIXES.get(suffix)


def sniff(head: bytes) -> str | None:
    """Return which of ``FORMATS`` the first 16 bytes announce, or None."""
    for magic, name in _MAGIC.items():
        if head.startswith(magic):
            return name if name != "PPM" or head[2:3].isspace() else None
    return None


def describe(head: bytes) -> str:
    """Say what content that is not an image here looks like."""
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            return f"its content is {name}; export it as PNG or TIFF"
    return f"its content is none of {', '.join(FORMATS)}, DICOM, NIfTI"


def check_values(pixels: NDArray[Any], path: str) -> None:
    """Refuse floating-point pixels that have no mean; ``path`` only names them in messages.

    Raises:
        RejectedError: ``damaged`` where a value is not a finite number, or beyond float32.
    """
    if pixels.dtype.kind != "f":
        return
    low, high = float(pixels.min()), float(pixels.max())  # NaN where any value is
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RejectedError(path, "damaged", _not_finite(pixels))
    largest = max(-low, high)
    if largest > LARGEST_VALUE:
        detail = f"holds values up to {largest:.2g}, beyond what float32 can hold"
        raise RejectedError(path, "damaged", detail)


def _not_finite(pixels: NDArray[Any]) -> str:
    """Say which values are not finite numbers, and what can be done if they are NaN alone."""
    detail = "holds values that are not finite numbers"
    if np.isinf(pixels).any():
        return f"{detail} (infinite ones)"
    share = float(np.isnan(pixels).any(axis=-1).mean())
    return (
        f"{detail} (NaN in {share:.2%} of its pixels); if NaN means not measured, set "
        "`reading: {nan: background}`"
    )


def decode(data: bytes, path: str, frame: int, max_pixels: int) -> Decoded:
    """Decode an image file of one picture, of any of ``FORMATS`` but TIFF.

    ``path`` only names it in messages. Of an animation or a file of several photographs the
    first is read, with a remark. The picture is turned as its EXIF orientation says.

    Raises:
        RejectedError: ``empty``, ``not_an_image``, ``damaged``, or (before decoding)
            ``too_large``.
    """
    if not data:
        raise RejectedError(path, "empty", "the file has 0 bytes")
    announced = sniff(data[:16])
    if announced is None:
        raise RejectedError(path, "not_an_image", describe(data[:HEAD]))
    # Damaged metadata make Pillow warn of what does not concern the pixels.
    with refusing(path, "cannot be decoded"), quiet():
        try:
            with Image.open(io.BytesIO(data), formats=(announced,)) as image:
                check_frame(path, frame, 1)
                check_size(path, *image.size, max_pixels)
                return _picture(image, data, announced)
        except Image.DecompressionBombError:
            limit = min(max_pixels, PIXEL_LIMIT)
            raise RejectedError(path, "too_large", f"more than {limit:,} pixels") from None
        except OSError as error:
            if "truncated" not in str(error).lower():  # Pillow's word, in all it says of this
                raise
            detail = "cannot be decoded: the file ends early; copy it again"
            raise RejectedError(path, "damaged", detail) from None


def check_frame(path: str, frame: int, frames: int) -> None:
    """Refuse a frame that a file of so many does not hold."""
    if frame >= frames:
        detail = f"has {count(frames, 'frame')}, so there is no frame {frame}"
        raise RejectedError(path, "damaged", detail)


def check_size(path: str, width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture of more pixels than ``max_pixels``, by its header."""
    if width * height > max_pixels:
        detail = f"{width} x {height} pixels are more than max_pixels = {max_pixels:,}"
        raise RejectedError(path, "too_large", detail)


def _picture(image: Image.Image, data: bytes, announced: str) -> Decoded:
    pixels, bits = _deep_pixels(image, data) if _is_deep_png(data) else _pixels(image)
    stored = np.asarray(image) if image.mode == "P" else None
    alpha = pixels[..., -1] if pixels.shape[2] in (2, 4) else None
    pixels = pixels[..., :-1] if alpha is not None else pixels
    orientation, remarks = orientation_in(image)
    pictures = int(getattr(image, "n_frames", 1))
    if pictures > 1:
        detail = f"{pictures} of which the first was read"
        remarks += (Remark("further_pictures", detail),)
    return Decoded(
        pixels=turned(pixels, orientation),
        format=announced,
        mode=image.mode,
        bits=bits,
        frames=1,
        remarks=remarks,
        indices=None if stored is None else turned(stored, orientation),
        alpha=None if alpha is None else turned(alpha, orientation),
        lossy=announced == "JPEG",
    )


def _is_deep_png(data: bytes) -> bool:
    """Tell whether this is a PNG of 16 bits that has more than a grey channel.

    Pillow would cut each to 8 bits.
    """
    return data.startswith(b"\x89PNG") and data[24:25] == b"\x10" and data[25:26] in _SEVERAL


def _deep_pixels(image: Image.Image, data: bytes) -> tuple[NDArray[Any], int]:
    import imagecodecs  # late: few files need it

    image.load()  # Pillow finds what is damaged, where libpng complains on stderr
    return imagecodecs.png_decode(data), 16


def _pixels(image: Image.Image) -> tuple[NDArray[Any], int]:
    """Return ``(H, W, C)`` and the bits of a channel; alpha is the last of 2 or 4 channels.

    1-bit images become 0 and 255.
    """
    mode = image.mode
    if mode == "1":
        return np.asarray(image.convert("L"))[..., None], 1
    if mode == "L":
        return np.asarray(image)[..., None], 8
    if mode in ("RGB", "RGBA", "LA", "La"):
        return np.asarray(image), 8
    if mode.startswith("I;16") or mode == "I":
        # Pillow widens a PGM of more than 8 bits to 32, scaled to 0 ... 65535.
        return np.asarray(image).astype(np.uint16)[..., None], 16
    return np.asarray(image.convert("RGB")), 8
