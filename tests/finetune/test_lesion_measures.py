"""How far an outline lies from the truth, held against a slow and obvious reference."""

import itertools
from math import hypot
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from maskwise.finetune.lesion.measures import (
    count,
    distances,
    measure,
    spacing_of,
    units_of,
)

Mask = NDArray[np.bool_]
SHAPE = (5, 6)
MASKS = arrays(np.bool_, SHAPE, elements=st.booleans())
SIDES = st.sampled_from([(1.0, 1.0), (0.5, 2.0)])
NOTHING = np.zeros(SHAPE, bool)


def spot(*places: tuple[int, int]) -> Mask:
    mask = NOTHING.copy()
    for place in places:
        mask[place] = True
    return mask


def border(mask: Mask) -> list[tuple[int, int]]:
    """Find the pixels with one of four neighbours outside the mask or the image, one by one."""
    found = []
    for y, x in itertools.product(*map(range, mask.shape)):
        near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        inside = [
            0 <= j < mask.shape[0] and 0 <= i < mask.shape[1] and mask[j, i] for j, i in near
        ]
        if mask[y, x] and not all(inside):
            found.append((y, x))
    return found


def slowly(one: Mask, other: Mask, sides: tuple[float, float]) -> tuple[float, float]:
    """Return 95 % Hausdorff and average surface distance, pixel by pixel."""

    def nearest(start: tuple[int, int], goals: list[tuple[int, int]]) -> float:
        return min(
            hypot(sides[0] * (start[0] - y), sides[1] * (start[1] - x)) for y, x in goals
        )

    here, there = border(one), border(other)
    if not here or not there:
        return float("nan"), float("nan")
    forth = [nearest(pixel, there) for pixel in here]
    back = [nearest(pixel, here) for pixel in there]
    far = max(np.percentile(forth, 95), np.percentile(back, 95))
    return float(far), float(np.mean(forth + back))


@settings(max_examples=40, deadline=None)
@given(one=MASKS, other=MASKS, sides=SIDES)
def test_distances_are_those_found_pixel_by_pixel(
    one: Mask, other: Mask, sides: tuple[float, float]
) -> None:
    found = distances(one[None], other[None], np.array([sides]))
    assert [part[0] for part in found] == pytest.approx(slowly(one, other, sides), nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(one=MASKS, other=MASKS)
def test_pixels_are_counted_one_by_one(one: Mask, other: Mask) -> None:
    table = count(one[None].astype(np.uint8), other[None].astype(np.uint8), ("lesion",))
    pairs = list(zip(one.ravel().tolist(), other.ravel().tolist(), strict=True))
    counted = [pairs.count(pair) for pair in ((True, True), (True, False), (False, True))]
    assert table[["tp_lesion", "fp_lesion", "fn_lesion"]].iloc[0].tolist() == counted


@pytest.mark.parametrize(
    ("one", "other", "far", "mean"),
    [
        pytest.param(spot((1, 1)), spot((1, 1)), 0.0, 0.0, id="identical"),
        pytest.param(spot((0, 0)), spot((3, 4)), 5.0, 5.0, id="one pixel each, apart"),
        pytest.param(~NOTHING, ~NOTHING, 0.0, 0.0, id="everything"),
        pytest.param(NOTHING, spot((1, 1)), np.nan, np.nan, id="nothing found"),
        pytest.param(spot((1, 1)), NOTHING, np.nan, np.nan, id="nothing there"),
        pytest.param(NOTHING, NOTHING, np.nan, np.nan, id="nothing at all"),
    ],
)
def test_distances_of_plain_cases_are_those_of_paper_and_pencil(
    one: Mask, other: Mask, far: float, mean: float
) -> None:
    found = distances(one[None], other[None], np.ones((1, 2)))
    assert [part[0] for part in found] == pytest.approx([far, mean], nan_ok=True)


def test_each_image_is_measured_by_its_own_spacing() -> None:
    one, other = np.stack([spot((0, 0))] * 2), np.stack([spot((3, 4))] * 2)
    far, _ = distances(one, other, np.array([[1.0, 1.0], [2.0, 2.0]]))
    np.testing.assert_allclose(far, [5, 10])


def test_a_volume_is_measured_across_its_slices() -> None:
    one, other = np.zeros((2, 1, 4, 5, 6), bool)
    one[0, 0, 1, 1], other[0, 3, 1, 1] = True, True
    far, mean = distances(one, other, np.array([[2.5, 1.0, 1.0]]))
    assert (far[0], mean[0]) == (7.5, 7.5)


def test_every_class_has_columns_of_its_own() -> None:
    called = np.array([[[1, 1, 2, 0]]], np.uint8)
    truths = np.array([[[1, 2, 2, 2]]], np.uint8)
    counts = count(called, truths, ("a", "b"))
    units = units_of(pd.DataFrame({"group": ["g"]}))
    row = counts.join(measure(called, truths, ("a", "b"), units, np.ones((1, 2)))).iloc[0]
    counted: dict[str, Any] = {
        "tp_a": 1, "fp_a": 1, "fn_a": 0, "tp_b": 1, "fp_b": 0, "fn_b": 2,
    }  # fmt: skip
    assert row[list(counted)].to_dict() == counted
    assert row["hd95_b"] == 1  # 1 px, 0 and 1 px from the truth; 0 back


@pytest.mark.parametrize(
    ("columns", "unit"),
    [
        ({}, "px"),
        ({"spacing_y": [0.5, 0.5], "spacing_x": [0.25, 0.25]}, "mm"),
        ({"spacing_y": [0.5, None], "spacing_x": [0.25, None]}, "px"),
    ],
)
def test_millimetres_are_said_only_where_every_spacing_is_known(
    columns: dict[str, list[float]], unit: str
) -> None:
    found = spacing_of(pd.DataFrame({"image_id": ["i0", "i1"], **columns}))
    assert found.unit == unit
    assert found.sides[0].tolist() == ([0.5, 0.25] if unit == "mm" else [1, 1])


def three_slices(**columns: Any) -> pd.DataFrame:
    """Return the index of a volume in the wrong order, and of a slice of another."""
    known = {"volume": ["v", "v", "v", "w"], "slice": [2, 0, 1, 7], "group": "p"}
    return pd.DataFrame({**known, **columns})


SPACED: dict[str, Any] = {"spacing_y": 1.0, "spacing_x": 1.0, "spacing_z": 3.0}


def test_a_volume_is_stacked_in_the_order_of_its_slices() -> None:
    called, truths = np.zeros((2, 4, *SHAPE), np.uint8)
    called[0, 1, 1], truths[1, 1, 1] = 1, 1  # slices 2 and 0
    called[3, 0, 0], truths[3, 0, 4] = 1, 1
    sides, units = np.ones((4, 2)), units_of(three_slices(**SPACED))
    table = measure(called, truths, ("lesion",), units, sides)
    assert table["unit_hd95_lesion"].tolist() == [6, 6, 6, 4]
    assert table["unit_asd_lesion"].tolist() == [6, 6, 6, 4]


def test_without_the_order_of_slices_a_unit_has_the_mean_of_its_images() -> None:
    called, truths = np.zeros((2, 4, *SHAPE), np.uint8)
    called[:, 0, 0], truths[:3, 0, 2], truths[3, 0, 4] = 1, 1, 1
    truths[2] = 0
    sides, units = np.ones((4, 2)), units_of(three_slices().drop(columns="slice"))
    table = measure(called, truths, ("lesion",), units, sides)
    assert table["unit_hd95_lesion"].tolist() == [2, 2, 2, 4]


@pytest.mark.parametrize(
    ("index", "kind", "stacked"),
    [
        (three_slices(**SPACED), "volume", True),
        (three_slices(), "volume", False),
        (three_slices(**SPACED).drop(columns="volume"), "group", False),
        (three_slices(**{**SPACED, "spacing_z": None}), "volume", False),
        (three_slices(**{**SPACED, "volume": ["v", "v", "v", None]}), "group", False),
    ],
)
def test_a_unit_is_a_volume_where_the_store_names_one(
    index: pd.DataFrame, kind: str, stacked: bool
) -> None:
    units = units_of(index)
    assert (units.kind, units.slices is not None) == (kind, stacked)
