"""Spread, texture and position, against SciPy and by hand."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from maskwise.pretrain.diagnostics.opinion import (
    choice_spread,
    position_share,
    rank_correlation,
)

RNG = np.random.default_rng(0)


def test_one_mask_for_all_images_has_no_entropy_and_every_mask_once_has_all() -> None:
    same = np.zeros((8, 4, 4), bool)
    same[:, 1, 1] = True
    assert choice_spread(same, 16) == (0.0, 1.0)
    each = np.eye(16, dtype=bool).reshape(16, 4, 4)
    assert choice_spread(each, 16) == pytest.approx((1.0, 1 / 16))


def test_entropy_is_that_of_the_shares_of_masks() -> None:
    masks = np.eye(16, dtype=bool).reshape(16, 4, 4)[[0, 0, 0, 5]]
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(4)
    assert choice_spread(masks, 16) == pytest.approx((expected, 0.75))


def test_rank_correlation_is_scipys_averaged_over_images() -> None:
    maps, values = RNG.normal(size=(5, 6, 6)), RNG.integers(0, 5, size=(5, 6, 6)).astype(float)
    slow = [
        spearmanr(m.ravel(), v.ravel()).statistic for m, v in zip(maps, values, strict=True)
    ]
    assert rank_correlation(maps, values) == pytest.approx(np.mean(slow))


def test_images_without_any_contrast_have_no_ranks() -> None:
    maps = RNG.normal(size=(2, 6, 6))
    maps[1] = 3.0
    alone = rank_correlation(maps[:1], maps[:1] ** 3)
    assert alone == pytest.approx(1.0)
    assert rank_correlation(maps, maps**3) == pytest.approx(1.0)
    assert math.isnan(rank_correlation(maps[1:], maps[1:]))


def test_a_map_of_position_alone_has_share_1_even_when_images_differ_in_level() -> None:
    position = RNG.normal(size=(1, 6, 6))
    level = RNG.normal(size=(9, 1, 1)) * 10
    assert position_share(position + level) == pytest.approx(1.0)


def test_a_map_of_content_alone_has_the_share_of_a_mean_of_noise() -> None:
    assert position_share(RNG.normal(size=(400, 6, 6))) < 0.01
    assert math.isnan(position_share(np.ones((4, 6, 6))))


def test_half_position_and_half_content_share_the_variance() -> None:
    position, content = RNG.normal(size=(1, 10, 10)), RNG.normal(size=(300, 10, 10))
    position /= (position - position.mean()).std()
    assert position_share(position + content) == pytest.approx(0.5, abs=0.02)
