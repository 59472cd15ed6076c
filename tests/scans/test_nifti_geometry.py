"""A volume whose header says in two ways how it lies is refused, or read as one is told."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from maskwise.scans.pictures import read_frame, read_image, volume_reader
from maskwise.scans.reading import DEFAULT, Reading
from maskwise.scans.reasons import RejectedError
from sources.volume import rewrite

VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
SFORM = Reading(affine="sform")
QFORM = Reading(affine="qform")


def lying(
    raw: Path,
    sform: Any,
    qform: Any,
    codes: tuple[int, int] = (1, 1),
    **fields: Any,
) -> None:
    """Write ``v.nii`` with two affines, given by their columns (3, 3) or whole (4, 4).

    ``pixdim`` holds the voxel sizes of ``qform``.
    """
    image = nib.Nifti1Image(VOXELS, None)  # which leaves both forms alone
    image.header.set_qform(whole(qform), codes[1])
    image.header.set_sform(whole(sform), codes[0])
    nib.save(image, raw / "v.nii")
    rewrite(raw / "v.nii", sform_code=codes[0], qform_code=codes[1], **fields)


def whole(affine: Any) -> NDArray[np.float64]:
    affine = np.asarray(affine, np.float64)
    result = np.eye(4)
    result[: len(affine), : len(affine)] = affine
    return result


def turned(degrees: float, axis: int = 2) -> NDArray[np.float64]:
    """Return a rotation ``(3, 3)`` about an axis."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    first, second = (k for k in range(3) if k != axis)
    rotation = np.eye(3)
    rotation[[first, first, second, second], [first, second, first, second]] = c, -s, s, c
    return rotation


def leaning(mm: float, thick: float = 5.0) -> NDArray[np.float64]:
    """Return columns ``(3, 3)`` of a stack whose slices shift by ``mm`` to the front."""
    return np.array([[1.0, 0, 0], [0, 1.0, mm], [0, 0, thick]])


def spacing(raw: Path, reading: Reading = DEFAULT) -> tuple[float, ...]:
    return volume_reader(raw, "v.nii", reading).geometry.spacing


def refusal(raw: Path, reading: Reading = DEFAULT) -> tuple[str, str]:
    """Return reason and detail."""
    with pytest.raises(RejectedError) as caught:
        volume_reader(raw, "v.nii", reading)
    return caught.value.reject.reason, caught.value.reject.detail


# Voxel sizes


def test_a_sform_without_scale_is_refused_with_both_readings_and_the_options(
    tmp_path: Path,
) -> None:
    lying(tmp_path, np.eye(3), np.diag([1.3, 1.3, 10.0]))
    assert refusal(tmp_path) == (
        "contradictory_affine",
        "says in two ways how it lies: sform says 1 x 1 x 1 mm, qform and pixdim "
        "1.3 x 1.3 x 10 mm; say which is right with `reading: {affine: sform}` or "
        "`reading: {affine: qform}`",
    )


@pytest.mark.parametrize(("reading", "sizes"), [(SFORM, (1, 1, 1)), (QFORM, (1.3, 1.3, 10))])
def test_the_form_that_is_said_to_be_right_gives_the_spacing(
    tmp_path: Path, reading: Reading, sizes: tuple[float, ...]
) -> None:
    lying(tmp_path, np.eye(3), np.diag([1.3, 1.3, 10.0]))
    assert spacing(tmp_path, reading) == pytest.approx(sizes, rel=1e-6)
    place = read_frame(tmp_path, "v.nii", 0, 10**6, reading)[1].place
    assert place is not None
    assert (place.spacing_x, place.spacing_y, place.spacing_z) == pytest.approx(sizes, rel=1e-6)


def test_a_lonely_sform_is_held_against_pixdim(tmp_path: Path) -> None:
    lying(tmp_path, np.eye(3), np.diag([1.3, 1.3, 10.0]), (1, 0))
    reason, detail = refusal(tmp_path)
    assert reason == "contradictory_affine"
    assert "sform says 1 x 1 x 1 mm, pixdim 1.3 x 1.3 x 10 mm" in detail


def test_where_pixdim_is_right_a_lonely_sform_still_says_the_directions(tmp_path: Path) -> None:
    lying(tmp_path, np.diag([-1.0, 1.0, 1.0]), np.diag([1.3, 1.3, 10.0]), (1, 0))
    assert spacing(tmp_path, QFORM) == pytest.approx((1.3, 1.3, 10))
    found = read_image(tmp_path, "v.nii", 0, reading=QFORM)[..., 0]
    assert np.array_equal(found, VOXELS[:, ::-1, 0].T)  # stored from right to left


def test_the_other_form_is_not_asked_for_where_there_is_but_one(tmp_path: Path) -> None:
    lying(tmp_path, np.diag([2.0, 2.0, 3.0]), np.diag([2.0, 2.0, 3.0]), (0, 1))
    assert spacing(tmp_path, SFORM) == spacing(tmp_path) == (2, 2, 3)


@pytest.mark.parametrize(("more", "taken"), [(1.005, True), (1.02, False)])
def test_voxel_sizes_may_differ_by_what_is_rounding(
    tmp_path: Path, more: float, taken: bool
) -> None:
    lying(tmp_path, np.diag([2.0, 2.0, 3.0 * more]), np.diag([2.0, 2.0, 3.0]), (2, 1))
    if taken:
        assert spacing(tmp_path) == pytest.approx((2, 2, 3 * more))
    else:
        assert refusal(tmp_path)[0] == "contradictory_affine"


# Directions and place


def test_left_and_right_the_other_way_round_is_refused(tmp_path: Path) -> None:
    lying(tmp_path, np.diag([1.0, 1.0, 2.0]), np.diag([-1.0, 1.0, 2.0]), (4, 1))
    reason, detail = refusal(tmp_path)
    assert reason == "contradictory_affine"
    assert "by sform its axes point to RAS, by qform to LAS" in detail


def test_half_a_turn_between_the_forms_is_refused(tmp_path: Path) -> None:
    lying(tmp_path, np.diag([1.0, 1.0, 2.0]), np.diag([-1.0, -1.0, 2.0]), (2, 1))
    assert "point to RAS, by qform to LPS" in refusal(tmp_path)[1]


@pytest.mark.parametrize("reading", [SFORM, QFORM])
def test_the_form_that_is_said_to_be_right_says_where_left_is(
    tmp_path: Path, reading: Reading
) -> None:
    lying(tmp_path, np.diag([1.0, 1.0, 2.0]), np.diag([-1.0, 1.0, 2.0]))
    found = read_image(tmp_path, "v.nii", 0, reading=reading)[..., 0]
    # The patient's right is shown on the left: the last stored column of an axis to the right.
    step = -1 if reading == SFORM else 1
    assert np.array_equal(found, VOXELS[::step, ::-1, 0].T)


def test_a_template_may_lie_elsewhere_and_turned_against_the_scanner(tmp_path: Path) -> None:
    sizes = np.diag([1.0, 1.0, 2.0])
    template = whole(turned(20, 0) @ turned(-15, 2) @ sizes)
    template[:3, 3] = (-90, -126, -72)
    lying(tmp_path, template, whole(sizes), (4, 1))
    assert spacing(tmp_path) == pytest.approx((1, 1, 2), rel=1e-6)


@pytest.mark.parametrize(
    "moved", [np.array([0.0, 0.0, 3.0]), np.array([40.0, 0.0, 0.0])], ids=["up", "right"]
)
def test_two_places_in_one_system_of_coordinates_are_refused(
    tmp_path: Path, moved: NDArray[np.float64]
) -> None:
    sform = whole(np.diag([1.0, 1.0, 2.0]))
    sform[:3, 3] = moved
    lying(tmp_path, sform, np.diag([1.0, 1.0, 2.0]), (1, 1))
    reason, detail = refusal(tmp_path)
    assert reason == "contradictory_affine"
    assert f"of the same code 1, lie up to {np.abs(moved).max():g} mm apart" in detail
    lying(tmp_path, sform, np.diag([1.0, 1.0, 2.0]), (2, 1))
    assert spacing(tmp_path) == (1, 1, 2)


def test_rounding_at_45_degrees_is_no_contradiction(tmp_path: Path) -> None:
    sform, qform = (turned(45 + tilt, 0) @ np.diag([1.0, 1.0, 2.0]) for tilt in (0.01, -0.01))
    lying(tmp_path, sform, qform, (2, 1))
    assert sorted(spacing(tmp_path)) == pytest.approx([1, 1, 2])


# Forms that cannot be used


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"quatern_b": 1.0, "quatern_c": 0.6}, "quatern_b, c and d add up to 1.36, beyond 1"),
        ({"quatern_d": np.nan}, "quatern_b, c and d add up to nan"),
        ({"qoffset_x": np.nan}, "its qform holds numbers that are not finite"),
        ({"pixdim": (0.5, 1, 1, 2, 1, 1, 1, 1)}, "pixdim[0] is 0.5"),
        ({"pixdim": (1, 1, 0, 2, 1, 1, 1, 1)}, "pixdim is 1 x 0 x 2"),
        ({"pixdim": (1, 1, 1, -2, 1, 1, 1, 1)}, "pixdim is 1 x 1 x -2"),
        ({"pixdim": (1, np.nan, 1, 2, 1, 1, 1, 1)}, "pixdim is nan x 1 x 2"),
        ({"pixdim": (1, 1, np.inf, 2, 1, 1, 1, 1)}, "pixdim is 1 x inf x 2"),
        ({"qform_code": 9}, "qform_code is 9, which the standard does not know"),
        ({"qform_code": -1}, "qform_code is -1"),
    ],
)
def test_a_qform_that_cannot_be_used_is_refused_by_name_unless_the_sform_is_said_to_be_right(
    tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    sizes = np.diag([1.0, 1.0, 2.0])
    lying(tmp_path, sizes, sizes)
    rewrite(tmp_path / "v.nii", **fields)
    reason, detail = refusal(tmp_path)
    assert reason == "no_affine"
    assert said in detail
    assert detail.endswith("if its sform is right, set `reading: {affine: sform}`")
    assert spacing(tmp_path, SFORM) == (1, 1, 2)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"srow_x": np.nan}, "its sform holds numbers that are not finite"),
        ({"srow_z": 0.0}, "its sform cannot be inverted"),
        ({"srow_y": (1, 0, 0, 0), "srow_x": (1, 0, 0, 0)}, "its sform cannot be inverted"),
        ({"sform_code": 6}, "sform_code is 6"),
    ],
)
def test_a_sform_that_cannot_be_used_is_refused_by_name_unless_the_qform_is_said_to_be_right(
    tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    sizes = np.diag([1.0, 1.0, 2.0])
    lying(tmp_path, sizes, sizes)
    rewrite(tmp_path / "v.nii", **fields)
    reason, detail = refusal(tmp_path)
    assert reason == "no_affine"
    assert said in detail
    assert detail.endswith("if its qform is right, set `reading: {affine: qform}`")
    assert spacing(tmp_path, QFORM) == (1, 1, 2)


def test_a_quaternion_that_rounding_made_too_long_is_one(tmp_path: Path) -> None:
    half = np.diag([-1.0, -1.0, 1.0])
    lying(tmp_path, half, half)
    rewrite(tmp_path / "v.nii", quatern_d=1.00001)
    assert spacing(tmp_path) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize("reading", [DEFAULT, SFORM, QFORM])
def test_a_header_with_neither_form_is_refused_whatever_is_said(
    tmp_path: Path, reading: Reading
) -> None:
    lying(tmp_path, np.eye(3), np.eye(3), (0, 0))
    reason, detail = refusal(tmp_path, reading)
    assert reason == "no_affine"
    assert "sform and qform have the code 0" in detail


# Stacks that lean


def test_a_leaning_stack_is_taken_with_a_remark(tmp_path: Path) -> None:
    lying(tmp_path, leaning(1.0), np.diag([1.0, 1.0, 5.0]), (1, 0))
    decoded = read_frame(tmp_path, "v.nii", 0, 10**6)[1]
    (remark,) = decoded.remarks
    assert remark.kind == "sheared"
    assert "11.3 degrees off square" in remark.detail  # atan(1 / 5)
    assert np.array_equal(decoded.pixels[..., 0], VOXELS[::-1, ::-1, 0].T)


def test_slices_of_a_leaning_stack_are_as_far_apart_as_their_planes(tmp_path: Path) -> None:
    lying(tmp_path, leaning(1.0), np.diag([1.0, 1.0, 5.0]), (1, 0))
    geometry = volume_reader(tmp_path, "v.nii").geometry
    assert geometry.spacing == pytest.approx((1, 1, np.sqrt(26)))
    # The volume of a voxel over the area of the side that lies in the plane.
    assert geometry.across == pytest.approx((1, 5 / np.sqrt(26), 5))
    place = read_frame(tmp_path, "v.nii", 0, 10**6)[1].place
    assert place is not None
    assert (place.spacing_y, place.spacing_x, place.spacing_z) == pytest.approx((1, 1, 5))


@pytest.mark.parametrize("thick", [5.0, np.sqrt(26)])
def test_pixdim_of_a_leaning_stack_may_be_measured_along_it_or_across(
    tmp_path: Path, thick: float
) -> None:
    lying(tmp_path, leaning(1.0), np.diag([1.0, 1.0, thick]), (1, 1))  # no qform leans
    assert volume_reader(tmp_path, "v.nii").geometry.across[2] == pytest.approx(5)


def test_an_oblique_stack_is_none_that_leans(tmp_path: Path) -> None:
    columns = turned(33, 0) @ turned(12, 2) @ np.diag([0.7, 0.7, 4.4])
    lying(tmp_path, columns, columns)
    assert read_frame(tmp_path, "v.nii", 0, 10**6)[1].remarks == ()
