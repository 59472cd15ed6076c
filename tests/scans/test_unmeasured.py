"""NaN is what was not measured where that is said; in masks it is outside then."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from maskwise.ingest.measure import Job, Task, measure
from maskwise.scans.decode import check_values
from maskwise.scans.mask_files import read_classes, read_mask
from maskwise.scans.pictures import read_frame, read_grey, read_image
from maskwise.scans.reading import Reading
from maskwise.scans.reasons import RejectedError
from sources.dicom import slice_of
from sources.volume import write

BACKGROUND = Reading(nan="background")
HOLE = np.array([[[3.0, np.nan], [5.0, 4.0]]]).T.astype(np.float32)
"""``(2, 2, 1)``: one axial slice, shown as 4 5 over NaN 3."""


def test_nan_is_background_as_dark_as_the_darkest_that_was_measured(tmp_path: Path) -> None:
    write(tmp_path / "v.nii", HOLE)
    decoded = read_frame(tmp_path, "v.nii", 0, 100, BACKGROUND)[1]
    assert decoded.pixels[..., 0].tolist() == [[4, 5], [3, 3]]
    assert decoded.background is not None
    assert decoded.background.tolist() == [[False, False], [True, False]]


def test_an_image_in_which_nothing_was_measured_is_background_all_over(tmp_path: Path) -> None:
    write(tmp_path / "v.nii", np.full((2, 2, 1), np.nan, np.float32))
    decoded = read_frame(tmp_path, "v.nii", 0, 100, BACKGROUND)[1]
    assert decoded.background is not None
    assert decoded.background.all()
    assert (decoded.pixels == 0).all()


@pytest.mark.parametrize("read", [read_frame, read_grey])
def test_nan_is_background_whichever_way_an_image_is_read(tmp_path: Path, read: Any) -> None:
    dataset = slice_of(np.zeros((2, 2), np.uint16), BitsAllocated=32)
    dataset.FloatPixelData = np.array([[5, np.nan], [7, 6]], np.float32).tobytes()
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(dataset, name)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    decoded = read(tmp_path, "a.dcm", 0, 100, BACKGROUND)[1]
    assert decoded.pixels[..., 0].tolist() == [[5, 5], [7, 6]]
    assert decoded.background.tolist() == [[False, True], [False, False]]


def test_an_image_in_which_nothing_was_measured_counts_as_black(tmp_path: Path) -> None:
    write(tmp_path / "v.nii", np.full((2, 2, 1), np.nan, np.float32))
    look = Job(tmp_path, 100, tmp_path / "key", BACKGROUND)
    (row,) = measure(look, Task(0, "v.nii", 0, ())).measured
    assert (row.intensity_mean, row.intensity_std) == (0, 0)
    assert (row.intensity_min, row.intensity_max, row.blank) == (0, 0, True)


def test_without_nan_there_is_no_background(tmp_path: Path) -> None:
    write(tmp_path / "v.nii", np.ones((2, 2, 1), np.float32))
    assert read_frame(tmp_path, "v.nii", 0, 100, BACKGROUND)[1].background is None


def test_nan_of_a_picture_is_read_as_that_of_a_volume(tmp_path: Path) -> None:
    Image.fromarray(np.array([[np.nan, 2.0], [7.0, 9.0]], np.float32)).save(tmp_path / "a.tif")
    decoded = read_frame(tmp_path, "a.tif", 0, 100, BACKGROUND)[1]
    assert decoded.pixels[..., 0].tolist() == [[2, 2], [7, 9]]


def test_what_is_hashed_is_what_is_stored_however_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "v.nii", HOLE)
    assert (
        read_frame(tmp_path, "v.nii", 0, 100)[0]
        == (read_frame(tmp_path, "v.nii", 0, 100, BACKGROUND)[0])
    )


def test_a_refusal_of_nan_says_how_much_of_it_there_is_and_names_the_option(
    tmp_path: Path,
) -> None:
    write(tmp_path / "v.nii", HOLE)
    with pytest.raises(RejectedError, match=r"NaN in 25\.00% .*`reading: {nan: background}`"):
        check_values(read_image(tmp_path, "v.nii"), "v.nii")


def test_infinite_values_are_refused_whatever_is_said_of_nan(tmp_path: Path) -> None:
    write(tmp_path / "v.nii", np.where(HOLE == 5, np.inf, HOLE))
    image = read_image(tmp_path, "v.nii", reading=BACKGROUND)
    with pytest.raises(RejectedError, match=r"not finite numbers \(infinite ones\)"):
        check_values(image, "v.nii")


# Masks


@pytest.mark.parametrize("read", [read_mask, read_classes])
def test_nan_in_a_mask_is_refused_by_name_or_outside(tmp_path: Path, read: Any) -> None:
    write(tmp_path / "m.nii", np.where(np.isnan(HOLE), HOLE, HOLE > 3))
    with pytest.raises(
        RejectedError, match=r"holds NaN in 25\.00% .*nan: background"
    ) as caught:
        read(tmp_path, ["m.nii"])
    assert caught.value.reject.reason == "fractional_mask"
    assert read(tmp_path, ["m.nii"], reading=BACKGROUND).tolist() == [[1, 1], [0, 0]]


@pytest.mark.parametrize("read", [read_mask, read_classes])
@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_number_in_a_mask_is_refused(
    tmp_path: Path, read: Any, value: float
) -> None:
    write(tmp_path / "m.nii", np.full((2, 2, 1), value, np.float32))
    with pytest.raises(RejectedError, match="infinite numbers"):
        read(tmp_path, ["m.nii"], reading=BACKGROUND)


def test_numbers_near_a_whole_one_are_that_one(tmp_path: Path) -> None:
    stored = np.array([[0.0009, 0.9991, 1.9999998, 3.0009]], np.float32)[..., None]
    write(tmp_path / "m.nii", stored)
    assert read_classes(tmp_path, ["m.nii"]).ravel().tolist() == [3, 2, 1, 0]
    assert read_mask(tmp_path, ["m.nii"]).ravel().tolist() == [True, True, True, False]


def test_a_number_beside_a_whole_one_is_refused_with_its_digits(tmp_path: Path) -> None:
    write(tmp_path / "m.nii", np.full((2, 2, 1), 0.99608, np.float32))
    with pytest.raises(RejectedError, match=r"holds 0\.99608, which is not a class"):
        read_classes(tmp_path, ["m.nii"])


def test_a_class_beyond_a_byte_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "m.nii", np.full((2, 2, 1), 300, np.int16))
    with pytest.raises(RejectedError, match="holds 300, but classes go from 0 to 255"):
        read_classes(tmp_path, ["m.nii"])


@pytest.mark.parametrize("name", ["a.nii", "a.tif"])
def test_nan_in_a_mask_has_one_reason_whatever_its_format(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.nii", np.ones((2, 2, 1), np.float32))
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "a.tif")
    mask = f"mask_{name}"
    write(tmp_path / "mask_a.nii", HOLE)
    Image.fromarray(HOLE[..., 0]).save(tmp_path / "mask_a.tif")
    look = Job(tmp_path, 100, tmp_path / "key")
    (reject,) = measure(look, Task(0, name, 0, (mask,))).rejects
    assert (reject.path, reject.reason) == (name, "fractional_mask")
