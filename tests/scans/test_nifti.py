"""Slices of NIfTI volumes: turned and spaced as nibabel says, refused with a reason."""

import contextlib
import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskwise.scans.mask_files import read_classes, read_lesion, read_mask
from maskwise.scans.pictures import read_frame, read_image, volume_reader
from maskwise.scans.reading import Reading
from maskwise.scans.reasons import RejectedError
from maskwise.scans.volume import PLANES, find_slice, frames_of
from scans.samples import FOLDER, facts, names
from sources.volume import rewrite, write

FACTS = facts("nifti")


def load(path: Path) -> NDArray[Any]:
    """Return what nibabel reads."""
    image: Any = nib.load(path)
    return np.asarray(image.dataobj)


def turned(voxels: NDArray[Any], axes: str) -> NDArray[Any]:
    """Turn stored voxels to right, anterior, superior by the letters alone: the slow oracle."""
    order = [next(i for i, a in enumerate(axes) if a in pair) for pair in ("RL", "AP", "SI")]
    result = voxels.transpose(*order, *range(3, voxels.ndim))
    for axis, stored in enumerate(order):
        if axes[stored] in "LPI":
            result = np.flip(result, axis)
    return result


def shown(volume: NDArray[Any], plane: str, number: int) -> NDArray[Any]:
    """Return a slice of a RAS+ volume as a radiologist's screen has it, pixel by pixel."""
    nx, ny, nz = volume.shape
    if plane == "axial":  # rows from the front to the back, columns from right to left
        return np.array(
            [[volume[nx - 1 - c, ny - 1 - r, number] for c in range(nx)] for r in range(ny)]
        )
    if plane == "coronal":  # rows from head to feet, columns from right to left
        return np.array(
            [[volume[nx - 1 - c, number, nz - 1 - r] for c in range(nx)] for r in range(nz)]
        )
    # Rows from head to feet, columns from the front to the back.
    return np.array(
        [[volume[number, ny - 1 - c, nz - 1 - r] for c in range(ny)] for r in range(nz)]
    )


def slices(raw: Path, path: str, plane: str, volume: int | None = None) -> list[NDArray[Any]]:
    """Read all slices of a plane, one by one."""
    shape = volume_reader(raw, path).geometry.shape
    return [read_image(raw, path, frame)[..., 0] for frame in frames_of(shape, plane, volume)]


def reason(raw: Path, path: str, frame: int = 0, max_pixels: int = 10**6) -> str:
    """Return why a frame is refused."""
    with pytest.raises(RejectedError) as caught:
        read_frame(raw, path, frame, max_pixels)
    return caught.value.reject.reason


# What nibabel says of real files


@pytest.mark.parametrize("name", names("nifti"))
def test_all_slices_together_are_the_volume_that_nibabel_reads(
    shared_data: Path, name: str
) -> None:
    raw, said = shared_data / FOLDER, FACTS[name]
    stored = load(raw / name)
    stored = stored[..., 0] if said["shape"][3:] == [1] else stored
    values = turned(stored, said["axcodes"])
    for volume in [None] if values.ndim == 3 else range(values.shape[3]):
        expected = values if volume is None else values[..., volume]
        stack = np.stack(slices(raw, name, "axial", volume))
        back = np.flip(np.moveaxis(stack, (0, 1, 2), (2, 1, 0)), (0, 1))
        np.testing.assert_allclose(back, expected, rtol=1e-6)


@pytest.mark.parametrize("name", names("nifti"))
def test_values_and_types_are_those_of_the_facts(shared_data: Path, name: str) -> None:
    raw, said = shared_data / FOLDER, FACTS[name]
    reader = volume_reader(raw, name)
    volumes = [None] if reader.geometry.volumes is None else range(reader.geometry.volumes)
    voxels = np.concatenate([np.ravel(slices(raw, name, "axial", v)) for v in volumes])
    assert np.nanmin(voxels) == pytest.approx(said["min"])
    assert np.nanmax(voxels) == pytest.approx(said["max"])
    if np.isfinite(voxels).all():
        assert voxels.mean(dtype=np.float64) == pytest.approx(said["mean"], rel=1e-4, abs=1e-4)
    assert reader.number_type == np.dtype(said["dtype"]).name
    assert type(nib.load(raw / name)).__name__ == said["kind"]
    assert (raw / name).stat().st_size == said["bytes"]


@pytest.mark.parametrize("name", names("nifti"))
def test_shape_spacing_and_obliquity_are_those_of_the_facts(
    shared_data: Path, name: str
) -> None:
    said = FACTS[name]
    reader = volume_reader(shared_data / FOLDER, name)
    order = [
        next(i for i, a in enumerate(said["axcodes"]) if a in p) for p in ("RL", "AP", "SI")
    ]
    assert reader.geometry.shape == tuple(said["shape"][stored] for stored in order)
    assert (reader.geometry.volumes or 1) == (said["shape"] + [1])[3]
    spacing = [said["zooms"][stored] for stored in order]
    assert reader.geometry.spacing == pytest.approx(spacing, rel=1e-4)
    assert nib.aff2axcodes(reader.affine) == ("R", "A", "S")
    oblique = np.rad2deg(nib.affines.obliquity(reader.affine))
    assert sorted(oblique) == pytest.approx(sorted(said["oblique_deg"]), abs=0.01)


@pytest.mark.parametrize("name", ["nifti/aniso_vox.nii.gz", "nifti/anatomical.nii"])
@pytest.mark.parametrize("plane", PLANES)
def test_each_plane_shows_what_a_radiologists_screen_does(
    shared_data: Path, name: str, plane: str
) -> None:
    raw = shared_data / FOLDER
    volume = np.asarray(nib.as_closest_canonical(nib.load(raw / name)).dataobj)
    found = slices(raw, name, plane)
    assert len(found) == volume.shape[PLANES[plane]]
    middle = len(found) // 2
    assert np.array_equal(found[middle], shown(volume, plane, middle))


# Orientation, numbering and places


@given(
    axes=st.permutations(["RL", "AP", "SI"]).flatmap(
        lambda pairs: st.tuples(*(st.sampled_from(pair) for pair in pairs))
    ),
    shape=st.tuples(*[st.integers(1, 4)] * 3),
    compressed=st.booleans(),
)
@settings(deadline=None, max_examples=40)
def test_however_a_volume_is_stored_its_slices_are_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    axes: tuple[str, ...],
    shape: tuple[int, int, int],
    compressed: bool,
) -> None:
    raw = tmp_path_factory.mktemp("axes")
    voxels = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    name = "v.nii.gz" if compressed else "v.nii"
    write(raw / name, voxels, "".join(axes))
    volume = turned(voxels, "".join(axes))
    for plane in PLANES:
        for number, found in enumerate(slices(raw, name, plane)):
            assert np.array_equal(found, shown(volume, plane, number))


@given(shape=st.tuples(*[st.integers(1, 9)] * 3), volumes=st.integers(0, 3))
@settings(deadline=None)
def test_every_frame_is_one_slice_of_one_plane_of_one_volume(
    shape: tuple[int, int, int], volumes: int
) -> None:
    counted: list[int] = []
    for volume in [None, *range(volumes)]:
        for plane in PLANES:
            frames = frames_of(shape, plane, volume)
            counted += frames
            for number, frame in enumerate(frames):
                found = find_slice(shape, frame)
                assert (found.plane, found.number, found.volume) == (plane, number, volume)
                assert (found.count, found.end) == (len(frames), frames.stop)
    assert counted == list(range((volumes + 1) * sum(shape)))


@pytest.mark.parametrize(
    ("plane", "y", "x", "across"),
    [("axial", 3, 2, 5), ("coronal", 5, 2, 3), ("sagittal", 5, 3, 2)],
)
def test_a_slice_knows_its_spacing_and_its_place(
    tmp_path: Path, plane: str, y: float, x: float, across: float
) -> None:
    voxels = np.zeros((6, 5, 4), np.uint8)
    write(tmp_path / "v.nii", voxels.transpose(1, 0, 2), "PLS", (3.0, 2.0, 5.0))
    frame = frames_of((6, 5, 4), plane)[1]
    place = read_frame(tmp_path, "v.nii", frame, 10**6)[1].place
    assert place is not None
    assert (place.spacing_y, place.spacing_x, place.spacing_z) == (y, x, across)
    assert (place.number, place.count) == (1, voxels.shape[PLANES[plane]])


@pytest.mark.parametrize(
    ("unit", "factor"), [("mm", 1.0), ("meter", 1000.0), ("micron", 0.001)]
)
def test_spacing_is_in_millimetres_whatever_the_headers_unit(
    tmp_path: Path, unit: str, factor: float
) -> None:
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "v.nii")
    assert volume_reader(tmp_path, "v.nii").geometry.spacing == pytest.approx([2 * factor] * 3)


def test_a_slope_is_applied_and_whole_numbers_without_one_keep_their_type(
    tmp_path: Path,
) -> None:
    voxels = np.arange(8, dtype=np.int16).reshape(2, 2, 2)
    write(tmp_path / "plain.nii", voxels)
    image = nib.Nifti1Image(voxels.astype(np.float64), np.eye(4))
    image.header.set_data_dtype(np.int16)
    image.header.set_slope_inter(0.5, 10)
    nib.save(image, tmp_path / "scaled.nii")
    plain, scaled = (read_image(tmp_path, name, 1) for name in ("plain.nii", "scaled.nii"))
    assert [plain.dtype.name, scaled.dtype.name] == ["int16", "float32"]
    expected = load(tmp_path / "scaled.nii")[::-1, ::-1, 1].T
    np.testing.assert_allclose(scaled[..., 0], expected, rtol=1e-6)


def test_the_bytes_that_are_hashed_are_those_of_the_slice(tmp_path: Path) -> None:
    write(tmp_path / "v.nii.gz", np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    data, decoded = read_frame(tmp_path, "v.nii.gz", 2, 10**6)
    assert data == decoded.pixels.tobytes()
    assert (decoded.format, decoded.mode, decoded.bits) == ("NIFTI", "uint8", 8)


# Four dimensions


def test_four_dimensions_where_three_are_meant_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "v.nii", np.zeros((2, 3, 4, 2), np.uint8))
    assert reason(tmp_path, "v.nii") == "dimensions"


def test_a_volume_of_a_4d_file_is_had_by_its_number(tmp_path: Path) -> None:
    voxels = np.arange(48, dtype=np.uint8).reshape(2, 3, 4, 2)
    write(tmp_path / "v.nii", voxels)
    for volume in (0, 1):
        for number, found in enumerate(slices(tmp_path, "v.nii", "axial", volume)):
            assert np.array_equal(found, shown(voxels[..., volume], "axial", number))


def test_a_volume_that_the_file_has_not_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "one.nii", np.zeros((2, 3, 4), np.uint8))
    write(tmp_path / "two.nii", np.zeros((2, 3, 4, 2), np.uint8))
    assert reason(tmp_path, "one.nii", frames_of((2, 3, 4), "axial", 0)[0]) == "dimensions"
    assert reason(tmp_path, "two.nii", frames_of((2, 3, 4), "axial", 2)[0]) == "dimensions"


def test_a_last_dimension_of_one_is_none(tmp_path: Path) -> None:
    write(tmp_path / "v.nii", np.zeros((2, 3, 4, 1), np.uint8))
    assert len(slices(tmp_path, "v.nii", "axial")) == 4


@pytest.mark.parametrize("shape", [(2, 3, 4, 2, 2), (5,)])
def test_other_numbers_of_dimensions_are_refused(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    write(tmp_path / "v.nii", np.zeros(shape, np.uint8))
    assert reason(tmp_path, "v.nii") == "dimensions"


# What is refused


def test_a_volume_that_says_not_how_it_lies_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii", np.zeros((2, 3, 4), np.uint8))
    rewrite(path, sform_code=0, qform_code=0)
    assert reason(tmp_path, "v.nii") == "no_affine"


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_an_affine_that_says_nothing_is_none(tmp_path: Path, value: float) -> None:
    rewrite(write(tmp_path / "v.nii", np.zeros((2, 3, 4), np.uint8)), srow_x=value)
    assert reason(tmp_path, "v.nii") == "no_affine"


@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_voxels_cut_short_are_damaged(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, np.random.default_rng(0).random((8, 8, 8)))
    path.write_bytes(path.read_bytes()[:-100])
    assert reason(tmp_path, name) == "damaged"


def test_one_flipped_bit_of_a_compressed_volume_is_noticed(tmp_path: Path) -> None:
    # Without compression in it, the stream is intact and only its checksum knows.
    path = write(tmp_path / "v.nii", np.zeros((8, 8, 8), np.uint8))
    data = bytearray(gzip.compress(path.read_bytes(), compresslevel=0))
    data[len(data) // 2] ^= 1
    (tmp_path / "w.nii.gz").write_bytes(data)
    assert reason(tmp_path, "w.nii.gz") == "damaged"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "empty"), (b"a text" * 100, "not_an_image"), (b"\x1f\x8bnonsense", "damaged")],
)
def test_other_content_under_a_volumes_name_is_told(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    (tmp_path / "v.nii.gz").write_bytes(content)
    assert reason(tmp_path, "v.nii.gz") == expected


def test_a_header_whose_voxels_lie_in_another_file_is_refused(tmp_path: Path) -> None:
    image = nib.Nifti1Pair(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    nib.save(image, tmp_path / "v.img")
    (tmp_path / "v.nii").write_bytes((tmp_path / "v.hdr").read_bytes())
    assert reason(tmp_path, "v.nii") == "not_an_image"


def test_complex_numbers_are_no_image(tmp_path: Path) -> None:
    write(tmp_path / "v.nii", np.zeros((2, 2, 2), np.complex64))
    assert reason(tmp_path, "v.nii") == "not_an_image"


def test_a_slice_of_too_many_pixels_is_refused_by_its_header(tmp_path: Path) -> None:
    write(tmp_path / "v.nii", np.zeros((20, 30, 2), np.uint8))
    assert read_frame(tmp_path, "v.nii", 0, 600)[1].pixels.shape == (30, 20, 1)
    assert reason(tmp_path, "v.nii", max_pixels=599) == "too_large"
    assert read_frame(tmp_path, "v.nii", 2, 60)[1].pixels.shape == (2, 20, 1)  # coronal


def test_a_header_that_promises_terabytes_is_refused_unread(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii", np.zeros((2, 2, 2), np.float64))
    content = rewrite(path, dim=(3, 2000, 2000, 32000, 1, 1, 1, 1))
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(content))
    assert reason(tmp_path, "v.nii.gz", max_pixels=10**8) == "too_long"


def test_random_bytes_in_a_header_are_refused_and_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii", np.zeros((4, 4, 4), np.int16))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    taken = []
    for trial in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, 344, 12):
            data[place] = rng.integers(256)
        (tmp_path / f"{trial}.nii").write_bytes(data)
        with contextlib.suppress(RejectedError):  # a change may hit what says nothing
            taken.append(read_frame(tmp_path, f"{trial}.nii", 0, 10**6))
    assert len(taken) < 60
    assert all(decoded.pixels.size <= 10**6 for _, decoded in taken)


# Masks


def test_a_masks_slice_is_that_of_the_image_whatever_volume_is_looked_at(
    tmp_path: Path,
) -> None:
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1, 2, 3] = 2
    write(tmp_path / "m.nii.gz", labels)
    for volume in (None, 0, 3):
        for plane in PLANES:
            for number, frame in enumerate(frames_of(labels.shape, plane, volume)):
                expected = shown(labels, plane, number)
                assert np.array_equal(read_mask(tmp_path, ["m.nii.gz"], frame), expected > 0)
                assert np.array_equal(read_classes(tmp_path, ["m.nii.gz"], frame), expected)


def test_of_masks_that_overlap_the_highest_class_stands(tmp_path: Path) -> None:
    for name, value in (("a.nii", 1), ("b.nii", 2)):
        labels = np.zeros((3, 1, 1), np.uint8)
        labels[value - 1 : value + 1] = value
        write(tmp_path / name, labels)
    assert read_classes(tmp_path, ["b.nii", "a.nii"]).tolist() == [[2, 2, 1]]


def test_labels_stored_as_floating_point_are_classes_while_they_are_whole(
    tmp_path: Path,
) -> None:
    write(tmp_path / "whole.nii", np.full((2, 2, 2), 2.0, np.float32))
    write(tmp_path / "half.nii", np.full((2, 2, 2), 1.5, np.float32))
    assert read_classes(tmp_path, ["whole.nii"]).max() == 2
    with pytest.raises(RejectedError, match="fractional_mask"):
        read_classes(tmp_path, ["half.nii"])


def test_a_name_that_no_file_can_have_is_missing_and_can_be_printed(tmp_path: Path) -> None:
    with pytest.raises(RejectedError, match=r"half a character") as caught:
        read_image(tmp_path, "scan_\ud800.nii.gz")
    assert caught.value.reject.path == "scan_\\ud800.nii.gz"


def test_a_volume_of_probabilities_is_cut_at_half_of_its_largest_and_remarked(
    tmp_path: Path,
) -> None:
    voxels = np.zeros((2, 2, 3), np.float32)
    voxels[0, 0] = [0.8, 0.3, 0.5]  # of one place, from feet to head
    write(tmp_path / "m.nii", voxels)
    found = [read_lesion(tmp_path, ["m.nii"], frame) for frame in range(3)]
    assert [int(lesion.mask.sum()) for lesion in found] == [1, 0, 1]
    assert found[1].remarks[0].kind == "mask_levels"
    everything = read_lesion(tmp_path, ["m.nii"], 1, reading=Reading(mask_threshold="any"))
    assert int(everything.mask.sum()) == 1
    assert not everything.remarks


def test_a_volume_of_whole_numbers_is_lesion_wherever_it_is_not_0(tmp_path: Path) -> None:
    voxels = np.zeros((2, 2, 1), np.float32)
    voxels[:, 0, 0] = [1, 4]
    write(tmp_path / "m.nii", voxels)
    lesion = read_lesion(tmp_path, ["m.nii"], 0)
    assert int(lesion.mask.sum()) == 2
    assert not lesion.remarks
