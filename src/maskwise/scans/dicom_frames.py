"""Frames of a DICOM file as samples: which decoder reads what, and what pictures claim.

Every way to compress has one decoder, so that a file has the same pixels on every machine.
A decoder believes the compressed picture's own header, so that header is checked against the
file's before a decoder is called, and says what must be told: pydicom's plug-ins take the order
of colours from PlanarConfiguration, which holds for no JPEG, and GDCM ends the whole process
where a lossless picture in 8 bits is said to use fewer.
"""

from typing import Any

from numpy.typing import NDArray
from openjpeg.utils import get_parameters
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGLSNearLossless,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from maskwise.scans.compression import Picture, colours_transformed, jpeg_picture
from maskwise.scans.dicom_file import UNCOMPRESSED
from maskwise.scans.dicom_header import Header
from maskwise.scans.dicom_pixels import Layout
from maskwise.scans.reasons import RejectedError
from maskwise.wording import count

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_JPEG = frozenset((*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes))
_CONTRADICTED = {"YBR_ICT": False, "YBR_RCT": False, "YBR_FULL": True, "YBR_FULL_422": True}
"""Colours -> what a compressed picture cannot say of a transform of them. RGB may be either."""
_LEAST_FRAME = 8
"""Bytes of a compressed frame, if nothing were in it: a tag and a length."""


def check_syntax(syntax: UID, path: str) -> None:
    """Refuse a way to compress that nothing installed decodes.

    Raises:
        RejectedError: ``no_decoder``.
    """
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        # What is not in the standard's list may be any text, a name among it.
        known = syntax.name if syntax.type else "one of its own"
        detail = f"its transfer syntax ({known}) is none that can be decoded here"
        raise RejectedError(path, "no_decoder", detail) from None
    if not decoder.is_available:
        needed = "; ".join(decoder.missing_dependencies)
        detail = f"for {syntax.name} there is no decoder: install one of {needed}"
        raise RejectedError(path, "no_decoder", detail)


def check_frames(header: Header, syntax: UID, frames: int) -> None:
    """Refuse more compressed frames than there is room for: each would be looked for.

    Of uncompressed ones, pydicom checks all against the bytes at the first.
    """
    held = len(header.dataset.get("PixelData") or b"")
    if syntax.is_encapsulated and held < _LEAST_FRAME * frames:
        detail = f"holds {held:,} bytes of pixels, too few for {count(frames, 'frame')}"
        raise RejectedError(header.path, "damaged", detail)


def samples_of(
    header: Header, layout: Layout, syntax: UID, frame: int
) -> tuple[NDArray[Any], str]:
    """Return a frame's samples, ``(H, W)`` or ``(H, W, 3)``, and which colours they mean.

    They are as the file has them: all their bits, and no colour is made another. Where nothing
    stands between, they are a view of the file's bytes, which cannot be written on.

    Raises:
        RejectedError: ``damaged``, ``no_decoder``.
    """
    decoder, options = get_decoder(syntax), _options(header, layout, syntax, frame)
    if syntax in UNCOMPRESSED and _as_they_lie(layout):
        options["view_only"] = True
    try:
        words, properties = decoder.as_array(header.dataset, index=frame, raw=True, **options)
    except ValueError:
        held = len(header.dataset[next(name for name in PIXELS if name in header)].value)
        expected = get_expected_length(header.dataset)
        if syntax.is_encapsulated or held >= expected:
            raise
        detail = f"holds {held:,} of {expected:,} bytes of pixels"
        raise RejectedError(header.path, "damaged", detail) from None
    words = words.astype(words.dtype.newbyteorder("="), copy=False)
    if not layout.floating and words.dtype.itemsize < layout.allocated // 8:
        unsigned = words.view(f"u{words.dtype.itemsize}")
        words = unsigned.astype(f"{'i' if layout.signed else 'u'}{layout.allocated // 8}")
    return words, str(properties["photometric_interpretation"])


def _as_they_lie(layout: Layout) -> bool:
    """Tell whether a frame's samples need neither be unpacked nor put into another order."""
    return layout.little and not layout.colour and layout.allocated != 1


def _options(header: Header, layout: Layout, syntax: UID, frame: int) -> dict[str, Any]:
    """Return what the decoder of a frame is told beside the header."""
    if layout.floating:
        return {}
    if not syntax.is_encapsulated:
        if layout.colour:
            _check_planes(header)
        return {"correct_unused_bits": False}
    picture = _claimed(header, layout, syntax, frame)
    if picture is None:
        return {"correct_unused_bits": False, "decoding_plugin": "pylibjpeg"}
    _check_claims(picture, header, layout)
    if syntax not in _JPEG:
        return {"decoding_plugin": "pylibjpeg", "planar_configuration": 0}
    plugin = _jpeg_decoder(picture, syntax, get_decoder(syntax), header.path)
    options = {"decoding_plugin": plugin, "planar_configuration": 0}
    if plugin != "pylibjpeg":
        bits = 8 if picture.bits <= 8 else 16
        options |= {"bits_allocated": bits, "bits_stored": bits, "correct_unused_bits": False}
    return options


def _check_planes(header: Header) -> None:
    """Refuse colours of which nobody says whether they lie beside or behind one another."""
    planar = header.required("PlanarConfiguration")
    if planar > 1:
        raise header.unreadable("PlanarConfiguration", "0 or 1", planar)


def _jpeg_decoder(picture: Picture, syntax: UID, decoder: Decoder, path: str) -> str:
    """Return the plug-in that reads a picture right; GDCM reads nothing lossy of 12 bits."""
    if picture.lossy:
        plugin = "pillow" if picture.bits <= 8 else ""
    else:
        near = syntax == JPEGLSNearLossless and picture.bits < 8
        small = syntax in JPEGLSTransferSyntaxes and picture.bits in (6, 7)
        plugin = "" if near or small else "gdcm"
    for name in (plugin, "pylibjpeg"):
        if name in decoder.available_plugins:
            return name
    detail = (
        f"for {syntax.name} of {picture.bits} bits there is no decoder but one under the GPL; "
        "if that suits you: pip install 'maskwise[gpl]'"
    )
    raise RejectedError(path, "no_decoder", detail)


def _claimed(header: Header, layout: Layout, syntax: UID, frame: int) -> Picture | None:
    """Return what a compressed picture says about itself; None = it says nothing (RLE)."""
    if syntax not in _JPEG and syntax not in JPEG2000TransferSyntaxes:
        return None
    data = get_frame(header.dataset.PixelData, frame, number_of_frames=layout.frames)
    if syntax in JPEG2000TransferSyntaxes:
        said = get_parameters(data)
        size = (int(said["rows"]), int(said["columns"]), int(said["precision"]))
        return Picture(*size, transformed=colours_transformed(data))
    picture = jpeg_picture(data)
    if picture is None:
        raise RejectedError(header.path, "damaged", "its compressed picture has no header")
    return picture


def _check_claims(picture: Picture, header: Header, layout: Layout) -> None:
    """Refuse a compressed picture of another size than the header promises."""
    rows, columns, bits = picture[:3]
    if (rows, columns) != (layout.rows, layout.columns):
        detail = (
            f"the compressed picture is {columns} x {rows} pixels, the header says "
            f"{layout.columns} x {layout.rows}"
        )
        raise RejectedError(header.path, "damaged", detail)
    if bits > layout.allocated:
        detail = (
            f"the compressed picture has {bits} bits, more than BitsAllocated = "
            f"{layout.allocated}"
        )
        raise RejectedError(header.path, "damaged", detail)
    if layout.high != layout.stored - 1:
        wanted = f"BitsStored - 1 = {layout.stored - 1} in a compressed picture"
        raise header.unreadable("HighBit", wanted, layout.high)
    if picture.transformed == _CONTRADICTED.get(layout.photometric, ...):
        did = "was" if picture.transformed else "was not"
        detail = (
            f"PhotometricInterpretation is {layout.photometric}, but the compressed picture "
            f"says that a transform of colours {did} applied"
        )
        raise RejectedError(header.path, "unreadable_element", detail)
