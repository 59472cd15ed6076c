"""Controls of masks that are scattered cells, held against loops over images and cells."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from maskwise.masks import Grid, boxes, highest
from maskwise.pretrain.contracts import PlaceMap
from maskwise.pretrain.diagnostics import Probe, measure
from maskwise.pretrain.diagnostics.cells import (
    are_cells,
    middle_cells,
    number_of,
    overlap,
    own_lifts,
)
from maskwise.pretrain.diagnostics.lift import bootstrap_counts, lift_matrix

GRID = (4, 4)


def random_masks(images: int, number: int, seed: int = 0) -> Tensor:
    scores = torch.rand((images, *GRID), generator=torch.Generator().manual_seed(seed))
    return highest(scores, number, GRID)


def test_masks_are_boxes_or_cells_by_their_shape_and_by_the_policy_s_map() -> None:
    box = boxes(torch.tensor([0, 1]), torch.tensor([1, 2]), (2, 2), GRID)
    scattered = random_masks(2, 5)
    assert not are_cells(box, None)
    assert are_cells(scattered, None)
    # Two boxes of a policy that chooses boxes are no cells, whatever they look like.
    assert not are_cells(scattered, PlaceMap(torch.zeros(2, 3, 3), (2, 2)))
    assert are_cells(box, PlaceMap(torch.zeros(2, 4, 4), (1, 1)))


def test_the_highest_cells_are_those_of_a_sort() -> None:
    values = torch.rand(6, *GRID)
    for mask, value in zip(highest(values, 5, GRID), values, strict=True):
        threshold = np.sort(value.flatten().numpy())[-5]
        assert torch.equal(mask, value >= float(threshold))


def test_the_middle_is_the_same_in_every_image_and_symmetric() -> None:
    masks = middle_cells(3, GRID, 4)
    assert masks[0].nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert all(torch.equal(mask, masks[0]) for mask in masks)


def test_a_control_hides_as_many_cells_as_the_policy_on_average() -> None:
    masks = torch.cat([random_masks(2, 3), random_masks(2, 6)])
    assert number_of(masks) == 4  # the mean, 4.5, to the nearest even number


def test_uniform_cells_have_a_lift_of_one_and_no_choice_beats_the_oracle() -> None:
    lesions = torch.randint(0, 3, (5, *GRID)).double()
    lesions[:, 0, 0] += 1
    masks = random_masks(5, 2)
    found = own_lifts(lesions, masks, {"policy": lift_matrix(masks, lesions).numpy()})
    lifts = [
        [
            float(image.flatten()[list(pair)].sum() / image.sum() / (2 / 16))
            for pair in itertools.combinations(range(16), 2)
        ]
        for image in lesions
    ]
    assert found["lift_uniform"] == pytest.approx(float(np.mean(lifts)))
    assert found["lift_oracle"] == pytest.approx(float(np.mean(np.max(lifts, axis=1))))
    assert found["lift_policy"] <= found["lift_oracle"]


def test_two_draws_of_chance_overlap_by_the_ratio_and_equal_masks_wholly() -> None:
    one, other = random_masks(4000, 4, seed=1), random_masks(4000, 4, seed=2)
    assert overlap(one, other) == pytest.approx(0.25, abs=0.01)
    assert overlap(one, one) == 1.0


class FollowsBrightness:
    """A policy with an opinion a cell: the brighter, the rather hidden."""

    def maps(self, images: Tensor, grid: Grid) -> PlaceMap:
        values = images.reshape(len(images), grid[0], 4, grid[1], 4).mean((2, 4))
        return PlaceMap(values, (1, 1))

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        return highest(self.maps(images, grid).values, 4, grid)


class FollowsPlace(FollowsBrightness):
    """The same, but what it thinks of an image is what it thinks of all."""

    def maps(self, images: Tensor, grid: Grid) -> PlaceMap:
        own = super().maps(images, grid)
        return PlaceMap(own.values.mean(0, keepdim=True).expand_as(own.values), own.box)


def probe_with_a_bright_lesion_in_each_image(images: int = 40) -> Probe:
    """Return images of 16 x 16 pixels whose lesion, one bright cell, lies anywhere."""
    generator = torch.Generator().manual_seed(3)
    place = torch.randint(0, 16, (images,), generator=generator)
    lesions = torch.zeros(images, 16, dtype=torch.bool).scatter(1, place[:, None], True)
    cells = lesions.reshape(-1, *GRID)
    pixels = cells.repeat_interleave(4, 1).repeat_interleave(4, 2)
    noise = 0.1 * torch.rand((images, 1, 16, 16), generator=generator)
    return Probe(
        images=pixels[:, None].float() + noise,
        lesions=pixels,
        index=torch.arange(images),
        groups=np.arange(images),
        image_ids=np.arange(images).astype(str),
        mean_image=torch.zeros(1, 16, 16),
        grid=GRID,
        mean=torch.zeros(1, 1, 1),
        std=torch.ones(1, 1, 1),
        counts=bootstrap_counts(images, np.random.default_rng(0)),
    )


def measured(policy: Any) -> dict[str, float]:
    return measure(probe_with_a_bright_lesion_in_each_image(), policy, torch.Generator())


def test_a_policy_of_cells_is_measured_against_cells_that_learnt_nothing() -> None:
    figures = measured(FollowsBrightness())
    assert figures["lift"] == figures["lift_oracle"] == 4.0
    assert figures["lift_uniform"] == 1.0
    assert figures["lift_centre"] == pytest.approx(1.0, abs=0.7)
    assert figures["overlap"] == 1.0
    assert figures["content_lift_centre"] == pytest.approx(0.0, abs=1e-9)
    assert figures["content_lift_above_centre_low"] > 2


def test_the_mean_map_tells_what_position_alone_gives() -> None:
    sees, blind = measured(FollowsBrightness()), measured(FollowsPlace())
    assert sees["lift"] - sees["lift_mean_map"] > 1.5
    assert blind["lift"] == pytest.approx(blind["lift_mean_map"])
    assert blind["position_share"] == pytest.approx(1.0)
    assert sees["position_share"] < 0.2
