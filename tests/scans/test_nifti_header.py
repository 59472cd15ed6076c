"""What a NIfTI header says of its voxels is held to the standard, element by element."""

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from maskwise.scans.pictures import read_image, volume_reader
from maskwise.scans.reasons import RejectedError
from sources.volume import rewrite, write

VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
FIRST = VOXELS[::-1, ::-1, 0].T
"""The first axial slice, as it is shown."""


def volume(raw: Path, **fields: Any) -> Path:
    """Write a volume with ``fields`` in its header."""
    path = write(raw / "v.nii", VOXELS)
    rewrite(path, **fields)
    return path


def refusal(raw: Path, name: str = "v.nii") -> tuple[str, str]:
    """Return reason and detail of what is refused."""
    with pytest.raises(RejectedError) as caught:
        read_image(raw, name)
    return caught.value.reject.reason, caught.value.reject.detail


def with_extension(path: Path, offset: int, length: int) -> None:
    """Put an extension of ``length`` bytes behind the header, and the voxels at ``offset``."""
    header = rewrite(path, vox_offset=offset)[:348]
    extension = struct.pack("<ii", length, 6) + b"x" * (length - 8)
    front = (header + b"\1\0\0\0" + extension).ljust(offset, b"\0")[:offset]
    path.write_bytes(front + VOXELS.tobytes(order="F"))


# Where voxels begin


@pytest.mark.parametrize("offset", [0, 348, 351, 352.5, -352, np.nan, np.inf])
def test_voxels_that_begin_within_the_header_are_refused(tmp_path: Path, offset: float) -> None:
    volume(tmp_path, vox_offset=offset)
    reason, detail = refusal(tmp_path)
    assert reason == "damaged"
    assert f"vox_offset is {offset:.10g}" in detail


def test_voxels_within_the_longer_header_of_nifti_2_are_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(VOXELS, np.eye(4)), tmp_path / "v.nii")
    assert np.array_equal(read_image(tmp_path, "v.nii")[..., 0], FIRST)
    content = bytearray((tmp_path / "v.nii").read_bytes())
    content[168:176] = struct.pack("<q", 540)
    (tmp_path / "v.nii").write_bytes(content)
    assert "vox_offset is 540" in refusal(tmp_path)[1]


def test_voxels_need_not_begin_at_a_multiple_of_16_bytes(tmp_path: Path) -> None:
    path = volume(tmp_path, vox_offset=357)
    content = path.read_bytes()
    path.write_bytes(content[:352] + b"....." + content[352:])
    assert np.array_equal(read_image(tmp_path, "v.nii")[..., 0], FIRST)


@pytest.mark.parametrize("compressed", [False, True])
def test_an_extension_of_the_header_is_passed_over(tmp_path: Path, compressed: bool) -> None:
    path = volume(tmp_path)
    with_extension(path, 352 + 64, 48)  # and 16 bytes of padding
    if compressed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert np.array_equal(read_image(tmp_path, "v.nii")[..., 0], FIRST)


@pytest.mark.parametrize("offset", [352, 384])
def test_voxels_that_begin_within_an_extension_are_refused(tmp_path: Path, offset: int) -> None:
    with_extension(volume(tmp_path), offset, 48)
    reason, detail = refusal(tmp_path)
    assert reason == "damaged"
    assert detail.startswith(f"vox_offset is {offset}, but an extension")


# What voxels are worth


@pytest.mark.parametrize("name", ["scl_slope", "scl_inter"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_scaling_that_is_no_number_is_refused_by_name(
    tmp_path: Path, name: str, value: float
) -> None:
    volume(tmp_path, **{"scl_slope": 2.0, "scl_inter": 1.0, name: value})
    reason, detail = refusal(tmp_path)
    assert reason == "damaged"
    assert detail.startswith(f"{name} is {value}")


@pytest.mark.parametrize("inter", [0.0, 7.0, np.nan])
def test_a_slope_of_0_is_no_scaling_whatever_the_intercept(
    tmp_path: Path, inter: float
) -> None:
    volume(tmp_path, scl_slope=0.0, scl_inter=inter)
    image = read_image(tmp_path, "v.nii")
    assert image.dtype == np.int16
    assert np.array_equal(image[..., 0], FIRST)


@pytest.mark.parametrize(
    ("code", "said"),
    [(128, "RGB"), (1, "binary"), (32, "complex64"), (1536, "float128"), (77, "datatype 77")],
)
def test_voxels_that_are_not_one_real_number_are_refused_by_their_type(
    tmp_path: Path, code: int, said: str
) -> None:
    volume(tmp_path, datatype=code)
    reason, detail = refusal(tmp_path)
    assert reason == "not_an_image"
    assert said in detail


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float64, np.int8, np.uint32])
def test_whole_and_real_numbers_of_any_size_are_read(tmp_path: Path, dtype: Any) -> None:
    voxels = VOXELS.astype(dtype)
    nib.save(nib.Nifti1Image(voxels, np.eye(4), dtype=dtype), tmp_path / "v.nii")
    image = read_image(tmp_path, "v.nii")
    assert image.dtype == dtype
    assert np.array_equal(image[..., 0], FIRST)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_the_other_order_of_bytes_is_read(tmp_path: Path, kind: Any) -> None:
    header = kind.header_class(endianness=">")
    header.set_data_dtype(np.int16)
    nib.save(kind(VOXELS, np.diag([1.0, 2.0, 3.0, 1.0]), header), tmp_path / "v.nii")
    assert (tmp_path / "v.nii").read_bytes()[:2] == b"\0\0"
    image = read_image(tmp_path, "v.nii")
    assert image.dtype == np.dtype("=i2")
    assert np.array_equal(image[..., 0], FIRST)
    assert volume_reader(tmp_path, "v.nii").geometry.spacing == (1.0, 2.0, 3.0)


# What spacing is in


def test_a_unit_that_is_not_said_is_the_millimetre(tmp_path: Path) -> None:
    volume(tmp_path, xyzt_units=0)
    assert volume_reader(tmp_path, "v.nii").geometry.spacing == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("units", [5, 8 + 7])
def test_a_unit_that_the_standard_does_not_know_is_refused(tmp_path: Path, units: int) -> None:
    volume(tmp_path, xyzt_units=units)
    reason, detail = refusal(tmp_path)
    assert reason == "damaged"
    assert detail.startswith(f"xyzt_units names the unit of length {units & 7}")


def test_the_unit_of_time_is_of_no_concern(tmp_path: Path) -> None:
    volume(tmp_path, xyzt_units=2 + 7 * 8)
    assert volume_reader(tmp_path, "v.nii").geometry.spacing == (1.0, 1.0, 1.0)


# How many there are


@pytest.mark.parametrize("number", [0, -1, 8])
def test_a_number_of_dimensions_that_none_has_is_refused(tmp_path: Path, number: int) -> None:
    content = bytearray(volume(tmp_path).read_bytes())
    content[40:42] = struct.pack("<h", number)
    (tmp_path / "v.nii").write_bytes(content)
    reason, detail = refusal(tmp_path)
    assert reason == "damaged"
    assert detail.startswith("dim[0] is")


@pytest.mark.parametrize("size", [0, -4])
def test_a_side_without_voxels_is_refused(tmp_path: Path, size: int) -> None:
    volume(tmp_path, dim=(3, 2, 3, size, 1, 1, 1, 1))
    assert refusal(tmp_path) == (
        "dimensions",
        f"has the dimensions 2 x 3 x {size}, where 3 are meant",
    )


def test_a_picture_of_two_dimensions_is_one_slice(tmp_path: Path) -> None:
    volume(tmp_path, dim=(2, 2, 3, 1, 1, 1, 1, 1), pixdim=(1, 1, 1, 0, 0, 0, 0, 0))
    assert np.array_equal(read_image(tmp_path, "v.nii")[..., 0], FIRST)
    assert volume_reader(tmp_path, "v.nii").geometry.shape == (2, 3, 1)


# The file around it


def test_a_suffix_that_says_compressed_or_not_is_not_relied_on(tmp_path: Path) -> None:
    path = volume(tmp_path)
    path.rename(tmp_path / "plain.nii.gz")
    content = (tmp_path / "plain.nii.gz").read_bytes()
    path.write_bytes(gzip.compress(content))
    for name in ("plain.nii.gz", "v.nii"):
        assert np.array_equal(read_image(tmp_path, name)[..., 0], FIRST)


def test_a_compressed_file_of_several_members_is_one_file(tmp_path: Path) -> None:
    content = volume(tmp_path).read_bytes()
    members = b"".join(gzip.compress(content[k : k + 100]) for k in range(0, len(content), 100))
    (tmp_path / "v.nii").write_bytes(members)
    assert np.array_equal(read_image(tmp_path, "v.nii")[..., 0], FIRST)


def test_bytes_behind_the_voxels_are_passed_over(tmp_path: Path) -> None:
    content = volume(tmp_path).read_bytes() + b"more"
    (tmp_path / "v.nii").write_bytes(content)
    (tmp_path / "w.nii.gz").write_bytes(gzip.compress(content) + b"\0" * 512)
    for name in ("v.nii", "w.nii.gz"):
        assert np.array_equal(read_image(tmp_path, name)[..., 0], FIRST)
