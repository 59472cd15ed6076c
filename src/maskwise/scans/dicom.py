"""Frames of a DICOM file: its pixels as the standard means them, and where they lie.

Values are what the modality gave them to mean (rescale slope and intercept, or modality LUT:
Hounsfield units of a CT), MONOCHROME1 is turned to black = low, palettes and YBR become RGB.
Windows and VOI LUTs are left alone: intensities are preprocess's matter. What is not an
image (segmentations, doses, reports) is refused by name.

pydicom quotes values of the header in its warnings and exceptions, which may be a patient's
name. Nothing of either is shown: messages hold sizes, and names of the standard's own lists.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)

from maskwise.scans.background import darkened
from maskwise.scans.decode import Decoded, check_frame, check_size
from maskwise.scans.dicom_file import meta_information, parsed
from maskwise.scans.dicom_frames import PIXELS, check_frames, check_syntax, samples_of
from maskwise.scans.dicom_header import Header, place_of, text_of
from maskwise.scans.dicom_kind import kind_of, localizer_of
from maskwise.scans.dicom_pixels import layout_of, padding_of, stored_of, values_of
from maskwise.scans.dicom_tables import through_palette
from maskwise.scans.guarded import quiet, refusing
from maskwise.scans.reasons import RejectedError
from maskwise.scans.remarks import Remark

_YBR = ("YBR_FULL", "YBR_FULL_422")
_LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit)
_UNDECODED = "its pixels cannot be decoded"


class DicomReader:
    """Reads single frames of one file."""

    def __init__(self, data: bytes, path: str, limit: int) -> None:
        """Parse the content ``data`` of the file called ``path`` in messages.

        A deflated file may become ``limit`` bytes.

        Raises:
            RejectedError: ``not_an_image``, ``no_pixels``, ``no_decoder``, ``damaged``,
                ``too_large``, ``no_transfer_syntax``, ``unreadable_element``.
        """
        self._data, self._path = data, path
        with refusing(path, "cannot be read as DICOM"), quiet("pydicom"):
            _check_inflated(data, path, limit)
            self._header = Header(parsed(data), path)
            self._syntax = self._transfer_syntax()
            self._kind = kind_of(self._header)
            self._check_pixels()
            check_syntax(self._syntax, path)
            self._layout = layout_of(self._header, self._syntax.is_little_endian)
            check_frames(self._header, self._syntax, self._layout.frames)

    def read(self, frame: int, max_pixels: int) -> tuple[bytes, Decoded]:
        """Return the bytes that stand for a frame, and the frame.

        Of a file with one frame these are the file's bytes, else the frame's own.

        Raises:
            RejectedError: ``damaged``, ``no_decoder``, ``unreadable_element``, ``not_a_scan``,
                ``localizer`` or, before decoding, ``too_large``.
        """
        return self._read(frame, max_pixels, grey=False)

    def read_grey(self, frame: int, max_pixels: int) -> tuple[bytes, Decoded]:
        """Return what ``read`` does, but of colours stored as luminance and more, that alone.

        That is what greys of a network are made of (ITU-R 601), not twice rounded.
        """
        return self._read(frame, max_pixels, grey=True)

    def read_as_mask(self, frame: int, max_pixels: int) -> Decoded:
        """Return a frame of an image, or the only one of a segmentation.

        Raises:
            RejectedError: what ``read`` raises.
        """
        if self._kind.segmentation and self._layout.frames == 1:
            with refusing(self._path, _UNDECODED), quiet("pydicom"):
                self._check_frame(frame, max_pixels)
                return self._decoded(frame, grey=False)[1]
        return self.read(frame, max_pixels)[1]

    def _read(self, frame: int, max_pixels: int, grey: bool) -> tuple[bytes, Decoded]:
        with refusing(self._path, _UNDECODED), quiet("pydicom"):
            self._check_image(frame)
            self._check_frame(frame, max_pixels)
            words, decoded = self._decoded(frame, grey)
            return (self._data if decoded.frames == 1 else words.tobytes()), decoded

    def _transfer_syntax(self) -> UID:
        syntax = self._header.dataset.file_meta.get("TransferSyntaxUID")
        if not syntax and not self._header.dataset:
            raise RejectedError(
                self._path, "damaged", "a DICOM file that ends within its meta information"
            )
        if not syntax:
            detail = "a DICOM file without TransferSyntaxUID, which says how it is to be read"
            raise RejectedError(self._path, "no_transfer_syntax", detail)
        return UID(syntax)

    def _check_pixels(self) -> None:
        if any(name in self._header for name in PIXELS):
            return
        other = self._kind.other
        if other is None and ("Rows" in self._header or self._kind.image):
            raise RejectedError(self._path, "damaged", "a DICOM image whose pixels are missing")
        what = f": {other}" if other else ""
        raise RejectedError(self._path, "no_pixels", f"a DICOM object without an image{what}")

    def _check_image(self, frame: int) -> None:
        if self._kind.other is not None:
            detail = f"its pixels are not an image: {self._kind.other}"
            raise RejectedError(self._path, "not_a_scan", detail)
        says = localizer_of(self._header, frame)
        if says is not None:
            detail = f"a localizer, from which other images are planned: its {says}"
            raise RejectedError(self._path, "localizer", detail)

    def _check_frame(self, frame: int, max_pixels: int) -> None:
        layout = self._layout
        check_size(self._path, layout.columns, layout.rows, max_pixels)
        check_frame(self._path, frame, layout.frames)

    def _decoded(self, frame: int, grey: bool) -> tuple[NDArray[Any], Decoded]:
        """Return the samples of a frame as they are stored, and the frame."""
        layout = self._layout
        words, colours = samples_of(self._header, layout, self._syntax, frame)
        if words.ndim == 3:
            pixels, background = self._colour(words, colours, grey), None
        else:
            pixels, background = self._monochrome(words, frame)
        decoded = Decoded(
            pixels=pixels,
            format="DICOM",
            mode=layout.photometric,
            bits=layout.stored or 8 * pixels.dtype.itemsize,
            frames=layout.frames,
            place=place_of(self._header, frame, layout.frames),
            background=background,
            remarks=(*self._kind.remarks, *self._smeared()),
            lossy=self._lossy,
            modality=self._kind.modality,
        )
        return words, decoded

    @property
    def _lossy(self) -> bool:
        said = text_of(self._header.dataset, "LossyImageCompression")
        return said == "01" or self._syntax in _LOSSY

    def _smeared(self) -> Iterator[Remark]:
        if self._lossy and "PixelPaddingValue" in self._header and not self._layout.colour:
            yield Remark("smeared_padding", "")

    def _colour(self, words: NDArray[Any], colours: str, grey: bool) -> NDArray[Any]:
        """Return ``(H, W, 3)`` RGB of 8 bits, or ``(H, W, 1)`` if grey is all that is asked."""
        stored = stored_of(words, self._layout)
        if colours in _YBR:
            if stored.dtype != np.uint8:
                raise self._header.unreadable("BitsAllocated", f"8 for {colours}")
            if grey:
                return np.ascontiguousarray(stored[..., :1])
            return np.asarray(convert_color_space(stored, "YBR_FULL", "RGB"))
        surplus = max(0, self._layout.stored - 8)
        return (stored >> surplus).astype(np.uint8)  # as colour of other formats

    def _monochrome(
        self, words: NDArray[Any], frame: int
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Return ``(H, W, C)``, C = 1, of a palette 3, and what was not measured."""
        layout = self._layout
        stored = stored_of(words, layout)
        background = padding_of(words, stored, layout, self._header)
        if layout.photometric == "PALETTE COLOR":
            pixels = through_palette(stored, self._header, layout.signed, layout.little)
        else:
            pixels = values_of(stored, layout, self._header, frame)[..., None]
        return darkened(np.ascontiguousarray(pixels), background), background


def _check_inflated(data: bytes, path: str, limit: int) -> None:
    """Refuse a deflated file that grows beyond bounds, before pydicom inflates it."""
    syntax, start = meta_information(data)
    if syntax == DeflatedExplicitVRLittleEndian:
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:], limit + 1)
        if len(inflated) > limit:
            detail = f"inflates to more than {limit:,} bytes"
            raise RejectedError(path, "too_large", detail)
