"""Parts of frames, and breasts on films: what is cut, filled up and mirrored."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from maskwise.artefacts.manifest import REGION, region_text, regions_of
from maskwise.errors import UserError
from maskwise.preparation import Preparation
from maskwise.scans.breast import Breast, find_breast
from maskwise.scans.decode import Decoded
from maskwise.scans.one import read
from maskwise.scans.pictures import read_frame, read_grey
from maskwise.scans.reading import Reading
from maskwise.scans.reasons import RejectedError
from maskwise.scans.region import Region
from sources.drawing import save
from sources.films import breast, film

COUNTED = np.arange(1, 25, dtype=np.uint8).reshape(4, 6)
"""A frame whose pixels all differ, none 0."""


def cut(raw: Path, region: Region | None, **reading: Any) -> Decoded:
    return read_frame(raw, "x.png", 0, 10**6, Reading(**reading), region)[1]


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    save(COUNTED, tmp_path / "x.png")
    return tmp_path


def test_a_region_inside_a_frame_is_those_pixels_and_nothing_is_unmeasured(
    counted: Path,
) -> None:
    image = cut(counted, Region(1, 2, 2, 3))
    assert image.pixels[..., 0].tolist() == [[9, 10, 11], [15, 16, 17]]
    assert image.background is None


def test_what_a_region_lacks_is_filled_up_where_it_is_cut_off_so_that_its_centre_stays(
    counted: Path,
) -> None:
    image = cut(counted, Region(-1, -1, 3, 3))
    assert image.background is not None
    assert image.background.tolist() == [[True] * 3, [True, False, False], [True, False, False]]
    assert image.pixels[1:, 1:, 0].tolist() == [[1, 2], [7, 8]]


def test_symmetric_padding_fills_up_either_side_and_shifts_what_is_shown(
    counted: Path,
) -> None:
    image = cut(counted, Region(-2, 0, 4, 2, pad="symmetric"))
    assert image.background is not None
    assert image.background[:, 0].tolist() == [True, False, False, True]
    assert image.pixels[1:3, :, 0].tolist() == [[1, 2], [7, 8]]


def test_what_lies_beyond_a_frame_is_black_to_the_network_and_in_no_percentile(
    counted: Path,
) -> None:
    image = cut(counted, Region(-1, 0, 5, 6))
    square = {"name": "resize", "aspect": "stretch", "fill": "black"}
    extremes = {"name": "percentile", "low": 0.0, "high": 100.0}
    preparation = Preparation(1, 5, 6, square, extremes, (0.0,), (1.0,), "xray")
    intensities = preparation.intensities(image.pixels, image.background)[0]
    assert (intensities[0] == 0).all()
    # Least and largest are those of the frame, 1 and 24.
    np.testing.assert_allclose(intensities[1:], (COUNTED - 1.0) / 23, atol=1e-6)


def test_a_region_beside_its_frame_is_refused(counted: Path) -> None:
    with pytest.raises(RejectedError, match=r"lies beside the file's 6 x 4 pixels"):
        cut(counted, Region(4, 0, 2, 2))


def test_the_bytes_of_a_region_are_its_own_to_whoever_reads_it(counted: Path) -> None:
    one, other = Region(0, 0, 2, 2), Region(0, 1, 2, 2)
    first = read_frame(counted, "x.png", 0, 10**6, region=one)[0]
    assert first == read_grey(counted, "x.png", 0, 10**6, region=one)[0]
    assert first != read_frame(counted, "x.png", 0, 10**6, region=other)[0]


def test_a_mask_follows_its_image_into_a_mirrored_region() -> None:
    mask = COUNTED == 9
    assert Region(1, 2, 2, 3, mirrored=True).cut(mask).tolist() == [
        [False, False, True],
        [False] * 3,
    ]


def test_a_manifest_s_regions_are_read_as_they_were_written_and_nonsense_is_refused() -> None:
    region = Region(-3, 4, 5, 6, pad="symmetric")
    table = pd.DataFrame({REGION: [region_text(region), None]})
    assert regions_of(table) == [region, None]
    for wrong in ('{"top": 1}', "[]", '{"height": 0, "left": 0, "top": 0, "width": 3}'):
        with pytest.raises(UserError, match=r"(?s)column region should hold boxes.*run ingest"):
            regions_of(pd.DataFrame({REGION: [wrong]}))


# Breasts


def whole(found: Breast, height: int, width: int) -> NDArray[np.bool_]:
    return found.mask(slice(0, height), slice(0, width))


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("on_left", [True, False])
def test_the_breast_is_found_without_label_and_frame_on_either_side(
    dtype: Any, on_left: bool
) -> None:
    found = find_breast(film(on_left=on_left, dtype=dtype)[..., None])
    assert found is not None
    wanted = breast() if on_left else breast()[:, ::-1]
    assert overlap(whole(found, 120, 80), wanted) > 0.97
    assert found.on_left == on_left


def test_the_breast_of_a_film_larger_than_the_grid_is_as_large_as_the_film() -> None:
    found = find_breast(film(1301, 903)[..., None])
    assert found is not None
    mask = whole(found, 1301, 903)
    assert mask.shape == (1301, 903)
    assert overlap(mask, breast(1301, 903)) > 0.97
    rows, columns = slice(401, 777), slice(13, 900)
    np.testing.assert_array_equal(found.mask(rows, columns), mask[rows, columns])


def test_dark_tissue_in_the_middle_is_breast() -> None:
    pixels = film()
    pixels[55:65, 10:20] = 0
    found = find_breast(pixels[..., None])
    assert found is not None
    assert found.mask(slice(55, 65), slice(10, 20)).all()


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_film_without_breast_is_refused_by_name(tmp_path: Path, value: int) -> None:
    save(np.full((60, 40), value, np.uint8), tmp_path / "x.png")
    with pytest.raises(RejectedError, match=r"x\.png: nothing on the film stands out.*no_brea"):
        cut(tmp_path, None, breast="mask")


def test_a_masked_film_keeps_its_size_and_loses_its_label(tmp_path: Path) -> None:
    pixels = film()
    save(pixels, tmp_path / "x.png")
    image = cut(tmp_path, None, breast="mask")
    assert image.pixels.shape == (120, 80, 1)
    assert image.pixels.max() < pixels.max()
    assert image.background is not None
    assert image.background[10, 75]


def test_a_cropped_film_ends_where_the_breast_does(tmp_path: Path) -> None:
    save(film(on_left=False), tmp_path / "x.png")
    image = cut(tmp_path, None, breast="crop")
    rows, columns = (np.flatnonzero(breast().any(axis=axis)) for axis in (1, 0))
    assert image.pixels.shape[:2] == pytest.approx((len(rows), len(columns)), abs=2)


@pytest.mark.parametrize("side", ["left", "right"])
def test_left_and_right_breasts_come_to_hang_on_one_side(tmp_path: Path, side: Any) -> None:
    images = []
    for on_left in (True, False):
        save(film(on_left=on_left), tmp_path / "x.png")
        images.append(cut(tmp_path, None, chest_wall=side).pixels[..., 0])
    assert (images[0] == images[1]).all()
    assert (images[0] == film(on_left=side == "left")).all()


def test_a_region_is_cut_before_it_is_mirrored(tmp_path: Path) -> None:
    save(film(on_left=False), tmp_path / "x.png")
    region = Region(50, 60, 10, 15)
    plain = cut(tmp_path, region).pixels
    assert (cut(tmp_path, region, chest_wall="left").pixels == plain[:, ::-1]).all()


def test_a_script_reads_a_film_as_ingest_does(tmp_path: Path) -> None:
    Image.fromarray(film()).save(tmp_path / "x.png")
    values = read(tmp_path / "x.png", reading={"breast": "crop", "chest_wall": "right"})
    assert isinstance(values, np.ma.MaskedArray)
    image = cut(tmp_path, None, breast="crop", chest_wall="right")
    assert (values.data == image.pixels[..., 0]).all()
    assert image.background is not None
    assert (np.ma.getmaskarray(values) == image.background).all()
