"""What stored samples of DICOM mean: their bits, the modality's values, padding, colours."""

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
)

from maskwise.ingest.measure import Job, Task, measure
from maskwise.scans.decode import Decoded
from maskwise.scans.pictures import read_frame, read_grey, read_image
from maskwise.scans.reasons import RejectedError
from sources.dicom import compressed, save, slice_of

RAMP = np.arange(12, dtype=np.uint16).reshape(3, 4)
WHITE = {"PhotometricInterpretation": "MONOCHROME1"}
TWELVE = {"BitsStored": 12, "HighBit": 11}
# 16 bits of which 12 are stored; above those stands anything.
WORDS = np.array(
    [[0x0000, 0x07FF, 0x0800, 0x0FFF], [0xF000, 0xA7FF, 0x5800, 0x3FFF]], np.uint16
)
UNSIGNED = [[0, 2047, 2048, 4095], [0, 2047, 2048, 4095]]
SIGNED = [[0, 2047, -2048, -1], [0, 2047, -2048, -1]]


def pixels_of(folder: Path, dataset: pydicom.Dataset) -> NDArray[Any]:
    """Return the pixels ``(H, W)`` or ``(H, W, 3)`` of a dataset, once it is a file."""
    save(dataset, folder / "a.dcm")
    return np.squeeze(read_image(folder, "a.dcm"))


def decoded(folder: Path, dataset: pydicom.Dataset) -> Decoded:
    """Return what is decoded of a dataset, once it is a file."""
    save(dataset, folder / "a.dcm")
    return read_frame(folder, "a.dcm", 0, 10**6)[1]


def as_j2k(words: NDArray[Any]) -> bytes:
    """Return a picture of JPEG 2000 that loses nothing."""
    picture = io.BytesIO()
    Image.fromarray(words).save(picture, "JPEG2000", no_jp2=True, irreversible=False)
    return picture.getvalue()


# Bits


@pytest.mark.parametrize(("kind", "meant"), [("<u2", UNSIGNED), ("<i2", SIGNED)])
def test_bits_above_those_that_are_stored_are_left_out(
    tmp_path: Path, kind: str, meant: list[list[int]]
) -> None:
    words = WORDS.view(kind)
    pictures: dict[str, bytes | bytearray] = {
        JPEG2000Lossless: as_j2k(WORDS),
        JPEGLosslessSV1: imagecodecs.jpeg8_encode(
            WORDS, lossless=True, predictor=1, bitspersample=16
        ),
        JPEGLSLossless: imagecodecs.jpegls_encode(WORDS),
    }
    assert pixels_of(tmp_path, slice_of(words, **TWELVE)).tolist() == meant
    for syntax, picture in pictures.items():
        dataset = compressed(words, [picture], syntax, **TWELVE)
        assert pixels_of(tmp_path, dataset).tolist() == meant


def test_samples_may_lie_higher_in_their_words(tmp_path: Path) -> None:
    high = {"BitsStored": 12, "HighBit": 15}
    words = (RAMP << 4) | 0b1010
    assert np.array_equal(pixels_of(tmp_path, slice_of(words, **high)), RAMP)
    dataset = compressed(words, [as_j2k(words)], JPEG2000Lossless, **high)
    with pytest.raises(RejectedError, match="HighBit is '15'"):
        pixels_of(tmp_path, dataset)


# White = low


@pytest.mark.parametrize(
    "elements",
    [
        {"RescaleType": "HU"},
        {"RescaleType": "OD"},
        {"Modality": "CT"},
        {"Modality": "PT"},
        {"Modality": "CT", "RescaleType": "HU"},
    ],
)
def test_values_with_a_unit_are_not_turned(tmp_path: Path, elements: dict[str, str]) -> None:
    dataset = slice_of(RAMP, RescaleIntercept="-1024", RescaleSlope="1", **WHITE, **elements)
    assert np.array_equal(pixels_of(tmp_path, dataset), RAMP.astype(int) - 1024)


@pytest.mark.parametrize(
    "elements", [{}, {"RescaleType": "US"}, {"Modality": "CR"}, {"Modality": "DX"}]
)
def test_values_for_display_are_turned_within_what_they_are_scaled_to(
    tmp_path: Path, elements: dict[str, str]
) -> None:
    dataset = slice_of(
        RAMP, RescaleIntercept="-10", RescaleSlope="2", **WHITE, **TWELVE, **elements
    )
    # From 2 x 0 - 10 = -10 to 2 x 4095 - 10 = 8180.
    turned = (-10 + 8180) - (2 * RAMP.astype(int) - 10)
    assert np.array_equal(pixels_of(tmp_path, dataset), turned)


def test_stored_values_of_a_ct_without_a_rescale_are_turned(tmp_path: Path) -> None:
    dataset = slice_of(RAMP, Modality="CT", **WHITE, **TWELVE)
    assert np.array_equal(pixels_of(tmp_path, dataset), 4095 - RAMP)


@pytest.mark.parametrize(("kind", "turned"), [("US", True), ("HU", False), (None, True)])
def test_a_table_is_looked_up_before_its_values_are_turned(
    tmp_path: Path, kind: str | None, turned: bool
) -> None:
    entries = np.arange(12) * 80
    table = pydicom.Dataset()
    if kind:
        table.ModalityLUTType = kind
    table.add_new("LUTDescriptor", "US", [12, 0, 10])
    table.add_new("LUTData", "US", [int(entry) for entry in entries])
    dataset = slice_of(RAMP.astype(np.uint8), ModalityLUTSequence=Sequence([table]), **WHITE)
    meant = entries.reshape(3, 4)
    assert np.array_equal(pixels_of(tmp_path, dataset), 1023 - meant if turned else meant)


def test_a_tables_first_sample_is_as_signed_as_the_pixels(tmp_path: Path) -> None:
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "US", [12, 2**16 - 6, 16])
    table.add_new("LUTData", "US", [100 * number for number in range(12)])
    words = RAMP.astype(np.int16) - 6
    dataset = slice_of(words, ModalityLUTSequence=Sequence([table]))
    assert np.array_equal(pixels_of(tmp_path, dataset), 100 * RAMP)


def test_single_bits_are_turned_as_well(tmp_path: Path) -> None:
    bits = np.array([[1, 0, 1, 0], [1, 1, 0, 0]], np.uint8)
    for elements, meant in ({}, bits), (WHITE, 1 - bits):
        dataset = slice_of(bits, **elements)
        dataset.BitsAllocated = dataset.BitsStored = 1
        dataset.HighBit = 0
        dataset.PixelData = np.packbits(bits, bitorder="little").tobytes() + b"\0"
        assert np.array_equal(pixels_of(tmp_path, dataset), 255 * meant)


# Padding


def padded(elements: dict[str, Any], words: NDArray[Any]) -> pydicom.Dataset:
    """Return an image with padding, whose representation is said to be unsigned."""
    dataset = slice_of(words)
    for keyword, value in elements.items():
        if keyword.startswith("PixelPadding"):
            dataset.add_new(keyword, "US", value)
        else:
            setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("words", "elements", "background", "darkest"),
    [
        ([[0, 5, 7, 9]], {"PixelPaddingValue": 0}, [1, 0, 0, 0], 5),
        (
            [[0, 5, 7, 9]],
            {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 5},
            [1, 1, 0, 0],
            7,
        ),
        (
            [[9, 5, 7, 0]],
            {"PixelPaddingValue": 9, "PixelPaddingRangeLimit": 7},
            [1, 0, 1, 0],
            0,
        ),
        ([[3, 5, 7, 9]], {"PixelPaddingValue": 0}, None, None),
        # White = low: the darkest that was measured is 4095 - 9.
        ([[0, 5, 7, 9]], {"PixelPaddingValue": 0, **WHITE, **TWELVE}, [1, 0, 0, 0], 4086),
        # Beyond the bits that are stored, where it is no value.
        ([[0x8000, 0, 7, 9]], {"PixelPaddingValue": 0x8000, **TWELVE}, [1, 0, 0, 0], 0),
        # Within them, whatever stands above.
        ([[0xF005, 5, 7, 9]], {"PixelPaddingValue": 5, **TWELVE}, [1, 1, 0, 0], 7),
        ([[4, 4, 4, 4]], {"PixelPaddingValue": 4}, [1, 1, 1, 1], 0),  # nothing was measured
    ],
)
def test_padding_is_background_and_as_dark_as_the_darkest_that_was_measured(
    tmp_path: Path,
    words: list[list[int]],
    elements: dict[str, Any],
    background: list[int] | None,
    darkest: int | None,
) -> None:
    image = decoded(tmp_path, padded(elements, np.array(words, np.uint16)))
    if background is None:
        assert image.background is None
        return
    assert image.background is not None
    assert image.background.tolist() == [list(map(bool, background))]
    assert set(image.pixels[image.background].ravel()) == {darkest}


def test_padding_is_as_signed_as_the_pixels_whatever_it_is_called(tmp_path: Path) -> None:
    words = np.array([[-2000, -1000, 0, 300]], np.int16)
    elements = {"PixelPaddingValue": 2**16 - 2000, "RescaleSlope": "1"}
    elements |= {"RescaleIntercept": "-24"}
    image = decoded(tmp_path, padded(elements, words))
    assert image.background is not None
    assert image.background.tolist() == [[True, False, False, False]]
    assert image.pixels[..., 0].tolist() == [[-1024, -1024, -24, 276]]


def test_padding_counts_in_no_statistic(tmp_path: Path) -> None:
    words = np.full((8, 8), 60000, np.uint16)
    words[2:6] = 100
    words[3] = 300
    save(padded({"PixelPaddingValue": 60000}, words), tmp_path / "a.dcm")
    (row,) = measure(Job(tmp_path, 10**6, tmp_path / "key"), Task(0, "a.dcm", 0, ())).measured
    assert (row.intensity_min, row.intensity_max, row.intensity_mean) == (100, 300, 150)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_image_of_nothing_but_padding_is_black_and_blank(tmp_path: Path, dtype: Any) -> None:
    words = np.full((8, 8), 200, dtype)
    elements = {"PixelPaddingValue": 200, "RescaleSlope": "2", "RescaleIntercept": "0"}
    save(padded(elements, words), tmp_path / "a.dcm")
    (row,) = measure(Job(tmp_path, 10**6, tmp_path / "key"), Task(0, "a.dcm", 0, ())).measured
    assert (row.intensity_mean, row.intensity_std) == (0, 0)
    assert (row.intensity_min, row.intensity_max, row.blank) == (0, 0, True)


def test_lossy_padding_is_remarked(tmp_path: Path) -> None:
    words = np.array([[0, 5, 7, 9]], np.uint16)
    for said, kinds in (("01", {"smeared_padding"}), ("00", set())):
        elements = {"PixelPaddingValue": 0, "LossyImageCompression": said}
        image = decoded(tmp_path, padded(elements, words))
        assert {remark.kind for remark in image.remarks} == kinds


# Colours


def with_palette(bits: int, count: int, words: NDArray[Any]) -> pydicom.Dataset:
    """Return an image whose red is its sample's number, turned for blue; green is 7."""
    dataset = slice_of(words, PhotometricInterpretation="PALETTE COLOR")
    ramp = np.arange(count) % 256
    kind = "<u2" if bits == 16 else "u1"
    for channel, entries in (("Red", ramp), ("Green", 0 * ramp + 7), ("Blue", ramp[::-1])):
        keyword = f"{channel}PaletteColorLookupTable"
        dataset.add_new(f"{keyword}Descriptor", "US", [count, 0, bits])
        values = (entries << 8 if bits == 16 else entries).astype(kind)
        dataset.add_new(f"{keyword}Data", "OW", values.tobytes())
    return dataset


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_may_have_more_entries_than_a_byte_counts(tmp_path: Path, bits: int) -> None:
    words = np.array([[0, 255, 256, 299]], np.uint16)
    colours = pixels_of(tmp_path, with_palette(bits, 300, words))
    assert colours.tolist() == [[0, 7, 43], [255, 7, 44], [0, 7, 43], [43, 7, 0]]


def test_a_palette_in_big_endian_has_its_bytes_the_other_way_round(tmp_path: Path) -> None:
    dataset = with_palette(16, 12, RAMP)
    for channel in ("Red", "Green", "Blue"):
        element = dataset[f"{channel}PaletteColorLookupTableData"]
        element.value = np.frombuffer(element.value, "<u2").astype(">u2").tobytes()
    dataset.PixelData = RAMP.astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    colours = pixels_of(tmp_path, dataset)
    assert np.array_equal(colours[..., 0], RAMP)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLosslessSV1, JPEGBaseline8Bit])
def test_colours_of_a_compressed_picture_stand_as_it_has_them(
    tmp_path: Path, syntax: str, planar: int
) -> None:
    colours = np.repeat(np.repeat(np.eye(4, dtype=np.uint8)[:3] * 200, 8, 0), 8, 1)
    colours = np.stack([colours, colours[::-1], 0 * colours + 40], axis=-1)
    pictures: dict[str, bytes | bytearray] = {
        JPEG2000Lossless: as_j2k(colours),
        JPEGLosslessSV1: imagecodecs.jpeg8_encode(
            colours, lossless=True, predictor=1, colorspace="RGB", outcolorspace="RGB"
        ),
        JPEGBaseline8Bit: imagecodecs.jpeg8_encode(
            colours, 100, colorspace="RGB", outcolorspace="RGB"
        ),
    }
    elements = {"PhotometricInterpretation": "RGB", "PlanarConfiguration": planar}
    dataset = compressed(colours, [pictures[syntax]], syntax, **elements)
    found = pixels_of(tmp_path, dataset).astype(int)
    assert np.abs(found - colours).max() <= (2 if syntax == JPEGBaseline8Bit else 0)


@pytest.mark.parametrize(
    ("photometric", "transformed"), [("YBR_RCT", False), ("YBR_FULL", True)]
)
def test_colours_of_which_header_and_picture_say_different_things_are_refused(
    tmp_path: Path, photometric: str, transformed: bool
) -> None:
    colours = np.full((16, 24, 3), 90, np.uint8)
    picture = imagecodecs.jpeg2k_encode(
        colours, reversible=True, codecformat="j2k", mct=transformed
    )
    elements = {"PhotometricInterpretation": photometric}
    dataset = compressed(colours, [picture], JPEG2000Lossless, **elements)
    save(dataset, tmp_path / "a.dcm")
    with pytest.raises(RejectedError, match=f"{photometric}.*transform of colours") as caught:
        read_frame(tmp_path, "a.dcm", 0, 10**6)
    assert caught.value.reject.reason == "unreadable_element"


@pytest.mark.parametrize("planar", [None, 2])
def test_colours_that_may_lie_in_either_order_are_refused(
    tmp_path: Path, planar: int | None
) -> None:
    dataset = clip(np.stack([ultrasound(0)]))
    dataset.PlanarConfiguration = planar
    save(dataset, tmp_path / "a.dcm")
    with pytest.raises(RejectedError, match="PlanarConfiguration") as caught:
        read_frame(tmp_path, "a.dcm", 0, 10**6)
    assert caught.value.reject.reason == "unreadable_element"


def ultrasound(seed: int) -> NDArray[np.uint8]:
    """Return ``(16, 24, 3)`` of YBR, a third of it coloured, nothing out of RGB's bounds."""
    rng = np.random.default_rng(seed)
    ybr = np.full((16, 24, 3), 128, np.uint8)
    ybr[..., 0] = rng.integers(90, 160, (16, 24))
    ybr[:, :8, 1:] = rng.integers(108, 148, (16, 8, 2))
    return ybr


def clip(frames: NDArray[np.uint8]) -> pydicom.Dataset:
    """Return a clip in YBR of full resolution."""
    dataset = slice_of(frames[..., 0], PhotometricInterpretation="YBR_FULL")
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PixelData = frames.tobytes()
    return dataset


def test_greys_of_a_clip_are_its_own_luminance_and_that_of_its_colours(tmp_path: Path) -> None:
    frames = np.stack([ultrasound(0), ultrasound(1)])
    save(clip(frames), tmp_path / "a.dcm")
    for number, frame in enumerate(frames):
        bytes_grey, grey = read_grey(tmp_path, "a.dcm", number, 10**6)
        bytes_all, colours = read_frame(tmp_path, "a.dcm", number, 10**6)
        assert np.array_equal(grey.pixels, frame[..., :1])
        assert colours.pixels.shape == (16, 24, 3)
        luminance = colours.pixels @ np.array([0.299, 0.587, 0.114])
        assert np.abs(luminance - frame[..., 0]).max() < 1
        assert (colours.pixels[:, 8:] == frame[:, 8:, :1]).all()  # where nothing is coloured
        assert bytes_grey == bytes_all  # or preprocess would think that the file changed


def test_what_has_no_luminance_of_its_own_is_read_as_ever(tmp_path: Path) -> None:
    save(slice_of(RAMP), tmp_path / "a.dcm")
    Image.fromarray(ultrasound(0)).save(tmp_path / "b.png")
    for name in ("a.dcm", "b.png"):
        grey, every = (read(tmp_path, name, 0, 10**6) for read in (read_grey, read_frame))
        assert grey[0] == every[0]
        assert np.array_equal(grey[1].pixels, every[1].pixels)


def test_padding_of_floating_pixels_was_not_measured(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    values[0] = -9999
    dataset = slice_of(RAMP)
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.BitsAllocated, dataset.FloatPixelData = 32, values.tobytes()
    dataset.FloatPixelPaddingValue = -9999.0
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    image = read_frame(tmp_path, "a.dcm", 0, 100)[1]
    assert image.background is not None
    assert image.background.tolist() == (values == -9999).tolist()
    assert image.pixels.min() == 4
