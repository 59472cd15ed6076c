"""``maskwise.read``: one image of any file, in the units of the file."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import maskwise
from maskwise.errors import UserError
from sources.dicom import save, slice_of
from sources.medmnist import COUNTS
from sources.medmnist import write as write_archive
from sources.volume import write as write_volume

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
VOXELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


@pytest.fixture
def png(tmp_path: Path) -> Path:
    Image.fromarray(PICTURE).save(tmp_path / "scan ü 50%.png")
    return tmp_path / "scan ü 50%.png"


def test_a_grey_picture_has_two_axes_and_a_coloured_one_three(
    png: Path, tmp_path: Path
) -> None:
    assert np.array_equal(maskwise.read(png), PICTURE)
    colour = np.stack([PICTURE, PICTURE // 2, PICTURE // 3], axis=2)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    assert np.array_equal(maskwise.read(str(tmp_path / "colour.png")), colour)


def test_a_path_may_be_relative_or_a_link_out_of_its_folder(
    png: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(maskwise.read(png.name), PICTURE)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.png").symlink_to(png)
    assert np.array_equal(maskwise.read("links/a.png"), PICTURE)


def test_ct_is_in_hounsfield_units(tmp_path: Path) -> None:
    stored = np.array([[0, 1024], [1124, 3000]], np.int16)
    elements = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}
    file = save(slice_of(stored, **elements), tmp_path / "ct.dcm")
    image = maskwise.read(file)
    assert not isinstance(image, np.ma.MaskedArray)
    assert image.tolist() == [[-1024, 0], [100, 1976]]


def test_of_ybr_grey_is_the_luminance_as_it_is_stored(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    dataset = slice_of(frames[..., 0], PhotometricInterpretation="YBR_FULL", Modality="US")
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PixelData = frames.tobytes()
    clip = save(dataset, tmp_path / "clip.dcm")
    assert np.array_equal(maskwise.read(clip, 1, grey=True), frames[1, ..., 0])
    assert maskwise.read(clip, 1).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("axis", "slices"), [("axial", 6), ("coronal", 5), ("sagittal", 4), (None, 6)]
)
def test_the_slices_of_a_volume_are_counted_along_an_axis(
    tmp_path: Path, axis: str | None, slices: int
) -> None:
    file = write_volume(tmp_path / "v.nii.gz", VOXELS)
    along = {"axial": 2, "coronal": 1, "sagittal": 0, None: 2}[axis]
    for number in (0, slices - 1):
        expected = VOXELS.take(number, along)
        image = maskwise.read(file, number, axis=axis)
        assert sorted(image.ravel()) == sorted(expected.ravel())
    if axis is not None:
        message = f"frame is {slices}, but the volume has {slices} {axis} slices"
        with pytest.raises(UserError, match=message):
            maskwise.read(file, slices, axis=axis)


def test_beyond_the_last_slice_it_says_how_many_there_are(tmp_path: Path) -> None:
    file = write_volume(tmp_path / "v.nii", VOXELS)
    said = "holds one volume of 6 axial, 5 coronal, 4 sagittal slices, so there is no frame 999"
    with pytest.raises(UserError, match=said):
        maskwise.read(file, 999)


def test_a_volume_of_a_4_d_file_is_named(tmp_path: Path) -> None:
    file = write_volume(tmp_path / "v.nii", np.stack([VOXELS, VOXELS + 500], axis=3))
    first, second = (maskwise.read(file, 2, volume=number) for number in (0, 1))
    assert np.array_equal(first + 500, second)
    for wrong in (2, -1):
        with pytest.raises(UserError, match=r"volume is -?\d, but the file holds 2"):
            maskwise.read(file, volume=wrong)
    with pytest.raises(UserError, match="volume is null, but the file holds 2"):
        maskwise.read(file, axis="axial")
    with pytest.raises(UserError, match=r"holds 2 volumes \(4-D\).*as in volume=0"):
        maskwise.read(file)
    assert np.array_equal(maskwise.read(file, 15 + 2), first)  # as a manifest counts
    with pytest.raises(UserError, match=r"holds 2 volumes \(4-D\) of 6 axial, .*no frame 45"):
        maskwise.read(file, 45)
    one = write_volume(tmp_path / "one.nii", VOXELS)
    with pytest.raises(UserError, match="volume is 0, but the file holds one volume: leave it"):
        maskwise.read(one, volume=0)


def test_the_images_of_an_archive_are_counted_through_or_by_key(tmp_path: Path) -> None:
    file = write_archive(tmp_path) / "breastmnist.npz"
    through = maskwise.read(file, COUNTS["train"] + 1)
    assert np.array_equal(maskwise.read(file, 1, key="val_images"), through)
    with pytest.raises(UserError, match=r"no 'images'.*train_images, val_images, test"):
        maskwise.read(file, key="images")
    with pytest.raises(UserError, match="frame is 4, but val_images holds 4"):
        maskwise.read(file, 4, key="val_images")


def write_with_nan(path: Path) -> Path:
    voxels: NDArray[Any] = VOXELS.astype(np.float32)
    voxels[0, 0] = np.nan
    return write_volume(path, voxels)


def test_what_nan_means_is_an_option_and_then_it_is_masked(tmp_path: Path) -> None:
    file = write_with_nan(tmp_path / "v.nii")
    with pytest.raises(UserError, match=r"v\.nii: .*NaN in .*reading: \{nan: background\}"):
        maskwise.read(file)
    image = maskwise.read(file, reading={"nan": "background"})
    assert isinstance(image, np.ma.MaskedArray)
    assert image.mask.sum() == 1
    with pytest.raises(UserError, match=r"reading\.nn: there is no such option; .*'nan'"):
        maskwise.read(file, reading={"nn": "background"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"frame": -1}, "frame is -1, but must be 0 or more"),
        ({"frame": "3"}, "frame is '3', but must be a whole number from 0"),
        ({"frame": None}, "frame is null, but must be a whole number"),
        ({"volume": 1.5}, r"volume is 1\.5, but must be a whole number"),
        ({"frame": 1}, r"scan ü 50%\.png: has 1 frame, so there is no frame 1"),
        ({"axis": "axial"}, "axis and volume are for NIfTI files"),
        ({"key": "train_images"}, r"key is for \.npz archives"),
    ],
)
def test_what_a_file_does_not_hold_is_refused(
    png: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        maskwise.read(png, **options)


def test_an_axis_that_there_is_not_is_answered_with_the_close_match(tmp_path: Path) -> None:
    file = write_volume(tmp_path / "v.nii", VOXELS)
    with pytest.raises(UserError, match="there is no 'axil'; did you mean 'axial'"):
        maskwise.read(file, axis="axil")


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg", "cut.bmp"])
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_picture_that_was_cut_off_ends_early(tmp_path: Path, name: str, part: float) -> None:
    Image.fromarray(PICTURE).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(UserError, match="cannot be decoded: the file ends early"):
        maskwise.read(tmp_path / name)


def test_a_file_that_is_not_there_is_named_as_it_was_given(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^{tmp_path}/a\.png: there is no such file"):
        maskwise.read(tmp_path / "a.png")


@pytest.mark.parametrize("call", ["read('a.png')", "predict('a.png', 'm.safetensors')"])
def test_without_the_extra_it_says_what_to_install(call: str) -> None:
    code = (
        "import sys\n"
        "sys.modules['PIL'] = sys.modules['pandas'] = None\n"
        "import maskwise\n"
        f"maskwise.{call}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'is not installed: pip install "maskwise[pipeline]"' in done.stderr
