"""Which DICOM objects are images, and which files are DICOM at all."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sequence import Sequence
from pydicom.uid import UID, ImplicitVRLittleEndian, generate_uid

from maskwise.prediction.scans import find_scans
from maskwise.scans.dicom_file import begins_as_dicom, meta_information
from maskwise.scans.mask_files import read_mask
from maskwise.scans.pictures import read_frame, read_image
from maskwise.scans.raw import looks_like_image
from maskwise.scans.reasons import UNCOUNTED, RejectedError
from maskwise.workers import Pool
from sources.dicom import NAME, save, slice_of

RAMP = np.arange(12, dtype=np.uint16).reshape(3, 4)
STORAGE = "1.2.840.10008.5.1.4.1.1."


def write(folder: Path, name: str = "a.dcm", **elements: Any) -> Path:
    """Write an image; its class is that of its meta information as well."""
    dataset = slice_of(RAMP, **elements)
    if "SOPClassUID" in elements:
        dataset.file_meta.MediaStorageSOPClassUID = UID(elements["SOPClassUID"])
    return save(dataset, folder / name)


def reject(folder: Path, frame: int = 0) -> tuple[str, str]:
    """Return why ``a.dcm`` is refused, and in which words."""
    with pytest.raises(RejectedError) as caught:
        read_frame(folder, "a.dcm", frame, 10**6)
    return caught.value.reject[1:]


def remarks(folder: Path) -> set[str]:
    """Return what is remarked of ``a.dcm``."""
    decoded = read_frame(folder, "a.dcm", 0, 10**6)[1]
    assert np.array_equal(decoded.pixels[..., 0], RAMP)
    return {remark.kind for remark in decoded.remarks}


# What is an image


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("481.2", "RT Dose Storage"),
        ("66.4", "Segmentation Storage"),
        ("66.7", "Label Map Segmentation Storage"),
        ("30", "Parametric Map Storage"),
        ("66", "Raw Data Storage"),
        ("66.1", "Spatial Registration Storage"),
        ("67", "Real World Value Mapping Storage"),
        ("11.1", "Grayscale Softcopy Presentation State Storage"),
        ("88.33", "Comprehensive SR Storage"),
        ("4.2", "MR Spectroscopy Storage"),
        ("104.1", "Encapsulated PDF Storage"),
        ("9.1.1", "12-lead ECG Waveform Storage"),
        ("81.1", "Ophthalmic Thickness Map Storage"),
    ],
)
def test_pixels_of_a_class_that_is_no_image_are_refused_by_its_name(
    tmp_path: Path, number: str, said: str
) -> None:
    write(tmp_path, SOPClassUID=STORAGE + number)
    assert reject(tmp_path) == (
        "not_a_scan",
        f"its pixels are not an image: of the class {said!r}",
    )


@pytest.mark.parametrize(
    "number", ["1", "1.2", "2", "2.1", "4", "4.1", "6.1", "6.2", "12.1", "20", "77.1.4", "128"]
)
def test_every_class_of_images_is_taken_without_a_word(tmp_path: Path, number: str) -> None:
    write(tmp_path, SOPClassUID=STORAGE + number)
    assert remarks(tmp_path) == set()


def test_the_class_in_the_meta_information_counts_where_the_header_has_none(
    tmp_path: Path,
) -> None:
    dataset = slice_of(RAMP)
    del dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPClassUID = UID(f"{STORAGE}481.2")
    save(dataset, tmp_path / "a.dcm")
    assert "RT Dose Storage" in reject(tmp_path)[1]


@pytest.mark.parametrize(
    ("modality", "said"),
    [
        ("SEG", "a segmentation (Modality SEG)"),
        ("RTDOSE", "a radiotherapy dose (Modality RTDOSE)"),
        ("SR", "a structured report (Modality SR)"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_a_modality_that_has_no_images_is_refused_whatever_the_class(
    tmp_path: Path, modality: str, said: str, known: bool
) -> None:
    storage = f"{STORAGE}7" if known else "1.3.12.2.1107.5.9.1"
    write(tmp_path, SOPClassUID=storage, Modality=modality)
    assert reject(tmp_path) == ("not_a_scan", f"its pixels are not an image: {said}")


@pytest.mark.parametrize("number", ["7", "7.1", "7.4", "1.29"])
def test_a_secondary_capture_is_taken_and_remarked(tmp_path: Path, number: str) -> None:
    storage = STORAGE + number if number != "1.29" else "1.2.840.10008.5.1.1.29"
    write(tmp_path, SOPClassUID=storage)
    assert remarks(tmp_path) == {"secondary_capture"}


@pytest.mark.parametrize("storage", ["1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.99"])
def test_an_object_of_a_class_that_nobody_lists_is_taken_and_remarked(
    tmp_path: Path, storage: str
) -> None:
    write(tmp_path, SOPClassUID=storage)
    assert remarks(tmp_path) == {"unlisted_class"}


def test_what_is_no_image_and_has_no_pixels_is_named_too(tmp_path: Path) -> None:
    dataset = slice_of(RAMP, SOPClassUID=f"{STORAGE}4.2")
    file = save(dataset, tmp_path / "a.dcm")
    dataset = pydicom.dcmread(file)
    del dataset.PixelData
    dataset.save_as(file)
    said = "a DICOM object without an image: of the class 'MR Spectroscopy Storage'"
    assert reject(tmp_path) == ("no_pixels", said)


def test_what_is_no_image_costs_none() -> None:
    assert {"no_pixels", "not_a_scan", "localizer"} <= UNCOUNTED


def test_a_segmentation_of_one_frame_may_be_a_mask(tmp_path: Path) -> None:
    bits = np.array([[1, 0, 1, 0], [0, 0, 1, 1]], np.uint8)
    for name, frames in (("one.dcm", bits), ("two.dcm", np.stack([bits, bits]))):
        dataset = slice_of(frames, Modality="SEG", SOPClassUID=f"{STORAGE}66.4")
        dataset.BitsAllocated = dataset.BitsStored = 1
        dataset.HighBit = 0
        packed = np.packbits(frames, bitorder="little").tobytes()
        dataset.PixelData = packed + bytes(len(packed) % 2)
        save(dataset, tmp_path / name)
    assert np.array_equal(read_mask(tmp_path, ["one.dcm"]), bits == 1)
    with pytest.raises(RejectedError, match="a segmentation"):  # which frame is whose slice?
        read_mask(tmp_path, ["two.dcm"])
    with pytest.raises(RejectedError, match="a segmentation"):
        read_image(tmp_path, "one.dcm")


# Localizers


@pytest.mark.parametrize(
    "words",
    [
        ["ORIGINAL", "PRIMARY", "LOCALIZER"],
        ["ORIGINAL", "PRIMARY", "LOCALIZER", "CT_SOM5 TOP"],
        ["DERIVED", "SECONDARY", "OTHER", "LOCALIZER"],
        ["ORIGINAL", "PRIMARY", "SCOUT"],
    ],
)
def test_a_localizer_is_refused_by_what_it_calls_itself(
    tmp_path: Path, words: list[str]
) -> None:
    write(tmp_path, ImageType=words)
    found, detail = reject(tmp_path)
    assert found == "localizer"
    assert "ImageType says" in detail


@pytest.mark.parametrize("words", ["", "LOCALIZERS", ["ORIGINAL", "PRIMARY", "AXIAL"]])
def test_other_images_are_no_localizers(tmp_path: Path, words: Any) -> None:
    write(tmp_path, ImageType=words)
    assert remarks(tmp_path) == set()


def test_a_frame_may_be_a_localizer_among_others(tmp_path: Path) -> None:
    groups = []
    for word in ("AXIAL", "LOCALIZER"):
        kind = pydicom.Dataset()
        kind.FrameType = ["ORIGINAL", "PRIMARY", word, "NONE"]
        group = pydicom.Dataset()
        group.CTImageFrameTypeSequence = Sequence([kind])
        groups.append(group)
    stack = np.stack([RAMP, RAMP])
    save(slice_of(stack, PerFrameFunctionalGroupsSequence=Sequence(groups)), tmp_path / "a.dcm")
    assert np.array_equal(read_image(tmp_path, "a.dcm", 0)[..., 0], RAMP)
    assert reject(tmp_path, 1)[0] == "localizer"


# What is DICOM


def without_preamble(file: Path) -> bytes:
    """Return the file's content from its meta information on."""
    return file.read_bytes()[132:]


def without_meta(file: Path) -> bytes:
    """Return the file's content behind its meta information."""
    data = file.read_bytes()
    return data[meta_information(data)[1] :]


@pytest.mark.parametrize("name", ["a.dcm", "IM0001", "a.png"])
def test_a_file_without_preamble_is_read(tmp_path: Path, name: str) -> None:
    file = write(tmp_path, name)
    file.write_bytes(without_preamble(file))
    assert looks_like_image(tmp_path, name)
    assert np.array_equal(read_image(tmp_path, name)[..., 0], RAMP)
    with Pool(1) as pool:
        found = find_scans(tmp_path, "path", None, pool)
    assert [scan.path for scan in found.scans] == [name]


@pytest.mark.parametrize("implicit", [True, False])
def test_elements_without_a_transfer_syntax_are_dicom_and_refused(
    tmp_path: Path, implicit: bool
) -> None:
    dataset = slice_of(RAMP)
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    file = save(dataset, tmp_path / "IM0001")
    (tmp_path / "a.dcm").write_bytes(without_meta(file))
    (tmp_path / "IM0001").write_bytes(without_meta(file))
    assert looks_like_image(tmp_path, "IM0001")
    found, detail = reject(tmp_path)
    assert found == "no_transfer_syntax"
    assert detail.startswith("a DICOM file without TransferSyntaxUID")


def test_meta_information_that_names_no_transfer_syntax_is_refused(tmp_path: Path) -> None:
    data = write(tmp_path).read_bytes()
    start = data.index(b"\2\0\x10\0UI")
    size = 8 + int.from_bytes(data[start + 6 : start + 8], "little")
    for head in (data[:132], b""):
        (tmp_path / "a.dcm").write_bytes(head + data[132:start] + data[start + size :])
        assert reject(tmp_path)[0] == "no_transfer_syntax"


def test_where_meta_information_ends_is_found_without_its_length(tmp_path: Path) -> None:
    dataset = slice_of(RAMP)
    dataset.file_meta.PrivateInformationCreatorUID = generate_uid()
    dataset.file_meta.PrivateInformation = bytes(300)
    data = save(dataset, tmp_path / "a.dcm").read_bytes()
    end = 144 + int.from_bytes(data[140:144], "little")
    syntax = dataset.file_meta.TransferSyntaxUID
    assert meta_information(data) == (syntax, end)
    assert meta_information(data[132:]) == (syntax, end - 132)
    assert meta_information(data[:132] + data[144:]) == (syntax, end - 12)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\2\0",
        b"\2\0\0\0" + bytes(128),
        b"\x08\0\5\0" + bytes(128),
        b"\x08\0\5\0CS\xff\xff" + b"ISO_IR 100" * 12,
        b"\x08\0\5\0\x0a\0\0\0ISO_IR 100" + bytes(114),
        b"\x08\0\5\0XX\x0a\0ISO_IR 100\x08\0\x08\0CS\4\0ABCD" + bytes(100),
        b"\2\0\0\0\x04\0\0\0" + bytes(124),
    ],
)
def test_what_merely_begins_with_a_likely_number_is_no_dicom(head: bytes) -> None:
    assert not begins_as_dicom(head)


@given(st.binary(max_size=200))
def test_random_bytes_are_no_dicom(data: bytes) -> None:
    assert not begins_as_dicom(data)


def test_no_id_of_a_class_is_ever_quoted(tmp_path: Path) -> None:
    file = write(tmp_path, SOPClassUID="1.2.840.10008.5.1.4.1.1.481.2")
    data = file.read_bytes().replace(b"1.2.840.10008.5.1.4.1.1.481.2", NAME.ljust(29).encode())
    (tmp_path / "a.dcm").write_bytes(data)
    assert remarks(tmp_path) == {"unlisted_class"}
