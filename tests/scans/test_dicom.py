"""Frames of DICOM files: pydicom's own answers, what they mean, and what must be refused."""

import io
import logging
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
)

from maskwise.scans.mask_files import read_mask
from maskwise.scans.pictures import read_frame, read_image
from maskwise.scans.raw import looks_like_image
from maskwise.scans.reasons import RejectedError
from scans.samples import FOLDER, facts, names
from sources.dicom import NAME, save, slice_of

FACTS = facts("dicom")
NOT_READ = {
    "JPGExtended.dcm": ("no_decoder", "pip install 'maskwise[gpl]'"),
    "liver.dcm": ("not_a_scan", "a segmentation (Modality SEG)"),
    "liver_1frame.dcm": ("not_a_scan", "a segmentation (Modality SEG)"),
    "rtdose.dcm": ("not_a_scan", "a radiotherapy dose (Modality RTDOSE)"),
}
"""What pydicom decodes, with a decoder under the GPL if need be, and is refused here."""
READABLE = sorted(
    n for n, said in FACTS.items() if "shape" in said and n not in NOT_READ
) or names("dicom")
REFUSED = {
    "MR_truncated.dcm": "damaged",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "damaged",
    "no_meta.dcm": "not_an_image",
    "rtplan.dcm": "no_pixels",
    "test-SR.dcm": "no_pixels",
}


def reject(raw: Path, path: str, frame: int = 0, max_pixels: int = 10**7) -> tuple[str, str]:
    """Return why a frame is refused, and in which words."""
    with pytest.raises(RejectedError) as caught:
        read_frame(raw, path, frame, max_pixels)
    return caught.value.reject[1:]


RAMP = np.arange(12, dtype=np.uint16).reshape(3, 4)


# What pydicom says of real files


def meant(dataset: pydicom.Dataset, stored: NDArray[Any]) -> NDArray[Any]:
    """Turn pydicom's own pixels into the values that the standard means: the slow oracle."""
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return np.asarray(apply_color_lut(stored, dataset) // 256)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        stored = 2**dataset.BitsStored - 1 - stored
    if dataset.BitsAllocated == 1:
        stored = stored * 255
    slope = float(dataset.get("RescaleSlope") or 1)
    return stored * slope + float(dataset.get("RescaleIntercept") or 0)


@pytest.mark.parametrize("name", READABLE)
def test_frames_are_what_pydicom_decodes(shared_data: Path, name: str) -> None:
    raw, said = shared_data / FOLDER / "dicom", FACTS[name]
    dataset = pydicom.dcmread(raw / name)
    assert dataset.file_meta.TransferSyntaxUID.name == said["transfer_syntax"]
    assert dataset.Modality == said["modality"]
    rescale = [str(dataset.get(f"Rescale{part}", "")) for part in ("Slope", "Intercept")]
    assert rescale == said["rescale"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stored = dataset.pixel_array
    assert [list(stored.shape), stored.dtype.str.lstrip("<|=")] == [
        said["shape"], np.dtype(said["dtype"]).str.lstrip("<|=")
    ]  # fmt: skip
    assert (stored.min(), stored.max()) == (said["min"], said["max"])
    # Decoders of JPEG's colours differ in how they bring them back to full size.
    lossy = dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert stored.mean() == pytest.approx(said["mean"], abs=0.02 if lossy else 1e-4)
    padding = stored == dataset.get("PixelPaddingValue", np.nan)
    expected = meant(dataset, stored)
    frames = int(said["frames"] or 1)
    if padding.any():
        expected[padding] = expected[~padding].min()
    expected = expected if frames > 1 else expected[None]
    for number in range(frames):
        decoded = read_frame(raw, name, number, 10**7)[1]
        assert decoded.frames == frames
        assert np.array_equal(np.squeeze(decoded.pixels), np.squeeze(expected[number]))
        assert (decoded.background is not None) == padding.any()


@pytest.mark.parametrize("name", READABLE)
def test_bits_colours_and_spacing_are_those_of_the_facts(shared_data: Path, name: str) -> None:
    said = FACTS[name]
    data, decoded = read_frame(shared_data / FOLDER / "dicom", name, 0, 10**7)
    if decoded.frames == 1:
        assert len(data) == said["bytes"]
    assert (decoded.format, decoded.mode) == ("DICOM", said["photometric"])
    assert decoded.bits == said["bits"][1]
    assert decoded.pixels.dtype.isnative
    assert decoded.place is not None
    if said["pixel_spacing"]:
        spacing = [decoded.place.spacing_y, decoded.place.spacing_x]
        assert spacing == pytest.approx(said["pixel_spacing"])


@pytest.mark.parametrize(("name", "expected"), REFUSED.items())
def test_what_facts_call_unreadable_is_refused(
    shared_data: Path, name: str, expected: str
) -> None:
    assert "pixel_array" in FACTS[name]
    found, detail = reject(shared_data / FOLDER / "dicom", name)
    assert found == expected
    if "8130 vs 8192" in FACTS[name]["pixel_array"]:
        assert detail == "holds 8,130 of 8,192 bytes of pixels"


@pytest.mark.parametrize(("name", "why"), NOT_READ.items())
def test_what_needs_another_licence_or_is_no_scan_is_refused_by_name(
    shared_data: Path, name: str, why: tuple[str, str]
) -> None:
    found, detail = reject(shared_data / FOLDER / "dicom", name)
    assert found == why[0]
    assert why[1] in detail


def test_every_file_of_the_facts_is_read_or_refused_on_purpose(shared_data: Path) -> None:
    assert {*READABLE, *REFUSED, *NOT_READ} == set(FACTS)
    files = {path.name for path in (shared_data / FOLDER / "dicom").glob("*.dcm")}
    assert files == set(FACTS)


@pytest.mark.parametrize(
    ("name", "lowest", "highest"), [("CT_small.dcm", -896, 1167), ("693_J2KI.dcm", -3995, 1812)]
)
def test_a_ct_is_in_hounsfield_units(
    shared_data: Path, name: str, lowest: int, highest: int
) -> None:
    pixels = read_image(shared_data / FOLDER / "dicom", name)
    assert (pixels.min(), pixels.max(), pixels.dtype.name) == (lowest, highest, "int32")


# What the pixels mean


def test_monochrome1_is_turned_within_the_bits_that_are_stored(tmp_path: Path) -> None:
    white = {"PhotometricInterpretation": "MONOCHROME1"}
    save(slice_of(RAMP, **white, BitsStored=10, HighBit=9), tmp_path / "u.dcm")
    save(slice_of(RAMP.astype(np.int16), **white), tmp_path / "s.dcm")
    assert np.array_equal(read_image(tmp_path, "u.dcm")[..., 0], 1023 - RAMP)
    assert np.array_equal(read_image(tmp_path, "s.dcm")[..., 0], -1 - RAMP.astype(int))


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [
        ("1", "0", np.uint16),
        ("1", "-1024", np.int32),
        ("2", "1", np.int32),
        ("0.5", "3", np.float32),
    ],
)
def test_slope_and_intercept_are_applied_and_whole_numbers_stay_whole(
    tmp_path: Path, slope: str, intercept: str, dtype: type
) -> None:
    scale = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    save(slice_of(RAMP, **scale), tmp_path / "a.dcm")
    pixels = read_image(tmp_path, "a.dcm")
    assert pixels.dtype == dtype
    assert np.array_equal(pixels[..., 0], RAMP * float(slope) + float(intercept))


@pytest.mark.parametrize(
    ("slope", "intercept"), [("1e17", "0"), ("1", "1e19"), ("-1e30", "5"), ("3e17", "-3e18")]
)
def test_values_too_large_for_whole_numbers_keep_their_order(
    tmp_path: Path, slope: str, intercept: str
) -> None:
    ramp = (RAMP * 100).astype(np.uint16)
    scale = {"RescaleSlope": slope, "RescaleIntercept": intercept}
    save(slice_of(ramp, **scale), tmp_path / "a.dcm")
    pixels = read_image(tmp_path, "a.dcm")[..., 0]
    assert pixels == pytest.approx(ramp * float(slope) + float(intercept), rel=1e-6)


@pytest.mark.parametrize(
    ("kind", "value"), [("US", None), ("US", [16, 12]), ("LO", NAME), ("LO", "9" * 30)]
)
def test_floating_point_uses_all_its_bits_whatever_the_header_says(
    tmp_path: Path, kind: str, value: Any
) -> None:
    dataset = slice_of(RAMP, BitsAllocated=32)
    del dataset.PixelData, dataset["BitsStored"]
    dataset.FloatPixelData = (RAMP / np.float32(8)).astype("<f4").tobytes()
    dataset.add_new("BitsStored", kind, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    decoded = read_frame(tmp_path, "a.dcm", 0, 10**6)[1]
    assert decoded.bits == 32
    assert np.array_equal(decoded.pixels[..., 0], RAMP / 8)


def test_monochrome1_with_a_slope_is_turned_within_what_is_scaled(tmp_path: Path) -> None:
    elements = {"PhotometricInterpretation": "MONOCHROME1", "RescaleSlope": "2"}
    elements |= {"RescaleIntercept": "0"}
    save(slice_of(RAMP, **elements, BitsStored=4, HighBit=3), tmp_path / "a.dcm")
    assert np.array_equal(read_image(tmp_path, "a.dcm")[..., 0], 2 * (15 - RAMP))


def test_a_modality_table_is_looked_up(tmp_path: Path) -> None:
    table = pydicom.Dataset()
    table.ModalityLUTType = "US"
    table.add_new("LUTDescriptor", "US", [12, 0, 16])
    table.add_new("LUTData", "US", [100 * value for value in range(12)])
    save(slice_of(RAMP, ModalityLUTSequence=Sequence([table])), tmp_path / "a.dcm")
    assert np.array_equal(read_image(tmp_path, "a.dcm")[..., 0], 100 * RAMP)


def test_frames_of_an_enhanced_file_have_their_own_scale_and_place(tmp_path: Path) -> None:
    groups = []
    for number in range(2):
        group, scale, place, turn, size = (pydicom.Dataset() for _ in range(5))
        scale.RescaleSlope, scale.RescaleIntercept = "1", str(10 * number)
        place.ImagePositionPatient = [0, 0, 5 * number]
        turn.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        size.PixelSpacing = [2, 3]
        group.PixelValueTransformationSequence = Sequence([scale])
        group.PlanePositionSequence = Sequence([place])
        group.PlaneOrientationSequence = Sequence([turn])
        group.PixelMeasuresSequence = Sequence([size])
        groups.append(group)
    stack = np.stack([RAMP, RAMP])
    save(slice_of(stack, PerFrameFunctionalGroupsSequence=Sequence(groups)), tmp_path / "a.dcm")
    for number in range(2):
        decoded = read_frame(tmp_path, "a.dcm", number, 10**6)[1]
        assert np.array_equal(decoded.pixels[..., 0], RAMP + 10 * number)
        assert decoded.place is not None
        assert (decoded.place.normal, decoded.place.position) == ((0, 0, 1), 5 * number)
        assert (decoded.place.spacing_y, decoded.place.spacing_x) == (2, 3)


def test_a_slice_knows_how_far_along_its_normal_it_lies(tmp_path: Path) -> None:
    turn = [0, 1, 0, 0, 0, -1]  # sagittal: rows to the back, columns to the feet
    elements = {"ImageOrientationPatient": turn, "ImagePositionPatient": [-30, 5, 7]}
    save(slice_of(RAMP, **elements), tmp_path / "a.dcm")
    place = read_frame(tmp_path, "a.dcm", 0, 10**6)[1].place
    assert place is not None
    assert (place.normal, place.position) == ((-1, 0, 0), 30)


def test_an_empty_spacing_is_unknown(tmp_path: Path) -> None:
    save(slice_of(RAMP, PixelSpacing=""), tmp_path / "a.dcm")
    place = read_frame(tmp_path, "a.dcm", 0, 10**6)[1].place
    assert place is not None
    assert np.isnan([place.spacing_y, place.spacing_x]).all()


def test_the_bytes_that_are_hashed_are_the_files_or_of_several_frames_the_frames_own(
    tmp_path: Path,
) -> None:
    one = save(slice_of(RAMP), tmp_path / "one.dcm")
    save(slice_of(np.stack([RAMP, RAMP + 1])), tmp_path / "two.dcm")
    assert read_frame(tmp_path, "one.dcm", 0, 10**6)[0] == one.read_bytes()
    assert read_frame(tmp_path, "two.dcm", 1, 10**6)[0] == (RAMP + 1).tobytes()


@pytest.mark.parametrize("name", ["IM000001", "a.ima", "a.dcm", "a.png"])
def test_dicom_is_told_by_its_content(tmp_path: Path, name: str) -> None:
    save(slice_of(RAMP), tmp_path / name)
    assert looks_like_image(tmp_path, name)
    assert np.array_equal(read_image(tmp_path, name)[..., 0], RAMP)


def test_a_dicom_file_may_be_a_mask(tmp_path: Path) -> None:
    save(slice_of((RAMP > 5).astype(np.uint8)), tmp_path / "m.dcm")
    assert np.array_equal(read_mask(tmp_path, ["m.dcm"]), RAMP > 5)


# What is refused


def test_pixels_cut_short_are_damaged_and_both_sizes_are_said(tmp_path: Path) -> None:
    dataset = slice_of(RAMP)
    dataset.PixelData = dataset.PixelData[:20]
    save(dataset, tmp_path / "a.dcm")
    assert reject(tmp_path, "a.dcm") == ("damaged", "holds 20 of 24 bytes of pixels")


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    whole = save(slice_of(RAMP), tmp_path / "whole.dcm").read_bytes()
    for size in range(140, len(whole) - 1, 17):
        (tmp_path / f"{size}.dcm").write_bytes(whole[:size])
        assert reject(tmp_path, f"{size}.dcm")[0] in {"damaged", "no_pixels"}


@pytest.mark.parametrize(
    ("syntax", "said"),
    [
        ("1.2.840.10008.1.2.4.102", "MPEG-4"),
        ("1.2.3.4.5", "one of its own"),
        ("1.2.840.10008.7.7", "one of its own"),
    ],
)
def test_a_syntax_that_nobody_decodes_is_refused(
    tmp_path: Path, syntax: str, said: str
) -> None:
    dataset = slice_of(RAMP, PixelData=encapsulate([b"12"]))
    private = syntax.replace("840.10008.7", "845.10008.7")  # of what is unknown, pydicom writes
    dataset.file_meta.TransferSyntaxUID = UID(private)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
    file = tmp_path / "a.dcm"
    dataset.save_as(file, implicit_vr=False, little_endian=True, enforce_file_format=True)
    file.write_bytes(file.read_bytes().replace(private.encode(), syntax.encode()))
    found, detail = reject(tmp_path, "a.dcm")
    assert found == "no_decoder"
    assert said in detail


def test_a_syntax_whose_decoder_is_not_installed_says_what_to_install(
    shared_data: Path,
) -> None:
    decoder = get_decoder(JPEGLSLossless)
    plugins = decoder.available_plugins  # pyjpegls is one of them, if highdicom brought it
    for name in plugins:
        decoder.remove_plugin(name)
    try:
        found, detail = reject(shared_data / FOLDER / "dicom", "MR_small_jpeg_ls_lossless.dcm")
    finally:
        for name in plugins:
            decoder.add_plugin(name, (f"pydicom.pixels.decoders.{name}", "_decode_frame"))
    assert found == "no_decoder"
    assert "for JPEG-LS Lossless Image Compression there is no decoder: install" in detail
    assert "jpeg" in detail.partition("install one of ")[2]


def test_an_image_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    save(slice_of(RAMP), tmp_path / "a.dcm")
    assert read_image(tmp_path, "a.dcm", 0, 12).shape == (3, 4, 1)
    assert reject(tmp_path, "a.dcm", max_pixels=11)[0] == "too_large"


def test_a_compressed_picture_larger_than_the_header_says_is_never_decoded(
    tmp_path: Path,
) -> None:
    picture = io.BytesIO()
    Image.fromarray(np.zeros((3000, 3000), np.uint8)).save(picture, "JPEG2000", no_jp2=True)
    dataset = slice_of(np.zeros((3, 4), np.uint8), PixelData=encapsulate([picture.getvalue()]))
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset["PixelData"].is_undefined_length = True
    save(dataset, tmp_path / "a.dcm")
    found, detail = reject(tmp_path, "a.dcm", max_pixels=10_000)
    assert found == "damaged"
    assert "is 3000 x 3000 pixels, the header says 4 x 3" in detail


def test_frames_that_the_bytes_cannot_hold_are_refused_at_the_first(tmp_path: Path) -> None:
    dataset = slice_of(RAMP, NumberOfFrames=2**31 - 1)
    save(dataset, tmp_path / "plain.dcm")
    said = ("damaged", "holds 24 of 51,539,607,528 bytes of pixels")
    assert reject(tmp_path, "plain.dcm") == said
    picture = io.BytesIO()
    Image.fromarray(RAMP.astype(np.uint8)).save(picture, "JPEG2000", no_jp2=True)
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelData = encapsulate([picture.getvalue()])
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset["PixelData"].is_undefined_length = True
    save(dataset, tmp_path / "packed.dcm")
    found, detail = reject(tmp_path, "packed.dcm")
    assert found == "damaged"
    assert "bytes of pixels, too few for 2,147,483,647 frames" in detail


def test_a_deflated_file_that_grows_beyond_bounds_is_refused(tmp_path: Path) -> None:
    dataset = slice_of(RAMP)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save(dataset, tmp_path / "a.dcm")
    assert np.array_equal(read_image(tmp_path, "a.dcm")[..., 0], RAMP)
    whole = path.read_bytes()
    start = 144 + int.from_bytes(whole[140:144], "little")
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -15)
    path.write_bytes(whole[:start] + squeezed.compress(bytes(2**24)) + squeezed.flush())
    assert reject(tmp_path, "a.dcm", max_pixels=10_000)[0] == "too_large"


@pytest.mark.parametrize("mode", ["CMYK", "HSV", "DUMBLEDORE"])
def test_colours_that_are_none_of_the_known_are_refused_unnamed(
    tmp_path: Path, mode: str
) -> None:
    save(slice_of(RAMP, PhotometricInterpretation=mode), tmp_path / "a.dcm")
    found, detail = reject(tmp_path, "a.dcm")
    assert found == "not_an_image"
    assert mode not in detail


def test_what_pydicom_says_of_a_header_is_not_passed_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = save(slice_of(RAMP, NumberOfFrames="1234567890"), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"1234567890", b"Dumbledore"))
    with caplog.at_level(logging.DEBUG):
        with pytest.warns(UserWarning, match="Dumbledore"):  # so pydicom by itself
            assert pydicom.dcmread(path).NumberOfFrames == "Dumbledore"
        assert "Dumbledore" in caplog.text
        caplog.clear()
        said = " ".join(reject(tmp_path, "a.dcm"))
    wanted = "one whole number from 1 on"
    assert said == f"unreadable_element NumberOfFrames cannot be read, but should be {wanted}"
    assert "Dumbledore" not in "".join([caplog.text, *capfd.readouterr()])
    assert not logging.getLogger("pydicom").disabled


def test_random_bytes_in_a_header_are_refused_and_never_quoted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = save(slice_of(RAMP), tmp_path / "whole.dcm").read_bytes()
    rng = np.random.default_rng(0)
    said = []
    with caplog.at_level(logging.DEBUG):
        for trial in range(150):
            data = bytearray(whole)
            for place in rng.integers(132, len(data), 6):
                data[place] = rng.integers(256)
            (tmp_path / f"{trial}.dcm").write_bytes(data)
            try:
                read_frame(tmp_path, f"{trial}.dcm", 0, 10**6)
            except RejectedError as error:
                said.append(str(error))
    assert said
    everything = "".join([*said, caplog.text, *capfd.readouterr()])
    assert "Dumbledore" not in everything
    assert "PGBM" not in everything
