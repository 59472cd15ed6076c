"""Augmentation: every decision follows from one seed per image, and nothing else."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from maskwise.artefacts.store import Laterality
from maskwise.errors import UserError
from maskwise.pretrain.augmentation import (
    AugmentationConfig,
    augment,
    bell,
    step_seeds,
    uniform,
)
from maskwise.pretrain.views import Views, ViewsConfig
from pretrain.toys import make_setting

SEEDS = torch.arange(16) * 1_000_003
IMAGES = torch.rand(16, 1, 12, 20, generator=torch.Generator().manual_seed(0))
PLAIN = dict.fromkeys(("rotation", "brightness", "contrast", "gamma", "blur", "noise"), 0.0)
IDENTITY = ViewsConfig(least_area=1.0, aspect=1.0, elastic=0.0, **PLAIN)


def test_uniform_draws_are_uniform_and_bell_draws_have_mean_0_and_deviation_1() -> None:
    seeds = torch.arange(200)
    assert kstest(uniform(seeds, 50, "augmentation").flatten().numpy(), "uniform").pvalue > 0.01
    draws = bell(seeds, 500, "noise")
    assert abs(float(draws.mean())) < 0.02
    assert abs(float(draws.std()) - 1) < 0.02


def by_loop(image: Tensor, down: int, right: int, upside_down: bool, mirrored: bool) -> Tensor:
    """Flip, then shift with reflection, one pixel at a time."""
    flipped = image.flip([axis for axis, done in ((1, upside_down), (2, mirrored)) if done])
    h, w = image.shape[1:]
    out = torch.empty_like(image)
    for y in range(h):
        for x in range(w):
            sy, sx = abs(y + down), abs(x + right)
            sy = 2 * (h - 1) - sy if sy >= h else sy
            sx = 2 * (w - 1) - sx if sx >= w else sx
            out[:, y, x] = flipped[:, sy, sx]
    return out


def test_what_is_kept_finer_moves_by_as_many_pixels_of_the_network() -> None:
    config = AugmentationConfig(vertical_flip=True, shift_px=2)
    large = torch.rand(16, 1, 24, 40, generator=torch.Generator().manual_seed(1))
    small = torch.nn.functional.avg_pool2d(large, 2)
    moved = torch.nn.functional.avg_pool2d(augment(large, SEEDS, config, "free", 2), 2)
    expected = augment(small, SEEDS, config, "free")
    inside = (slice(None), slice(None), slice(2, -2), slice(2, -2))  # beyond, it is reflected
    assert torch.allclose(moved[inside], expected[inside], atol=1e-6)


def test_flips_and_shifts_are_those_of_a_loop_over_pixels() -> None:
    config = AugmentationConfig(vertical_flip=True, shift_px=3)
    draws = uniform(SEEDS, 4, "augmentation")
    expected = [
        by_loop(image, int(d[0] * 7) - 3, int(d[1] * 7) - 3, bool(d[2] < 0.5), bool(d[3] < 0.5))
        for image, d in zip(IMAGES, draws, strict=True)
    ]
    assert torch.equal(augment(IMAGES, SEEDS, config, "free"), torch.stack(expected))


def test_an_image_s_augmentation_does_not_depend_on_its_batch() -> None:
    config, halves = AugmentationConfig(), (slice(0, 8), slice(8, 16))
    together = augment(IMAGES, SEEDS, config, "free")
    apart = [augment(IMAGES[half], SEEDS[half], config, "free") for half in halves]
    assert torch.equal(together, torch.cat(apart))


def test_nothing_is_mirrored_where_left_and_right_mean_something() -> None:
    config = AugmentationConfig(shift_px=0)
    assert torch.equal(augment(IMAGES, SEEDS, config, "fixed"), IMAGES)
    assert not torch.equal(augment(IMAGES, SEEDS, config, "free"), IMAGES)


def test_switched_off_it_returns_the_images() -> None:
    config = AugmentationConfig(horizontal_flip=False, shift_px=0)
    assert augment(IMAGES, SEEDS, config, "free") is IMAGES


def test_ultrasound_is_never_turned_upside_down() -> None:
    with pytest.raises(UserError, match=r"augmentation.vertical_flip: ultrasound has a depth"):
        AugmentationConfig(vertical_flip=True).check("ultrasound", 64, 64)


def test_a_shift_out_of_the_image_is_refused() -> None:
    with pytest.raises(UserError, match=r"augmentation.shift_px: 64 pixels move an image"):
        AugmentationConfig(shift_px=64).check("mr", 64, 64)


def test_seeds_differ_between_steps_and_positions_and_follow_from_the_run_s_seed() -> None:
    seeds = torch.cat([step_seeds(7, step, 32) for step in range(50)])
    assert len(seeds.unique()) == 50 * 32
    assert torch.equal(step_seeds(7, 3, 32), step_seeds(7, 3, 32))
    assert not torch.isin(step_seeds(8, 3, 32), seeds).any()


def views(
    config: ViewsConfig, modality: str = "other", laterality: Laterality = "fixed"
) -> Views:
    setting = make_setting(
        height=12, width=20, grid=(4, 4), modality=modality, laterality=laterality
    )
    return Views(config, setting)


def test_a_view_without_any_operation_is_the_image() -> None:
    torch.testing.assert_close(views(IDENTITY)(IMAGES, SEEDS), IMAGES, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "option",
    [
        {"least_area": 0.35},
        {"rotation": 15.0},
        {"brightness": 0.2},
        {"contrast": 0.4},
        {"gamma": 0.4},
        {"blur": 20.0},
        {"noise": 0.1},
        {"elastic": 0.04},
    ],
    ids=str,
)
@pytest.mark.parametrize("modality", ["ultrasound", "mr", "other"])
def test_every_operation_changes_images_each_in_its_own_way_and_keeps_the_range(
    option: dict[str, Any], modality: str
) -> None:
    one = IMAGES[:1].expand(16, -1, -1, -1)
    made = views(replace(IDENTITY, **option), modality)(one, SEEDS)
    assert len({view.numpy().tobytes() for view in made}) > 4
    assert 0 <= float(made.min()) <= float(made.max()) <= 1


def test_two_halves_of_a_batch_give_the_views_of_the_whole() -> None:
    make = views(ViewsConfig(elastic=0.04), "ultrasound", "free")
    halves = torch.cat([make(IMAGES[:8], SEEDS[:8]), make(IMAGES[8:], SEEDS[8:])])
    torch.testing.assert_close(make(IMAGES, SEEDS), halves)


def test_views_mirror_half_of_the_images_and_none_where_left_and_right_mean_something() -> None:
    mirrored = torch.isclose(
        views(IDENTITY, laterality="free")(IMAGES, SEEDS), IMAGES.flip(3), atol=1e-5
    ).all((1, 2, 3))
    assert 3 < int(mirrored.sum()) < 13
    torch.testing.assert_close(
        views(IDENTITY, laterality="fixed")(IMAGES, SEEDS), IMAGES, atol=1e-5, rtol=0
    )


def test_a_rotation_turns_by_degrees_of_a_square_pixel_whatever_the_image_s_shape() -> None:
    # A line from the centre to the right at -45 .. 45 degrees keeps its length in pixels.
    image = torch.zeros(16, 1, 12, 20)
    image[:, :, 5:7, 9:11] = 1.0
    turned = views(replace(IDENTITY, rotation=45.0))(image, SEEDS)
    np.testing.assert_allclose(turned.sum((1, 2, 3)).numpy(), 4.0, rtol=0.15)
