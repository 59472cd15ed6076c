"""What a network says of places comes back to the scan's own pixels."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskwise.preparation.geometry import GEOMETRIES
from preparations import shaped

PAD = {"name": "pad", "larger": "crop"}
SCALED: list[dict[str, Any]] = [
    {"name": "resize"},
    {"name": "resize", "aspect": "keep"},
    {"name": "resize", "aspect": "keep", "fill": "edge"},
    {"name": "crop"},
]
SIDES = st.tuples(st.integers(1, 24), st.integers(1, 24))


def there_and_back(
    mask: NDArray[np.bool_], block: dict[str, Any], height: int, width: int
) -> NDArray[np.bool_]:
    prepare = shaped(block, height, width)
    seen = prepare.mask(mask).astype(np.float32)
    back: NDArray[np.bool_] = prepare.restored(seen, mask.shape) >= 0.5
    return back


def window(side: int, wanted: int) -> slice:
    """Return what a cut about the centre leaves; an odd pixel is cut at the end."""
    start = max(0, side - wanted) // 2
    return slice(start, start + min(side, wanted))


@given(shape=SIDES, network=SIDES, fill=st.sampled_from(["black", "edge"]), seed=st.integers())
@settings(max_examples=200, deadline=None)
def test_what_is_only_padded_or_cut_comes_back_to_the_pixel(
    shape: tuple[int, int], network: tuple[int, int], fill: str, seed: int
) -> None:
    mask = np.random.default_rng(abs(seed)).random(shape) < 0.5
    expected = np.zeros(shape, bool)
    kept = window(shape[0], network[0]), window(shape[1], network[1])
    expected[kept] = mask[kept]
    assert np.array_equal(there_and_back(mask, {**PAD, "fill": fill}, *network), expected)


@pytest.mark.parametrize(
    ("network", "found"),
    [
        # 5 x 4 into 8 x 7: one row of 8 - 5 = 3 stands above, one column of 3 on the left.
        ((8, 7), [(1, 1), (5, 4)]),
        # Into 2 x 7: of 3 rows too many one is cut above, so that rows 1 and 2 are seen.
        ((2, 7), [(0, 1), (1, 4)]),
    ],
)
def test_an_odd_pixel_goes_back_to_the_side_that_it_came_from(
    network: tuple[int, int], found: list[tuple[int, int]]
) -> None:
    plane = np.zeros(network, np.float32)
    plane[tuple(np.transpose(found))] = [0.25, 0.75]
    back = shaped(PAD, *network).restored(plane, (5, 4))
    top, bottom = (0, 4) if network[0] == 8 else (1, 2)
    assert np.argwhere(back).tolist() == [[top, 0], [bottom, 3]]
    assert (back[top, 0], back[bottom, 3]) == (0.25, 0.75)


@given(data=st.data(), block=st.sampled_from(SCALED))
@settings(max_examples=300, deadline=None)
def test_a_smooth_blob_comes_back_to_its_place_from_every_scaling(
    data: st.DataObject, block: dict[str, Any]
) -> None:
    shape = data.draw(st.tuples(st.integers(20, 150), st.integers(20, 150)), "shape")
    network = data.draw(st.tuples(st.integers(24, 40), st.integers(24, 40)), "network")
    seen = shaped(block, *network).restored(np.ones(network, np.float32), shape) > 0
    # Half axes of at least six of the coarser pixels, all of them within what is seen.
    coarse = np.maximum(shaped(block, *network).span(shape), 1)
    first = np.argwhere(seen).min(axis=0)
    room = np.argwhere(seen).max(axis=0) + 1 - first
    assume((room >= 12 * coarse).all())
    shares = st.tuples(st.floats(0, 1), st.floats(0, 1))
    half = 6 * coarse + data.draw(shares, "size") * (room / 2 - 6 * coarse)
    centre = first + half + data.draw(shares, "place") * (room - 2 * half)
    y, x = np.ogrid[: shape[0], : shape[1]]
    blob = ((y + 0.5 - centre[0]) / half[0]) ** 2 + ((x + 0.5 - centre[1]) / half[1]) ** 2 <= 1
    back = there_and_back(blob, block, *network)
    assert (blob & back).sum() >= 0.8 * (blob | back).sum()
    moved = np.argwhere(back).mean(axis=0) - np.argwhere(blob).mean(axis=0)
    assert (np.abs(moved) <= 0.5 * coarse).all()


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        # 4 x 12, cropped, is 2 x 6 to a network of 2 x 2, which sees the two columns between.
        ({"name": "crop"}, [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]),
        ({"name": "resize", "aspect": "keep"}, [1] * 12),
        ({"name": "resize"}, [1] * 12),
    ],
)
def test_what_was_not_seen_is_nothing_and_dims_nothing_beside_it(
    block: dict[str, Any], expected: list[int]
) -> None:
    back = shaped(block, 2, 2).restored(np.ones((2, 2), np.float32), (4, 12))
    assert back.tolist() == [expected] * 4


def test_what_fills_the_rest_of_the_network_s_image_does_not_come_back() -> None:
    # 4 x 16 kept is 2 x 8 in 8 x 8: rows 3 and 4, with three of fill on either side.
    plane = np.full((8, 8), 1, np.float32)
    plane[3:5] = 0
    back = shaped({"name": "resize", "aspect": "keep"}, 8, 8).restored(plane, (4, 16))
    assert back.tolist() == [[0] * 16] * 4


def test_between_the_network_s_pixels_lies_the_mean_by_distance() -> None:
    # Centres at 1 and 3 of four columns, whose own are at 0.5, 1.5, 2.5 and 3.5.
    back = shaped({"name": "resize"}, 1, 2).restored(np.array([[0, 1]], np.float32), (1, 4))
    assert back[0].tolist() == [0, 0.25, 0.75, 1]


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("shape", [(20, 30), (24, 16), (9, 7), (16, 24)])
def test_every_geometry_gives_back_the_scan_s_own_size(
    name: str, shape: tuple[int, int]
) -> None:
    plane = np.random.default_rng(0).random((16, 24), np.float32)
    block = PAD if name == "pad" else {"name": name}
    back = shaped(block, 16, 24).restored(plane, shape)
    assert back.shape == shape
    assert back.dtype == np.float32
    assert back.min() >= 0
    assert 0 < back.max() <= 1


@pytest.mark.parametrize("block", [PAD, *SCALED], ids=str)
def test_what_is_kept_finer_comes_back_as_large_as_it_was(block: dict[str, Any]) -> None:
    y, x = np.ogrid[:48, :48]
    mask = (y - 20) ** 2 + (x - 26) ** 2 <= 12**2
    prepare = replace(shaped(block, 24, 24), fine=2)
    seen = prepare.mask(mask)
    back = prepare.restored(seen.astype(np.float32), mask.shape) >= 0.5
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.9
    # A pixel of the network is as much lesion as the four that are kept of it are.
    kept = replace(prepare, fine=1, height=48, width=48).areas(mask)
    assert np.allclose(prepare.areas(mask), kept.reshape(24, 2, 24, 2).mean((1, 3)), atol=1e-6)
