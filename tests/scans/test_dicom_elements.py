"""Elements of a DICOM header that are there and make no sense are refused by their keyword."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.sequence import Sequence

from maskwise.scans.pictures import read_frame, read_image
from maskwise.scans.reasons import RejectedError
from sources.dicom import NAME, save, slice_of

RAMP = np.arange(12, dtype=np.uint16).reshape(3, 4)
FLAT = [1, 0, 0, 0, 1, 0]


def item(**elements: Any) -> pydicom.Dataset:
    """Return a dataset of the given elements."""
    dataset = pydicom.Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def write(folder: Path, replaced: tuple[bytes, bytes], **elements: Any) -> None:
    """Write ``a.dcm`` with other bytes in the place of some: pydicom would not write them."""
    file = save(slice_of(RAMP, **elements), folder / "a.dcm")
    data = file.read_bytes()
    assert data.count(replaced[0]) == 1
    assert len(replaced[0]) == len(replaced[1])
    file.write_bytes(data.replace(*replaced))


def refusal(folder: Path, frame: int = 0) -> str:
    """Return in which words ``a.dcm`` is refused for an element."""
    with pytest.raises(RejectedError) as caught:
        read_frame(folder, "a.dcm", frame, 10**6)
    assert caught.value.reject.reason == "unreadable_element"
    return caught.value.reject.detail


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("RescaleIntercept", "-1024,0"),
        ("RescaleIntercept", "1_024.00"),
        ("RescaleIntercept", "nan     "),
        ("RescaleIntercept", "-1024\\0 "),
        ("RescaleSlope", "1,5"),
        ("RescaleSlope", "1e999"),
        ("PixelSpacing", "0,5\\0,5"),
        ("PixelSpacing", "0.50000"),
        ("PixelSpacing", "0.5\\   "),
        ("ImagePositionPatient", "1\\2\\n/a"),
        ("ImagePositionPatient", "1\\2\\3\\4"),
        ("ImageOrientationPatient", "1\\0\\0\\0\\1"),
    ],
)
def test_a_number_that_is_none_refuses_the_file_by_the_elements_keyword(
    tmp_path: Path, keyword: str, text: str
) -> None:
    digits = "7" * len(text)  # of the same length, and no number of the right count
    places = {"ImageOrientationPatient": FLAT, "ImagePositionPatient": [0, 0, 0]}
    places = {name: value for name, value in places.items() if name != keyword}
    write(tmp_path, (digits.encode(), text.encode()), **{keyword: digits}, **places)
    assert refusal(tmp_path).startswith(f"{keyword} ")


def test_a_number_is_quoted_and_other_text_never(tmp_path: Path) -> None:
    write(tmp_path, (b"7777777", b"-1024,0"), RescaleIntercept="7777777")
    said = "RescaleIntercept is '-1024,0', but should be a number"
    assert refusal(tmp_path) == said
    write(tmp_path, (b"7777777", b"Albus D"), RescaleIntercept="7777777")
    said = "RescaleIntercept cannot be read, but should be a number"
    assert refusal(tmp_path) == said


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [
        ("RescaleSlope", "0", "RescaleSlope is '0', but should be another number than 0"),
        ("PixelSpacing", ["0", "0"], "PixelSpacing is '0\\\\0', but should be positive"),
        ("PixelSpacing", ["-1", "1"], "PixelSpacing is '-1\\\\1', but should be positive"),
        ("BitsAllocated", 24, "BitsAllocated is '24', but should be one of 1, 8, 16, 32, 64"),
        ("BitsStored", 17, "BitsStored is '17', but should be at most BitsAllocated = 16"),
        ("BitsStored", 0, "BitsStored is '0', but should be one whole number from 1 on"),
        ("HighBit", 3, "HighBit is '3', but should be from BitsStored - 1 = 15 to 15"),
        ("PixelRepresentation", 2, "PixelRepresentation is '2', but should be 0 or 1"),
        ("SamplesPerPixel", 3, "SamplesPerPixel is '3', but should be 1 for MONOCHROME2"),
        ("NumberOfFrames", "0", "NumberOfFrames is '0', but should be one whole number"),
        ("Rows", 0, "Rows is '0', but should be one whole number from 1 on"),
        ("Rows", [3, 3], "Rows cannot be read, but should be one whole number from 1 on"),
    ],
)
def test_a_number_that_makes_no_sense_refuses_the_file(
    tmp_path: Path, keyword: str, value: Any, said: str
) -> None:
    save(slice_of(RAMP, **{keyword: value}), tmp_path / "a.dcm")
    assert refusal(tmp_path).startswith(said)


@pytest.mark.parametrize(
    "keyword",
    [
        "BitsAllocated",
        "BitsStored",
        "PixelRepresentation",
        "SamplesPerPixel",
        "Rows",
        "Columns",
    ],
)
def test_an_element_that_no_image_can_do_without_is_named_where_it_is_missing(
    tmp_path: Path, keyword: str
) -> None:
    file = save(slice_of(RAMP), tmp_path / "a.dcm")
    dataset = pydicom.dcmread(file)
    del dataset[keyword]
    dataset.save_as(file)
    assert refusal(tmp_path) == f"{keyword} is missing"


def test_a_direction_that_is_none_is_refused(tmp_path: Path) -> None:
    place = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [0] * 6}
    save(slice_of(RAMP, **place), tmp_path / "a.dcm")
    assert "two directions at right angles" in refusal(tmp_path)


@pytest.mark.parametrize("keyword", ["RescaleIntercept", "RescaleSlope", "NumberOfFrames"])
def test_an_empty_element_is_as_good_as_none(tmp_path: Path, keyword: str) -> None:
    save(slice_of(RAMP, **{keyword: ""}), tmp_path / "a.dcm")
    assert np.array_equal(read_image(tmp_path, "a.dcm")[..., 0], RAMP)


def test_a_frames_own_number_that_is_none_refuses_that_frame(tmp_path: Path) -> None:
    shared = item(
        PixelValueTransformationSequence=Sequence(
            [item(RescaleSlope="1", RescaleIntercept="10")]
        )
    )
    own = item(
        PixelValueTransformationSequence=Sequence([item(RescaleIntercept="7777777")]),
    )
    groups = {
        "PerFrameFunctionalGroupsSequence": Sequence([pydicom.Dataset(), own]),
        "SharedFunctionalGroupsSequence": Sequence([shared]),
    }
    file = save(slice_of(np.stack([RAMP, RAMP]), **groups), tmp_path / "a.dcm")
    file.write_bytes(file.read_bytes().replace(b"7777777", b"-1024,0"))
    assert np.array_equal(read_image(tmp_path, "a.dcm", 0)[..., 0], RAMP + 10)
    assert refusal(tmp_path, 1).startswith("RescaleIntercept is '-1024,0'")


def test_groups_for_fewer_frames_than_there_are_are_refused(tmp_path: Path) -> None:
    groups = Sequence([pydicom.Dataset()])
    stack = np.stack([RAMP, RAMP])
    save(slice_of(stack, PerFrameFunctionalGroupsSequence=groups), tmp_path / "a.dcm")
    assert refusal(tmp_path, 1).startswith("PerFrameFunctionalGroupsSequence has 1 item,")


@pytest.mark.parametrize(
    ("descriptor", "data", "keyword"),
    [
        ([12, 0, 16], list(range(11)), "LUTData"),
        ([12, 0, 8], [300] * 12, "LUTData"),
        ([12, 0, 17], list(range(12)), "LUTDescriptor"),
        ([12, 0], list(range(12)), "LUTDescriptor"),
    ],
)
def test_a_modality_table_that_does_not_fit_is_refused(
    tmp_path: Path, descriptor: list[int], data: list[int], keyword: str
) -> None:
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "US", descriptor)
    table.add_new("LUTData", "US", data)
    save(slice_of(RAMP, ModalityLUTSequence=Sequence([table])), tmp_path / "a.dcm")
    assert refusal(tmp_path).startswith(f"{keyword} ")


@pytest.mark.parametrize(
    ("keyword", "kind", "value"),
    [
        ("PixelPaddingValue", "US", [1, 2]),
        ("PixelPaddingValue", "LO", NAME),
        ("PixelPaddingValue", "LO", "12"),
        ("PixelPaddingRangeLimit", "US", 7),  # of no range
    ],
)
def test_padding_that_cannot_be_read_is_refused(
    tmp_path: Path, keyword: str, kind: str, value: Any
) -> None:
    dataset = slice_of(RAMP)
    dataset.add_new(keyword, kind, value)
    save(dataset, tmp_path / "a.dcm")
    said = refusal(tmp_path)
    assert said.startswith(f"{keyword} ")
    assert NAME not in said


def test_a_palette_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    dataset = slice_of(RAMP.astype(np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for channel, entries in (("Red", 12), ("Green", 12), ("Blue", 11)):
        dataset.add_new(f"{channel}PaletteColorLookupTableDescriptor", "US", [12, 0, 16])
        dataset.add_new(f"{channel}PaletteColorLookupTableData", "OW", bytes(2 * entries))
    save(dataset, tmp_path / "a.dcm")
    assert refusal(tmp_path).startswith("BluePaletteColorLookupTableData ")


@pytest.mark.parametrize("lacking", ["RescaleSlope", "RescaleIntercept"])
@pytest.mark.parametrize("there", ["", None])
def test_a_slope_without_an_intercept_is_refused_and_the_other_way_round(
    tmp_path: Path, lacking: str, there: str | None
) -> None:
    dataset = slice_of(np.ones((4, 4), np.uint16), RescaleSlope="1", RescaleIntercept="-1024")
    if there is None:
        delattr(dataset, lacking)
    else:
        setattr(dataset, lacking, there)
    save(dataset, tmp_path / "a.dcm")
    with pytest.raises(RejectedError, match=f"{lacking} is missing or empty") as refused:
        read_frame(tmp_path, "a.dcm", 0, 100)
    assert refused.value.reject.reason == "unreadable_element"


def test_a_zero_byte_in_front_of_a_number_is_damage_and_no_padding(tmp_path: Path) -> None:
    dataset = slice_of(np.ones((4, 4), np.uint16), RescaleSlope="1", RescaleIntercept="-1024")
    save(dataset, tmp_path / "a.dcm")
    whole = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(whole.replace(b"-1024", b"\0001024"))
    with pytest.raises(RejectedError, match="RescaleIntercept"):
        read_frame(tmp_path, "a.dcm", 0, 100)


def test_one_id_in_two_character_sets_is_one_id(tmp_path: Path) -> None:
    found = set()
    for characters in ("ISO_IR 100", "ISO_IR 192"):
        dataset = slice_of(np.ones((4, 4), np.uint16))
        dataset.SpecificCharacterSet, dataset.PatientID = characters, "M\u00dcL1"
        save(dataset, tmp_path / "a.dcm")
        place = read_frame(tmp_path, "a.dcm", 0, 100)[1].place
        assert place is not None
        found.add(place.patient)
    assert found == {"M\u00dcL1"}
