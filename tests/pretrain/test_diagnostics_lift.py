"""Lifts and controls, against loops over images, places and simulations (invariant 16)."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from maskwise.masks import boxes
from maskwise.pretrain.diagnostics.lift import (
    bootstrap_counts,
    box_of,
    content_controls,
    controls,
    intervals,
    lift_matrix,
    local_variance,
    loudest_boxes,
    middle_box,
    place_lifts,
)


def some_lesions(number: int, seed: int, grid: int = 6) -> Tensor:
    """Return lesion pixels a cell, of 16 pixels each; every image has some."""
    generator = torch.Generator().manual_seed(seed)
    lesions = torch.randint(17, (number, grid, grid), generator=generator)
    lesions = lesions * (torch.rand(number, grid, grid, generator=generator) < 0.2)
    lesions[:, 1, 1] += 1
    return lesions.double()


def some_boxes(number: int, seed: int, grid: int = 6, box: int = 2) -> Tensor:
    corner = torch.randint(
        grid - box + 1, (2, number), generator=torch.Generator().manual_seed(seed)
    )
    return boxes(corner[0], corner[1], (box, box), (grid, grid))


def slow_lift(mask: Tensor, lesion: Tensor) -> float:
    """Share of the lesion's pixels that is hidden / share of the image that is hidden."""
    inside = sum(float(lesion[r, c]) for r, c in mask.nonzero().tolist())
    return inside / float(lesion.sum()) / (float(mask.sum()) / mask.numel())


@given(st.integers(1, 12), st.integers(0, 2**31))
def test_lift_and_content_lift_equal_a_loop_over_pairs_of_strangers(n: int, seed: int) -> None:
    masks, lesions = some_boxes(n, seed), some_lesions(n, seed)
    rng = np.random.default_rng(seed)
    _, groups = np.unique(rng.integers(0, 4, n), return_inverse=True)
    counts = bootstrap_counts(int(groups.max()) + 1, rng)
    lift, content = intervals(lift_matrix(masks, lesions).numpy(), groups, counts)
    own = [slow_lift(masks[i], lesions[i]) for i in range(n)]
    strangers = [
        slow_lift(masks[i], lesions[j])
        for i in range(n)
        for j in range(n)
        if groups[i] != groups[j]
    ]
    assert lift.value == pytest.approx(sum(own) / n)
    if strangers:
        expected = sum(own) / n - sum(strangers) / len(strangers)
        assert content.value == pytest.approx(expected, abs=1e-9)
    else:
        assert math.isnan(content.value)


def test_the_bootstrap_equals_recomputing_both_lifts_on_repeated_groups() -> None:
    n, groups = 7, np.array([0, 0, 1, 2, 2, 3, 3])
    matrix = lift_matrix(some_boxes(n, 3), some_lesions(n, 3)).numpy()
    counts = bootstrap_counts(4, np.random.default_rng(0))[:50]
    lift, content = intervals(matrix, groups, counts)
    lifts, contents = [], []
    for count in counts:
        rows = [
            i
            for g in range(4)
            for _ in range(int(count[g]))
            for i in np.flatnonzero(groups == g)
        ]
        pairs = [matrix[i, j] for i in rows for j in rows if groups[i] != groups[j]]
        lifts.append(np.mean([matrix[i, i] for i in rows]))
        if pairs:
            contents.append(lifts[-1] - np.mean(pairs))
    assert (lift.low, lift.high) == pytest.approx(tuple(np.quantile(lifts, [0.025, 0.975])))
    assert (content.low, content.high) == pytest.approx(
        tuple(np.quantile(contents, [0.025, 0.975]))
    )


def test_masks_that_belong_to_other_images_have_no_content_lift() -> None:
    lesions = some_lesions(200, 1)
    best = place_lifts(lesions, (2, 2)).flatten(1).argmax(1)
    masks = boxes(best // 5, best % 5, (2, 2), (6, 6))
    groups, rng = np.arange(200), np.random.default_rng(0)
    counts = bootstrap_counts(200, rng)
    _, own = intervals(lift_matrix(masks, lesions).numpy(), groups, counts)
    shuffled = masks[torch.from_numpy(rng.permutation(200))]
    _, others = intervals(lift_matrix(shuffled, lesions).numpy(), groups, counts)
    assert own.low > 1
    assert others.low < 0 < others.high


def test_a_fixed_box_moved_off_the_lesions_by_half_the_image_falls() -> None:
    lesions = torch.zeros(5, 8, 8).double()
    lesions[:, 1:3, 1:3] = 16
    on, off = (
        lift_matrix(boxes(torch.full((5,), y), torch.full((5,), y), (2, 2), (8, 8)), lesions)
        for y in (1, 5)
    )
    assert on.diagonal().tolist() == [16.0] * 5  # all of it, by 1 / 16 of the image
    assert off.diagonal().tolist() == [0.0] * 5


def test_the_uniform_expectation_equals_simulation_and_a_loop_over_places() -> None:
    lesions, masks = some_lesions(40, 2), some_boxes(20_000, 5)
    variance = torch.zeros(40, 5, 5)
    figures = controls(lesions, variance, (2, 2))
    simulated = lift_matrix(masks, lesions).mean()
    places = [boxes(torch.tensor([r]), torch.tensor([c]), (2, 2), (6, 6))[0]
              for r in range(5) for c in range(5)]  # fmt: skip
    table = [[slow_lift(place, lesion) for place in places] for lesion in lesions]
    assert figures["lift_uniform"] == pytest.approx(float(np.mean(table)))
    assert figures["lift_uniform"] == pytest.approx(float(simulated), rel=0.02)
    assert figures["lift_oracle"] == pytest.approx(float(np.max(table, axis=1).mean()))
    assert figures["lift_centre"] == pytest.approx(float(np.mean([row[12] for row in table])))


def test_uniform_boxes_inside_the_image_do_not_lift_by_1() -> None:
    # A lesion in the corner is under 1 of 25 boxes, which hides 1 / 9 of the image.
    corner, middle = torch.zeros(1, 6, 6), torch.zeros(1, 6, 6)
    corner[0, 0, 0], middle[0, 3, 3] = 16, 16
    values = [
        controls(lesion, torch.zeros(1, 5, 5), (2, 2))["lift_uniform"]
        for lesion in (corner, middle)
    ]
    assert values == pytest.approx([9 / 25, 36 / 25])


def test_the_variance_control_hides_the_loudest_box() -> None:
    images = torch.zeros(1, 2, 24, 24)
    images[:, :, 4:12, 8:16] = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    variance = local_variance(images, (6, 6), (2, 2))
    tiles = images[0].double().unfold(1, 8, 4).unfold(2, 8, 4)  # (C, 5, 5, 8, 8)
    slow = [
        [
            float(tiles[:, row, column].flatten(1).var(1, correction=0).mean())
            for column in range(5)
        ]
        for row in range(5)
    ]
    np.testing.assert_allclose(variance[0].numpy(), slow, atol=1e-9)
    lesions = torch.zeros(1, 6, 6)
    lesions[0, 1:3, 2:4] = 16
    assert controls(lesions, variance, (2, 2))["lift_variance"] == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("box", "stride", "shape"),
    [((2, 2), 2, (3, 3)), ((3, 1), 2, (2, 3)), ((4, 2), 2, (3, 3)), ((2, 3), 1, (6, 6))],
)
def test_the_variance_of_every_place_is_that_of_its_pixels_in_the_image(
    box: tuple[int, int], stride: int, shape: tuple[int, int]
) -> None:
    images = torch.randn(2, 2, 24, 24, generator=torch.Generator().manual_seed(0))
    slow = torch.zeros(2, *shape)
    for row in range(shape[0]):
        for column in range(shape[1]):
            top, left = 4 * stride * row, 4 * stride * column
            hidden = images[:, :, top : top + 4 * box[0], left : left + 4 * box[1]]
            slow[:, row, column] = hidden.flatten(2).var(2, correction=0).mean(1)
    variance = local_variance(images, (6, 6), box, stride, shape)
    torch.testing.assert_close(variance.float(), slow)


def test_controls_take_the_box_of_the_policy_or_a_square_of_its_area() -> None:
    assert box_of(boxes(torch.tensor([0, 3]), torch.tensor([1, 2]), (2, 3), (8, 8))) == (2, 3)
    # Cropped boxes count with the largest.
    assert box_of(boxes(torch.tensor([0, 7]), torch.tensor([1, 7]), (2, 2), (8, 8))) == (2, 2)
    two = boxes(torch.tensor([0]), torch.tensor([0]), (3, 3), (8, 8)) | boxes(
        torch.tensor([5]), torch.tensor([5]), (3, 3), (8, 8)
    )
    assert box_of(two) == (4, 4)  # 18 cells


def test_the_controls_boxes_are_those_whose_lift_is_told() -> None:
    lesions = some_lesions(20, 4)
    variance = torch.rand(20, 5, 4, generator=torch.Generator().manual_seed(0))
    figures = controls(lesions, variance, (2, 3))
    for hidden, name in (
        (middle_box(20, (6, 6), (2, 3)), "lift_centre"),
        (loudest_boxes(variance, (6, 6), (2, 3)), "lift_variance"),
    ):
        lifts = lift_matrix(hidden, lesions).diagonal()
        assert float(lifts.mean()) == pytest.approx(figures[name])


def test_the_difference_from_a_control_is_paired_by_image() -> None:
    n, groups = 40, np.arange(40) // 2
    lesions = some_lesions(n, 7)
    best = place_lifts(lesions, (2, 2)).flatten(1).argmax(1)
    own = lift_matrix(boxes(best // 5, best % 5, (2, 2), (6, 6)), lesions).numpy()
    other = lift_matrix(some_boxes(n, 7), lesions).numpy()
    counts = bootstrap_counts(20, np.random.default_rng(0))
    found = content_controls(own, {"variance": other, "twin": own}, groups, counts)

    lifts = [intervals(matrix, groups, counts)[1] for matrix in (own, other)]
    assert found["content_lift_variance"] == pytest.approx(lifts[1].value)
    assert found["content_lift_above_variance"] == pytest.approx(
        lifts[0].value - lifts[1].value
    )
    low, high = (found[f"content_lift_above_variance_{end}"] for end in ("low", "high"))
    assert 0 < low < found["content_lift_above_variance"] < high
    # Against itself nothing is left, of the interval neither: the same draws on both sides.
    ends = [found[f"content_lift_above_twin{end}"] for end in ("", "_low", "_high")]
    assert ends == pytest.approx([0, 0, 0], abs=1e-12)


def test_a_box_that_never_moves_has_no_content_lift() -> None:
    lesions = some_lesions(60, 3)
    matrix = lift_matrix(middle_box(60, (6, 6), (2, 2)), lesions).numpy()
    counts = bootstrap_counts(60, np.random.default_rng(0))
    assert intervals(matrix, np.arange(60), counts)[1].value == pytest.approx(0, abs=1e-12)
