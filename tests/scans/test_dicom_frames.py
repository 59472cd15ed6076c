"""Compressed DICOM: which decoder reads what, and what is refused before one is asked."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from maskwise.scans.compression import Picture, jpeg_picture
from maskwise.scans.pictures import read_frame, read_image
from maskwise.scans.reasons import RejectedError
from sources.dicom import compressed, save, slice_of

GPL = "pylibjpeg" in get_decoder(JPEGExtended12Bit).available_plugins
"""Whether the extra is installed."""


def flat(bits: int, height: int = 16, width: int = 24) -> NDArray[Any]:
    """Return blocks of 8 x 8 pixels with one value each, which no JPEG rounds by much."""
    rng = np.random.default_rng(bits)
    kind = np.uint8 if bits <= 8 else np.uint16
    blocks = rng.integers(0, 2**bits, (height // 8, width // 8)).astype(kind)
    return np.kron(blocks, np.ones((8, 8), kind))


def lossless(pixels: NDArray[Any], bits: int) -> bytes:
    """Return a lossless JPEG."""
    return bytes(
        imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=bits)
    )


def write(folder: Path, dataset: pydicom.Dataset) -> Path:
    """Write the dataset as ``a.dcm``."""
    return save(dataset, folder / "a.dcm")


def reject(folder: Path) -> tuple[str, str]:
    """Return why ``a.dcm`` is refused, and in which words."""
    with pytest.raises(RejectedError) as caught:
        read_frame(folder, "a.dcm", 0, 10**6)
    return caught.value.reject[1:]


@pytest.mark.parametrize("bits", range(2, 17))
def test_a_lossless_jpeg_of_any_bits_loses_nothing(tmp_path: Path, bits: int) -> None:
    pixels = flat(bits)
    picture = lossless(pixels, bits)
    for words in {np.uint16(0).dtype, pixels.dtype}:
        elements = {"BitsStored": bits, "HighBit": bits - 1}
        stored = pixels.astype(words)
        write(tmp_path, compressed(stored, [picture], JPEGLosslessSV1, **elements))
        found = read_image(tmp_path, "a.dcm")[..., 0]
        assert found.dtype == words
        assert np.array_equal(found, pixels)


@pytest.mark.parametrize(("syntax", "off"), [(JPEGLSLossless, 0), (JPEGLSNearLossless, 2)])
@pytest.mark.parametrize("bits", [8, 16])
def test_jpeg_ls_is_off_by_no_more_than_it_says(
    tmp_path: Path, syntax: str, off: int, bits: int
) -> None:
    pixels = flat(bits)
    write(tmp_path, compressed(pixels, [imagecodecs.jpegls_encode(pixels, off)], syntax))
    found = read_image(tmp_path, "a.dcm")[..., 0]
    assert np.abs(found.astype(int) - pixels).max() <= off


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit])
@pytest.mark.parametrize("words", [np.uint8, np.uint16])
def test_a_lossy_jpeg_of_8_bits_is_read_in_words_of_any_width(
    tmp_path: Path, syntax: str, words: Any
) -> None:
    pixels = flat(8)
    elements = {"BitsStored": 8, "HighBit": 7}
    picture = imagecodecs.jpeg8_encode(pixels, 100)
    write(tmp_path, compressed(pixels.astype(words), [picture], syntax, **elements))
    found = read_image(tmp_path, "a.dcm")[..., 0]
    assert found.dtype == words
    assert np.abs(found.astype(int) - pixels).max() <= 1


@pytest.mark.skipif(GPL, reason="the extra gpl is installed")
@pytest.mark.parametrize("syntax", [JPEGExtended12Bit, JPEGBaseline8Bit, JPEGLosslessSV1])
@pytest.mark.parametrize("stored", [8, 12])
def test_a_lossy_jpeg_of_12_bits_says_what_would_read_it(
    tmp_path: Path, syntax: str, stored: int
) -> None:
    pixels = flat(12)
    picture = imagecodecs.jpeg8_encode(pixels, 95, bitspersample=12)
    elements = {"BitsStored": stored, "HighBit": stored - 1}
    write(tmp_path, compressed(pixels, [picture], syntax, **elements))
    found, detail = reject(tmp_path)
    assert found == "no_decoder"
    assert "of 12 bits there is no decoder but one under the GPL" in detail
    assert "pip install 'maskwise[gpl]'" in detail


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless])
def test_a_picture_larger_than_the_header_says_is_never_decoded(
    tmp_path: Path, syntax: str
) -> None:
    large = np.zeros((3000, 2000), np.uint8)
    pictures: dict[str, bytes | bytearray] = {
        JPEGBaseline8Bit: imagecodecs.jpeg8_encode(large),
        JPEGLosslessSV1: lossless(large, 8),
        JPEGLSLossless: imagecodecs.jpegls_encode(large),
    }
    write(tmp_path, compressed(flat(8), [pictures[syntax]], syntax))
    said = "the compressed picture is 2000 x 3000 pixels, the header says 24 x 16"
    assert reject(tmp_path) == ("damaged", said)


def test_a_picture_with_more_bits_than_there_is_room_for_is_refused(tmp_path: Path) -> None:
    picture = lossless(flat(12), 12)
    write(tmp_path, compressed(flat(8), [picture], JPEGLosslessSV1))
    assert "has 12 bits, more than BitsAllocated = 8" in reject(tmp_path)[1]


def test_a_picture_without_a_header_is_damaged(tmp_path: Path) -> None:
    for picture in (b"", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\xda\0\2", b"GIF89a" * 9):
        assert jpeg_picture(picture) is None
        write(tmp_path, compressed(flat(8), [picture + bytes(20)], JPEGBaseline8Bit))
        assert reject(tmp_path) == ("damaged", "its compressed picture has no header")


@pytest.mark.parametrize(
    ("before", "frame", "said"),
    [
        (b"", "ffc0 000b 08 0002 0103 01 011100", Picture(2, 259, 8, True)),
        (b"", "ffc3 000b 10 0002 0103 01 011100", Picture(2, 259, 16, False)),
        (b"", "fff7 000b 0c 0002 0103 01 011100", Picture(2, 259, 12, False)),
        # A comment, tables (which are no frame), filling, and a marker without a length.
        (b"\xff\xfe\0\6\xff\xc0zz", "ffc2 000b 08 0002 0003 01 011100", Picture(2, 3, 8, True)),
        (b"\xff\xc4\0\4zz", "ffff ffc1 000b 0c 0002 0003 01 011100", Picture(2, 3, 12, True)),
        (b"\xff\xd0\xff\x01", "ffc0 000b 08 0002 0003 01 011100", Picture(2, 3, 8, True)),
    ],
)
def test_a_jpeg_says_its_size_and_bits_in_its_frame_header(
    before: bytes, frame: str, said: Picture
) -> None:
    assert jpeg_picture(b"\xff\xd8" + before + bytes.fromhex(frame)) == said


def test_a_decoder_that_panics_costs_one_file_one_reject(tmp_path: Path) -> None:
    # Of two segments the second has a byte more than there are pixels.
    starts = np.array([2, 64, 69], "<u4").tobytes().ljust(64, b"\0")
    segments = b"\3aaaa" + b"\4aaaaa" + b"\0"
    words = np.zeros((2, 2), np.uint16)
    write(tmp_path, compressed(words, [starts + segments], RLELossless))
    found, detail = reject(tmp_path)
    assert found == "damaged"
    assert detail == "its pixels cannot be decoded (PanicException)"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_is_not_taken_for_a_damaged_file(
    tmp_path: Path, kind: type[BaseException]
) -> None:
    decoder = get_decoder(JPEGLosslessSV1)
    write(tmp_path, compressed(flat(8), [lossless(flat(8), 8)], JPEGLosslessSV1))
    plugin = decoder._available.pop("gdcm")

    def interrupted(*_: Any) -> bytes:
        raise kind

    decoder._available["gdcm"] = interrupted
    try:
        with pytest.raises(kind):
            read_frame(tmp_path, "a.dcm", 0, 10**6)
    finally:
        decoder._available["gdcm"] = plugin


# Where large frames lie

LARGE = (
    np.random.default_rng(5).integers(0, 2**16, (2, 200, 300), dtype=np.uint16).view(np.int16)
)
"""More bytes than an element that is copied has."""


def of_syntax(syntax: str, kind: str, **elements: Any) -> pydicom.Dataset:
    """Return two frames of 200 x 300 pixels, written as ``syntax`` wants them."""
    words = LARGE.astype(kind)
    if syntax == ExplicitVRBigEndian:
        words = words.astype(words.dtype.newbyteorder(">"))
    dataset = slice_of(words, **elements)
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    return dataset


@pytest.mark.parametrize("elements", [{}, {"BitsStored": 12, "HighBit": 11}], ids=["16", "12"])
@pytest.mark.parametrize("kind", ["u1", "i2", "u2"])
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_pixels_that_are_left_where_they_lie_are_those_that_are_copied(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    syntax: str,
    kind: str,
    elements: dict[str, int],
) -> None:
    elements = {} if kind == "u1" else elements
    save(of_syntax(syntax, kind, **elements), tmp_path / "left.dcm")
    save(of_syntax(syntax, kind, **elements), tmp_path / "copied.dcm")
    left = [read_frame(tmp_path, "left.dcm", frame, 10**6)[1].pixels for frame in (0, 1)]
    monkeypatch.setattr("maskwise.scans.dicom_file._LARGE", 10**9)
    copied = [read_frame(tmp_path, "copied.dcm", frame, 10**6)[1].pixels for frame in (0, 1)]
    np.testing.assert_array_equal(left, copied)
    assert left[0].dtype == copied[0].dtype
    if not elements:
        np.testing.assert_array_equal(np.squeeze(left), LARGE.astype(kind))


def test_an_uncompressed_frame_is_a_view_of_the_file_s_bytes(tmp_path: Path) -> None:
    save(slice_of(LARGE[0]), tmp_path / "a.dcm")
    data, decoded = read_frame(tmp_path, "a.dcm", 0, 10**6)
    assert np.shares_memory(decoded.pixels, np.frombuffer(data, np.uint8))


def test_samples_that_need_no_more_bits_than_are_stored_are_not_copied(tmp_path: Path) -> None:
    signed = np.linspace(-2048, 2047, 200 * 300).astype(np.int16).reshape(200, 300)
    save(slice_of(signed, BitsStored=12, HighBit=11), tmp_path / "a.dcm")
    data, decoded = read_frame(tmp_path, "a.dcm", 0, 10**6)
    np.testing.assert_array_equal(decoded.pixels[..., 0], signed)
    assert np.shares_memory(decoded.pixels, np.frombuffer(data, np.uint8))


def test_a_large_file_that_is_cut_off_says_how_much_it_holds(tmp_path: Path) -> None:
    whole = save(slice_of(LARGE[0]), tmp_path / "whole.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole[:-1000])
    with pytest.raises(RejectedError, match=r"holds 119,000 of 120,000 bytes of pixels"):
        read_frame(tmp_path, "a.dcm", 0, 10**6)
