"""A region of a film that is read by its rows is that of the whole film."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from maskwise.scans.decode import Decoded
from maskwise.scans.dicom_rows import rows_of
from maskwise.scans.pictures import read_frame
from maskwise.scans.reading import Reading
from maskwise.scans.reasons import RejectedError
from maskwise.scans.region import Region
from sources.dicom import save, slice_of
from sources.films import film

PIXELS = film(121, 81, dtype=np.uint16)
REGIONS = [
    Region(10, 20, 7, 9),
    Region(0, 0, 121, 81),
    Region(-5, -6, 30, 30),
    Region(110, 70, 30, 30),
    Region(-4, 3, 130, 5),
    Region(-3, 60, 20, 40, pad="symmetric"),
    Region(60, 10, 1, 1, mirrored=True),
]


def cut(raw: Path, region: Region | None, **reading: Any) -> Decoded:
    return read_frame(raw, "x.dcm", 0, 10**6, Reading(**reading), region)[1]


def write(raw: Path, pixels: Any = PIXELS, **elements: Any) -> Path:
    save(slice_of(pixels, **elements), raw / "x.dcm")
    return raw


@pytest.mark.parametrize("region", REGIONS, ids=str)
@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"RescaleSlope": "2", "RescaleIntercept": "-100"},
        {"PixelPaddingValue": int(PIXELS[0, 0])},
        {"BitsStored": 12, "HighBit": 11},
        {"NumberOfFrames": 1},
    ],
    ids=lambda elements: "-".join(elements) or "plain",
)
def test_a_region_is_the_same_by_its_rows_and_out_of_the_whole_film(
    tmp_path: Path, region: Region, elements: dict[str, Any]
) -> None:
    raw = write(tmp_path, **elements)
    end = region.top + region.height
    assert rows_of(raw / "x.dcm", "x.dcm", region.top, end) is not None
    whole = cut(raw, None)
    image = cut(raw, region)
    known = np.ones(PIXELS.shape, bool) if whole.background is None else ~whole.background
    outside = ~region.cut(known)
    assert (image.pixels[~outside] == region.cut(whole.pixels)[~outside]).all()
    assert (image.background is None) == (not outside.any())
    assert image.background is None or (image.background == outside).all()
    assert (image.region, image.whole, image.bits) == (region, (121, 81), whole.bits)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_other_numbers_are_read_by_their_rows_as_well(tmp_path: Path, dtype: Any) -> None:
    pixels = (PIXELS >> 8).astype(dtype) - (0 if dtype == np.uint8 else 90)
    raw = write(tmp_path, pixels.astype(dtype))
    image = cut(raw, Region(30, 20, 9, 11))
    assert image.pixels.dtype == dtype
    assert (image.pixels[..., 0] == pixels[30:39, 20:31]).all()


def test_no_more_than_the_rows_asked_for_is_read(tmp_path: Path) -> None:
    raw = write(tmp_path)
    found = rows_of(raw / "x.dcm", "x.dcm", 30, 33)
    assert found is not None
    assert (found.height, found.width) == (121, 81)
    assert len(found.data) < 3 * 81 * 2 + 2000
    assert len(found.data) % 2 == 0


def test_files_that_have_no_plain_rows_are_read_as_a_whole(tmp_path: Path) -> None:
    region = Region(30, 20, 9, 11)
    colour = np.repeat((PIXELS >> 8).astype(np.uint8)[..., None], 3, axis=2)
    three = slice_of(colour[..., 0], PhotometricInterpretation="RGB", PlanarConfiguration=0)
    three.SamplesPerPixel, three.PixelData = 3, colour.tobytes()
    frames = slice_of(np.stack([PIXELS, PIXELS[::-1]]))
    for dataset in (three, frames):
        save(dataset, tmp_path / "x.dcm")
        assert rows_of(tmp_path / "x.dcm", "x.dcm", 30, 39) is None
        shown = cut(tmp_path, region).pixels[..., :1]
        whole = cut(tmp_path, None).pixels[..., :1]
        assert (shown == whole[30:39, 20:31]).all()


def test_implicit_headers_are_read_by_rows_and_big_endian_files_as_a_whole(
    tmp_path: Path,
) -> None:
    dataset = slice_of(PIXELS)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    save(dataset, tmp_path / "x.dcm")
    assert rows_of(tmp_path / "x.dcm", "x.dcm", 30, 39) is not None
    assert (cut(tmp_path, Region(30, 20, 9, 11)).pixels[..., 0] == PIXELS[30:39, 20:31]).all()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset.PixelData = PIXELS.byteswap().tobytes()
    save(dataset, tmp_path / "x.dcm")
    assert rows_of(tmp_path / "x.dcm", "x.dcm", 30, 39) is None
    assert (cut(tmp_path, Region(30, 20, 9, 11)).pixels[..., 0] == PIXELS[30:39, 20:31]).all()


def test_a_film_that_is_cut_off_is_refused_even_where_the_region_is_there(
    tmp_path: Path,
) -> None:
    raw = write(tmp_path)
    file = raw / "x.dcm"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(RejectedError, match=r"holds 19,\d+ of 19,\d+ bytes of pixels"):
        cut(raw, Region(0, 0, 9, 9))


def test_a_film_of_more_pixels_than_allowed_is_refused_whatever_its_region(
    tmp_path: Path,
) -> None:
    raw = write(tmp_path)
    with pytest.raises(
        RejectedError, match=r"81 x 121 pixels are more than max_pixels = 9,000"
    ):
        read_frame(raw, "x.dcm", 0, 9000, region=Region(0, 0, 9, 9))
