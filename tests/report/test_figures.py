"""Figures: what is drawn where, and that recipes keep their looks."""

from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from maskwise.artefacts.gallery import Gallery
from maskwise.experiment import read_studies
from maskwise.pipeline_registry import PROJECT
from maskwise.report.facts import read_facts
from maskwise.report.figures import agent_view, differences, label_efficiency, reconstructions
from maskwise.report.formatting import number, p_value, signed
from maskwise.report.pictures import png_bytes
from maskwise.report.sections.agent import spread
from maskwise.report.styles import styles
from report.synthetic import GRID, gallery, study


def test_a_recipe_keeps_its_colour_and_marker_whatever_stands_beside_it() -> None:
    alone = styles(["dqn"], {})["dqn"]
    beside = styles(["scratch", "simclr", "mine", "dqn"], {})["dqn"]

    assert (alone.colour, alone.marker) == (beside.colour, beside.marker)


@given(st.lists(st.text("abcdefgh_0123", min_size=1), min_size=1, max_size=20, unique=True))
def test_no_two_recipes_look_the_same(names: list[str]) -> None:
    looks = {(style.colour, style.marker) for style in styles(names, {}).values()}

    assert len(looks) == len(names)


@pytest.mark.parametrize("source", ["phantom", "phantom_study", "lgg", "hippocampus"])
def test_the_recipes_of_a_shipped_page_differ_in_colour(source: str) -> None:
    # One that was stopped earlier has the colour of the one it is, and another marker.
    named = read_studies(PROJECT)[source].recipes
    recipes = [name for name in named if not name.endswith("_same_time")]
    assert len({style.colour for style in styles(recipes, {}).values()}) == len(recipes)


def test_one_s_own_recipe_takes_a_colour_that_is_not_on_the_page() -> None:
    found = styles(["mine", "scratch", "random_cells", "a3c", "hardest", "ahm", "noise"], {})
    assert len({style.colour for style in found.values()}) == 7


def drawn_map(drawn: Gallery) -> Any:
    """Return the map as it is drawn over a tile below the scan, masked where it is not."""
    figure = agent_view.draw(drawn, np.array([0]), np.array([0]))
    scan, places = figure.axes[0].get_images()
    left, right, bottom, top = places.get_extent()
    _, _, scan_bottom, _ = scan.get_extent()
    assert (right - left, bottom - top) == pytest.approx((1, 1))
    assert top > scan_bottom
    values = places.get_array()
    assert isinstance(values, np.ma.MaskedArray)
    return values


# Boxes of 4 x 6 cells in a grid of 16 x 16; those of the last case leave it.
@pytest.mark.parametrize(
    ("stride", "shape", "at"),
    [(1, (13, 11), (3, 7)), (2, (7, 6), (2, 3)), (3, (5, 4), (1, 0)), (2, (8, 8), (2, 3))],
)
def test_a_place_of_the_map_is_drawn_around_the_centre_of_its_box(
    stride: int, shape: tuple[int, int], at: tuple[int, int]
) -> None:
    maps = np.zeros((1, 1, *shape), np.float16)
    maps[0, 0, *at] = 1
    one = replace(
        gallery("random_box", 0),
        maps=maps,
        map_box=np.array([4, 6]),
        map_stride=np.array(stride),
    )

    values = drawn_map(one)

    half = GRID / values.shape[0]  # cells a pixel of the drawing
    where = np.argwhere(values.filled(0) == 1)
    first, end = where.min(0) * half, (where.max(0) + 1) * half
    assert ((first + end) / 2).tolist() == [at[0] * stride + 2, at[1] * stride + 3]
    assert (end - first).tolist() == [stride, stride]


def test_nothing_is_drawn_of_the_map_where_no_box_has_its_centre() -> None:
    maps = np.ones((1, 1, 8, 8), np.float16)
    overhanging = replace(
        gallery("random_box", 0), maps=maps, map_box=np.array([4, 4]), map_stride=np.array(2)
    )

    values = drawn_map(overhanging)

    # The first centre is 2 cells from the edge, and its place begins 1 before it.
    drawn = ~np.ma.getmaskarray(values)
    edge = values.shape[0] // GRID
    assert not drawn[:edge].any()
    assert drawn[edge:, edge:].all()


def test_the_map_is_seen_and_not_hidden_by_its_background() -> None:
    figure = agent_view.draw(gallery("dqn", 0), np.array([7]), np.array([0]))

    with Image.open(BytesIO(png_bytes(figure))) as picture:
        colours = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)

    brightest_of_cividis = (254, 232, 56)
    assert (np.abs(colours - brightest_of_cividis).sum(axis=1) < 30).any()


def test_a_filling_is_drawn_as_it_came_out_and_only_where_the_scan_was_hidden() -> None:
    drawn = gallery("random_box", 0)
    figure = reconstructions.draw(drawn, 3, np.array([1]))
    scan, shown, filled, missed = (
        np.asarray(panel.get_images()[0].get_array()) for panel in figure.axes
    )
    hidden = np.kron(drawn.masks[3, 1], np.ones((4, 4))).astype(bool)

    assert (scan == drawn.images[1]).all()
    assert (shown[~hidden] == scan[~hidden]).all()
    assert (shown[hidden] == shown[hidden][0]).all()
    assert (filled[hidden] == drawn.reconstructions[3, 1][hidden]).all()
    assert (filled[~hidden] == scan[~hidden]).all()
    assert (missed[~hidden] == 0).all()


def test_a_curve_stands_at_the_number_of_labelled_images() -> None:
    scores = pd.DataFrame(
        {
            "recipe": "dqn",
            "mode": "full",
            "fraction": [1.0, 0.1],
            "value": [0.8, 0.7],
            "low": [0.7, 0.6],
            "high": [0.9, 0.8],
        }
    )
    sizes = {1.0: (120, 120), 0.1: (12, 14)}

    figure = label_efficiency.draw(
        scores, sizes, styles(["dqn"], {}), {"full": "Full"}, "macro AUROC"
    )

    panel = figure.axes[0]
    assert list(panel.get_xticks()) == [13, 120]
    assert [text.get_text() for text in panel.get_xticklabels()] == [
        "10\xa0%\n12 to 14",
        "100\xa0%\n120",
    ]
    points = np.asarray(panel.get_lines()[0].get_xydata())
    np.testing.assert_allclose(points, np.array([[13, 0.7], [120, 0.8]]))


@given(st.integers(1, 50), st.integers(1, 12))
def test_moments_are_spread_over_the_whole_training(length: int, wanted: int) -> None:
    chosen = spread(length, wanted)

    assert len(chosen) == min(wanted, length)
    assert chosen[0] == 0
    assert wanted == 1 or chosen[-1] == length - 1


def test_numbers_are_written_without_a_negative_zero_or_a_p_of_0() -> None:
    assert number(-0.0001) == "0.000"
    assert signed(0.0) == "0.000"
    assert signed(-0.5) == "\N{MINUS SIGN}0.500"
    assert number(float("nan")) == "—"
    assert p_value(1e-6).replace("\xa0", " ") == "p < 0.001"


def test_labels_are_counted_over_seeds() -> None:
    facts = read_facts(study())

    assert facts.sizes == {0.1: (12, 12), 1.0: (120, 120)}


def test_recipes_that_do_not_differ_at_all_are_drawn_without_a_warning() -> None:
    rows = pd.DataFrame([{"recipe": "dqn", "difference": 0.0, "low": 0.0, "high": 0.0}])

    figure = differences.draw(rows, styles(["dqn"], {}), ("title", "axis"), (0.0, 0.0))

    low, high = figure.axes[0].get_xlim()
    assert low < 0 < high
