"""Planes made smaller or larger: what Pillow makes of them, to the bit."""

import platform

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from maskwise.preparation.resampling import Filter, resized

SIDES = st.one_of(st.integers(1, 6), st.integers(1, 200))
PILLOW: dict[Filter, Image.Resampling] = {
    "triangle": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


def by_pillow(
    plane: NDArray[np.float32], height: int, width: int, kind: Filter
) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(plane).resize((width, height), PILLOW[kind]))


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="elsewhere a product is added at once"
)
@pytest.mark.parametrize("kind", PILLOW)
@given(size=st.tuples(SIDES, SIDES), new=st.tuples(SIDES, SIDES), seed=st.integers(0, 2**16))
@example(size=(500, 500), new=(64, 64), seed=0)  # in several parts
@example(size=(300, 40), new=(20, 30), seed=0)  # the height shrinks most: rows come first
@example(size=(2000, 3), new=(8, 8), seed=0)
@example(size=(600, 40), new=(600, 12), seed=0)  # parts that do not divide the whole
@example(size=(512, 512), new=(64, 64), seed=0)  # rows that are moved apart
@settings(max_examples=150, deadline=None)
def test_a_plane_becomes_what_pillow_makes_of_it_to_the_bit(
    kind: Filter, size: tuple[int, int], new: tuple[int, int], seed: int
) -> None:
    plane = np.random.default_rng(seed).random(size, dtype=np.float32)
    assert np.array_equal(resized(plane, *new, kind), by_pillow(plane, *new, kind))


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="elsewhere a product is added at once"
)
@pytest.mark.parametrize("kind", PILLOW)
def test_a_single_column_or_row_is_added_up_in_the_same_order(kind: Filter) -> None:
    for seed in range(100):
        line = np.random.default_rng(seed).random((40, 1), dtype=np.float32)
        expected = by_pillow(line, 3, 1, kind)
        assert np.array_equal(resized(line, 3, 1, kind), expected)
        assert np.array_equal(resized(line.T, 1, 3, kind), expected.T)


def test_a_pixel_of_a_smaller_plane_is_a_weighted_mean_of_those_under_it() -> None:
    # Of 4 columns to 2: the box sees two each, the triangle as far as 2 from its centre.
    plane = np.array([[0.0, 1.0, 2.0, 9.0]], np.float32)
    assert resized(plane, 1, 2, "box").tolist() == [[0.5, 5.5]]
    near, far = 0.75, 0.25
    weighed = (near * (0 + 1) + far * 2) / (2 * near + far)
    assert resized(plane, 1, 2, "triangle")[0, 0] == pytest.approx(weighed)


def test_a_plane_of_the_size_asked_for_comes_through_untouched() -> None:
    plane = np.random.default_rng(0).random((5, 7), dtype=np.float32)
    assert np.array_equal(resized(plane, 5, 7, "triangle"), plane)


def test_one_call_leaves_nothing_behind_in_the_answer_of_another() -> None:
    planes = np.random.default_rng(0).random((2, 30, 30), dtype=np.float32)
    first = resized(planes[0], 12, 12, "triangle")
    kept = first.copy()
    resized(planes[1], 12, 12, "triangle")
    assert np.array_equal(first, kept)
