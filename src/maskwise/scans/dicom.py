"""Frames of a DICOM file: its pixels as the standard means them, and where they lie.

Values are what the modality gave them to mean (rescale slope and intercept, or modality LUT:
Hounsfield units of a CT), MONOCHROME1 is turned to black = low, palettes and YBR become RGB.
Windows and VOI LUTs are left alone: intensities are preprocess's matter.

pydicom quotes values of the header in its warnings and exceptions, which may be a patient's
name. Nothing of either is shown: messages hold sizes, and names of the standard's own lists.
"""

import importlib.util
import io
import logging
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.errors import InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut
from pydicom.pixels.utils import get_expected_length, pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from maskwise.scans.decode import Decoded
from maskwise.scans.dicom_header import numbers_of, place_of
from maskwise.scans.reasons import RejectedError

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", *_COLOUR)
_LIBRARIES: dict[str, str] = {
    **dict.fromkeys(JPEG2000TransferSyntaxes, "openjpeg"),
    **dict.fromkeys((*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes), "libjpeg"),
}
"""Transfer syntax -> the library that decodes it."""
_LEAST_FRAME = 8
"""Bytes of a compressed frame, if nothing were in it: a tag and a length."""
_META_LENGTH = slice(140, 144)
"""Where a file says how many bytes of meta information follow."""
_ALONE = threading.Lock()
"""Warnings and loggers are the whole process's; one thread at a time silences them."""


class DicomReader:
    """Reads single frames of one file."""

    def __init__(self, data: bytes, path: str, limit: int) -> None:
        """Parse the content ``data`` of the file called ``path`` in messages.

        A deflated file may become ``limit`` bytes.

        Raises:
            RejectedError: ``not_an_image``, ``no_pixels``, ``no_decoder``, ``damaged``,
                ``too_large``.
        """
        self._data, self._path = data, path
        with self._explained("cannot be read as DICOM"):
            _check_inflated(data, path, limit)
            self._header = pydicom.dcmread(io.BytesIO(data))
            self._check_pixels()
            self._syntax = UID(self._header.file_meta.TransferSyntaxUID)
            self._check_decoder()
            self._rows, self._columns = int(self._header.Rows), int(self._header.Columns)
            self._frames = max(1, int(self._header.get("NumberOfFrames") or 1))
            self._check_frames()
            self._photometric = str(self._header.PhotometricInterpretation)
            if self._photometric not in _PHOTOMETRIC:
                detail = f"its colours are none of {', '.join(_PHOTOMETRIC)}"
                raise RejectedError(path, "not_an_image", detail)

    def read(self, frame: int, max_pixels: int) -> tuple[bytes, Decoded]:
        """Return the bytes that stand for a frame, and the frame.

        Of a file with one frame these are the file's bytes, else the frame's own.

        Raises:
            RejectedError: ``damaged`` or, before decoding, ``too_large``.
        """
        if self._rows * self._columns > max_pixels:
            detail = (
                f"{self._columns} x {self._rows} pixels are more than max_pixels = "
                f"{max_pixels:,}"
            )
            raise RejectedError(self._path, "too_large", detail)
        if frame >= self._frames:
            detail = f"has {self._frames} frames, so there is no frame {frame}"
            raise RejectedError(self._path, "damaged", detail)
        with self._explained("its pixels cannot be decoded"):
            self._check_size(frame)
            pixels = self._pixels(frame)
            place = place_of(self._header, frame, self._frames)
            bits = self._bits(pixels)
        decoded = Decoded(
            pixels=pixels,
            format="DICOM",
            mode=self._photometric,
            bits=bits,
            frames=self._frames,
            place=place,
        )
        return (self._data if self._frames == 1 else pixels.tobytes()), decoded

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            with _quietly():
                yield
        except RejectedError:
            raise
        except Exception as error:
            # Hostile bytes raise anything; its text may quote the header.
            kind = "not_an_image" if isinstance(error, InvalidDicomError) else "damaged"
            raise RejectedError(self._path, kind, f"{what} ({type(error).__name__})") from None

    def _check_pixels(self) -> None:
        if any(name in self._header for name in _PIXELS):
            return
        storage = UID(self._header.file_meta.get("MediaStorageSOPClassUID", ""))
        if "Rows" in self._header or storage.name.endswith("Image Storage"):
            raise RejectedError(self._path, "damaged", "a DICOM image whose pixels are missing")
        raise RejectedError(self._path, "no_pixels", "a DICOM object without an image")

    def _check_decoder(self) -> None:
        try:
            decoder = get_decoder(self._syntax)
        except NotImplementedError:
            # What is not in the standard's list may be any text, a name among it.
            known = self._syntax.name if self._syntax.type else "one of its own"
            detail = f"its transfer syntax ({known}) is none that can be decoded here"
            raise RejectedError(self._path, "no_decoder", detail) from None
        if not decoder.is_available:
            needed = "; ".join(decoder.missing_dependencies)
            detail = f"for {self._syntax.name} there is no decoder: install one of {needed}"
            raise RejectedError(self._path, "no_decoder", detail)

    def _check_frames(self) -> None:
        """Refuse more compressed frames than there is room for: each would be looked for.

        Of uncompressed ones, pydicom holds all against the bytes at the first.
        """
        held = len(self._header.get("PixelData") or b"")
        if self._syntax.is_encapsulated and held < _LEAST_FRAME * self._frames:
            detail = f"holds {held:,} bytes of pixels, too few for {self._frames:,} frames"
            raise RejectedError(self._path, "damaged", detail)

    def _check_size(self, frame: int) -> None:
        """Refuse a compressed picture of another size than the header promises."""
        if not self._syntax.is_encapsulated:
            return
        picture = get_frame(self._header.PixelData, frame, number_of_frames=self._frames)
        size = _size_inside(picture, self._syntax)
        if size is not None and size != (self._rows, self._columns):
            detail = (
                f"the compressed picture is {size[1]} x {size[0]} pixels, the header says "
                f"{self._columns} x {self._rows}"
            )
            raise RejectedError(self._path, "damaged", detail)

    def _decoded(self, frame: int) -> NDArray[Any]:
        try:
            return pixel_array(self._header, index=frame)
        except ValueError:
            held = len(
                next(self._header[name].value for name in _PIXELS if name in self._header)
            )
            expected = get_expected_length(self._header)
            if self._syntax.is_encapsulated or held >= expected:
                raise
            detail = f"holds {held:,} of {expected:,} bytes of pixels"
            raise RejectedError(self._path, "damaged", detail) from None

    def _pixels(self, frame: int) -> NDArray[Any]:
        """Return ``(H, W, C)``, C = 1 or 3, in this machine's byte order."""
        stored = self._decoded(frame)
        stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        if self._photometric == "PALETTE COLOR":
            stored = apply_color_lut(stored, self._header)[..., :3]
            return stored if stored.dtype == np.uint8 else (stored >> 8).astype(np.uint8)
        if stored.ndim == 3:
            surplus = max(0, int(self._header.BitsStored) - 8)
            return (stored >> surplus).astype(np.uint8)  # as colour of other formats
        if self._header.get("BitsAllocated") == 1:
            return (stored * np.uint8(255))[..., None]  # as 1-bit images of other formats
        if self._photometric == "MONOCHROME1" and stored.dtype.kind in "ui":
            stored = _inverted(stored, self._header)
        return np.ascontiguousarray(_meant(stored, self._header, frame))[..., None]

    def _bits(self, pixels: NDArray[Any]) -> int:
        """Return how many bits of a value are used: of floating point all, whatever is said."""
        stored = self._header.get("BitsStored") if "PixelData" in self._header else None
        return int(stored or 8 * pixels.dtype.itemsize)


@contextmanager
def _quietly() -> Iterator[None]:
    """Let pydicom say nothing, for it would quote the header."""
    logger = logging.getLogger("pydicom")
    with _ALONE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        disabled, logger.disabled = logger.disabled, True
        try:
            yield
        finally:
            logger.disabled = disabled


def _check_inflated(data: bytes, path: str, limit: int) -> None:
    """Refuse a deflated file that grows beyond bounds, before pydicom inflates it."""
    start = _META_LENGTH.stop + int.from_bytes(data[_META_LENGTH], "little")
    if DeflatedExplicitVRLittleEndian.encode() in data[:start]:
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:], limit + 1)
        if len(inflated) > limit:
            detail = f"inflates to more than {limit:,} bytes"
            raise RejectedError(path, "too_large", detail)


def _size_inside(picture: bytes, syntax: UID) -> tuple[int, int] | None:
    """Return rows and columns that a compressed picture claims for itself, if it can be asked.

    Decoders believe it, and not the header that was held against ``max_pixels``.
    """
    library = _LIBRARIES.get(syntax)
    if library is None or importlib.util.find_spec(library) is None:
        return None  # Pillow's decoders, which may stand in, have a limit of their own
    claimed = importlib.import_module(library).get_parameters(picture)
    return int(claimed["rows"]), int(claimed["columns"])


def _inverted(stored: NDArray[Any], header: pydicom.Dataset) -> NDArray[Any]:
    """Turn white = low into black = low, within the bits that are stored."""
    bits = int(header.BitsStored)
    if stored.dtype.kind == "i":
        return np.asarray(np.invert(stored))  # -1 - v
    largest = 2**bits - 1
    return np.asarray((largest - np.minimum(stored, largest)).astype(stored.dtype))


def _meant(stored: NDArray[Any], header: pydicom.Dataset, frame: int) -> NDArray[Any]:
    """Return the modality's values; whole numbers stay such where slope and intercept are."""
    if "ModalityLUTSequence" in header:
        return np.asarray(apply_modality_lut(stored, header))
    group = "PixelValueTransformationSequence"
    (slope,) = numbers_of(header, frame, group, "RescaleSlope", 1) or (1.0,)
    (inter,) = numbers_of(header, frame, group, "RescaleIntercept", 1) or (0.0,)
    if (slope, inter) == (1.0, 0.0) or slope == 0:
        return stored
    values = stored.astype(np.float64) * slope + inter
    largest = max(abs(values.min()), abs(values.max()))
    whole = stored.dtype.kind in "ui" and slope.is_integer() and inter.is_integer()
    if whole and largest < 2**63:  # beyond, the sign would turn
        return values.astype(np.int32 if largest < 2**31 else np.int64)
    return values.astype(np.float32)
