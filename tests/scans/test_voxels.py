"""Voxels of any file are had plane by plane, in little memory, or are refused."""

import gzip
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskwise.scans import voxels as module
from maskwise.scans.mask_files import read_mask
from maskwise.scans.pictures import read_frame, read_image
from maskwise.scans.reasons import RejectedError
from maskwise.scans.voxels import Voxels
from sources.volume import rewrite, write

MEGABYTE = 2**20

_GROWN = """
import resource, sys
from pathlib import Path
from maskwise.scans.mask_files import read_mask
from maskwise.scans.pictures import read_frame
raw, frames = Path(sys.argv[1]), [int(n) for n in sys.argv[2].split(",")]
read_frame(raw, "small.nii.gz", 0, 10**6)  # whatever has to be imported
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for frame in frames:
    read_frame(raw, sys.argv[3], frame, 10**6)
    read_mask(raw, [sys.argv[3]], frame, 10**6)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
"""Prints by how many kilobytes a process grew while it looked at frames of a volume."""


def large(raw: Path, shape: tuple[int, int, int], compressed: bool) -> str:
    """Write a volume of zeros, and a small one beside it; return its name."""
    path = write(raw / "small.nii", np.zeros((2, 2, 2), np.uint8))
    header = rewrite(path, dim=(3, *shape, 1, 1, 1, 1))[:352]
    write(raw / "small.nii.gz", np.zeros((2, 2, 2), np.uint8))
    name = "large.nii.gz" if compressed else "large.nii"
    with gzip.open(raw / name, "wb", 1) if compressed else (raw / name).open("wb") as file:
        file.write(header)
        for _ in range(shape[2]):
            file.write(bytes(shape[0] * shape[1]))
    return name


def resident() -> int:
    """Return how many bytes of this process lie in memory now, whatever its peak was."""
    return int(psutil.Process().memory_info().rss)


def inflated(raw: Path, content: NDArray[Any]) -> Voxels:
    path = raw / "v.gz"
    path.write_bytes(gzip.compress(content.tobytes(order="F")))
    return Voxels(path, "v.gz", 0, content.dtype, content.shape)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_large_volume_takes_little_memory_however_it_is_sliced(
    tmp_path: Path, compressed: bool
) -> None:
    shape = (512, 512, 1024)  # 256 MB
    name = large(tmp_path, shape, compressed)
    frames = [*range(0, 1024, 2), *range(1024, 2048, 256)]  # axial, coronal, sagittal
    answer = subprocess.run(
        [sys.executable, "-c", _GROWN, str(tmp_path), ",".join(map(str, frames)), name],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(answer.stdout) * 1024 < 200 * MEGABYTE


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 4),
    dtype=st.sampled_from(["u1", "<i2", ">i2", ">f4", "<f8"]),
    held=st.sampled_from([0, 2**26]),
    looked_at=st.sampled_from([1, 2**26]),
)
@settings(deadline=None, max_examples=60)
def test_planes_are_those_of_the_array_wherever_it_is_kept(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int, int],
    dtype: str,
    held: int,
    looked_at: int,
) -> None:
    raw = tmp_path_factory.mktemp("planes")
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "HELD", held)
        patch.setattr(module, "_LOOKED_AT", looked_at)
        voxels = inflated(raw, values)
        for axis, volume in itertools.product(range(3), range(shape[3])):
            for number in range(shape[axis]):
                expected = values[..., volume].take(number, axis)
                found = voxels.plane(axis, number, volume)
                assert np.array_equal(found, expected)
                assert found.dtype.isnative


def test_what_is_too_large_for_memory_leaves_no_file_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELD", 0)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    voxels = inflated(tmp_path, np.ones((2, 3, 4, 1), np.uint8))
    assert list((tmp_path / "temporary").iterdir()) == []  # while it is read, even
    assert voxels.plane(2, 3, 0).sum() == 6


@pytest.mark.parametrize("held", [0, 2**26])
def test_a_promise_beyond_what_is_there_is_damaged_wherever_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr(module, "HELD", held)
    path = write(tmp_path / "v.nii", np.zeros((8, 8, 8), np.uint8))
    content = rewrite(path, dim=(3, 8, 8, 9, 1, 1, 1, 1))
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(content))
    with pytest.raises(RejectedError, match=r"holds 512 of 576 bytes of voxels \(damaged\)"):
        read_image(tmp_path, "v.nii.gz")


@pytest.mark.parametrize("held", [0, 2**26])
def test_a_wrong_checksum_is_noticed_wherever_the_voxels_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr(module, "HELD", held)
    path = write(tmp_path / "v.nii", np.zeros((8, 8, 8), np.uint8))
    data = bytearray(gzip.compress(path.read_bytes()))
    data[-8] ^= 1
    (tmp_path / "v.nii.gz").write_bytes(data)
    with pytest.raises(RejectedError, match="damaged"):
        read_image(tmp_path, "v.nii.gz")


def test_a_volume_for_which_the_disk_has_no_room_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELD", 0)
    monkeypatch.setattr(module, "LARGEST", 2**60)
    path = write(tmp_path / "v.nii", np.zeros((2, 2, 2), np.uint8))
    content = rewrite(path, dim=(3, 30000, 30000, 30000, 1, 1, 1, 1))  # 27 TB
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(content))
    with pytest.raises(RejectedError, match=r"27,000,000,000,352 bytes, .* TMPDIR .*too_long"):
        read_mask(tmp_path, ["v.nii.gz"], max_pixels=10**9)


def test_an_empty_file_and_one_that_is_cut_within_its_header_are_refused(
    tmp_path: Path,
) -> None:
    content = write(tmp_path / "v.nii", np.zeros((2, 2, 2), np.uint8)).read_bytes()
    for length, reason in ((0, "empty"), (100, "not_an_image"), (350, "damaged")):
        (tmp_path / "v.nii").write_bytes(content[:length])
        with pytest.raises(RejectedError, match=reason):
            read_image(tmp_path, "v.nii")


def test_an_uncompressed_volume_is_not_read_whole_for_a_slice(tmp_path: Path) -> None:
    size = 2**28
    path = write(tmp_path / "v.nii", np.zeros((2, 2, 2), np.uint8))
    rewrite(path, dim=(3, 256, 256, size // 2**16, 1, 1, 1, 1))
    with path.open("r+b") as file:
        file.truncate(352 + size)  # sparse: takes no room
    before, largest = resident(), 0
    for frame in range(0, size // 2**16, 64):
        read_frame(tmp_path, "v.nii", frame, 10**6)
        largest = max(largest, resident())
    assert largest - before < size / 4


def test_volumes_that_were_read_are_let_go(tmp_path: Path) -> None:
    side = 200  # 8 MB a volume
    for number in range(12):
        voxels = np.full((side, side, side), number, np.uint8)
        write(tmp_path / f"{number}.nii.gz", voxels)
    for number in range(2):
        read_image(tmp_path, f"{number}.nii.gz")
    before, largest = resident(), 0
    for number, _ in itertools.product(range(12), range(2)):
        read_image(tmp_path, f"{number}.nii.gz")
        largest = max(largest, resident())
    assert largest - before < 4 * side**3


def test_a_header_far_in_front_of_the_voxels_is_no_way_around_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST", 2**20)
    image = nib.Nifti1Image(np.zeros((4, 4, 2), np.uint8), np.eye(4))
    data = bytearray(image.to_bytes())
    data[108:112] = np.float32(2**24).tobytes()  # vox_offset
    with gzip.open(tmp_path / "a.nii.gz", "wb") as file:
        file.write(bytes(data) + bytes(2**24))
    with pytest.raises(RejectedError, match=r"take .* more than 1,048,576 .too_long"):
        read_image(tmp_path, "a.nii.gz")
