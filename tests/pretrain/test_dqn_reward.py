"""Rewards and what is taken off them (invariants 4, 12, 17; departures 1, 2, 12)."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from maskwise.errors import UserError
from maskwise.masks import cell_means, to_pixels
from maskwise.pretrain.contracts import Outcome
from maskwise.pretrain.policies.dqn.reward import (
    Baseline,
    Expectation,
    box_means,
    cell_errors,
    full_sums,
    unexplained,
)


def an_outcome(residual: Tensor, mask: Tensor) -> Outcome:
    cells = cell_means(residual.square(), (mask.shape[1], mask.shape[2]))
    return Outcome(torch.zeros(()), torch.where(mask, cells, torch.nan), residual)


def box_mask(images: int = 2, grid: int = 8) -> Tensor:
    mask = torch.zeros(images, grid, grid, dtype=torch.bool)
    mask[:, 1:4, 2:5] = True
    return mask


def mask_mean(residual: Tensor, mask: Tensor, pool_px: int = 1) -> Tensor:
    errors = cell_errors(an_outcome(residual, mask), (mask.shape[1], mask.shape[2]), pool_px)
    return box_means(errors, mask[None], mask.sum((1, 2))[None])[0]


def some_residual(side: int = 32, channels: int = 1, images: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(images, channels, side, side, generator=generator)


def test_mask_mean_is_the_mean_square_over_the_hidden_pixels() -> None:
    residual, mask = some_residual(channels=3), box_mask()
    slow = [float(r[:, 4:16, 8:20].square().mean()) for r in residual]
    assert mask_mean(residual, mask).tolist() == pytest.approx(slow)


def test_mask_mean_ignores_what_is_drawn_outside_the_hole_and_sum_full_does_not() -> None:
    residual, mask = some_residual(), box_mask()
    outside = residual + ~to_pixels(mask, 32, 32) * 5.0
    assert mask_mean(residual, mask).equal(mask_mean(outside, mask))
    ours, theirs = full_sums(an_outcome(residual, mask)), full_sums(an_outcome(outside, mask))
    assert (theirs > ours + 100).all()


def test_mask_mean_depends_neither_on_the_image_size_nor_on_the_number_of_channels() -> None:
    rewards = [
        float(mask_mean(torch.full((1, c, side, side), 0.5), box_mask(1))[0])
        for side in (32, 64, 288)
        for c in (1, 3)
    ]
    assert rewards == pytest.approx([0.25] * 6)


def test_the_release_reward_grows_with_the_area() -> None:
    # Uniform in [-1, 1] against 0: 300 * 300 / 3, as measured on the release (30,015).
    uniform = 2 * torch.rand(1, 1, 300, 300, generator=torch.Generator().manual_seed(0)) - 1
    mask = torch.ones(1, 4, 4, dtype=torch.bool)
    assert float(full_sums(an_outcome(uniform, mask))) == pytest.approx(30_000, rel=0.01)


def test_pooling_averages_speckle_out_of_the_reward_and_leaves_structure() -> None:
    mask = box_mask()
    speckle = mask_mean(some_residual(), mask, pool_px=4) / mask_mean(some_residual(), mask)
    flat = torch.ones(2, 1, 32, 32)
    assert speckle.mean() < 0.15
    assert mask_mean(flat, mask, pool_px=4).equal(mask_mean(flat, mask))


def test_rewards_of_an_episode_add_up_to_the_masked_error_sum() -> None:
    residual = some_residual(images=1)
    first, second = box_mask(1), torch.zeros(1, 8, 8, dtype=torch.bool)
    second[:, 2:5, 3:6] = True
    fresh = torch.stack([first, second & ~first])
    errors = cell_errors(an_outcome(residual, first | second), (8, 8), 1)
    rewards = box_means(errors, fresh, torch.tensor([[9], [9]]))
    union = to_pixels(first | second, 32, 32)
    pixels_of_a_box = 9 * 16
    assert float(rewards.sum() * pixels_of_a_box) == pytest.approx(
        float((residual.square() * union).sum()), rel=1e-5
    )
    # 5 of its 9 cells were new: with the same error everywhere it earns 5 / 9.
    even = box_means(torch.ones(1, 8, 8), fresh, torch.tensor([[9], [9]]))
    assert even[:, 0].tolist() == pytest.approx([1.0, 5 / 9])


def test_the_variance_form_is_the_log_of_the_unexplained_share() -> None:
    images, mask = some_residual(channels=2, images=3), box_mask(3)
    means = torch.tensor([[0.2, 0.5, 1.0]])
    area = mask.sum((1, 2))[None]
    answer = unexplained(means, images, mask[None], area, 0.01)[0]
    for image, error, value in zip(images, means[0], answer, strict=True):
        variance = image[:, 4:16, 8:20].flatten(1).var(1, correction=0).mean()
        assert float(value) == pytest.approx(
            math.log((error + 0.01) / (variance + 0.01)), rel=1e-4
        )


def test_a_constant_image_has_a_finite_reward_in_every_form() -> None:
    images, mask = torch.zeros(2, 1, 32, 32), box_mask()
    area = mask.sum((1, 2))[None]
    assert unexplained(torch.zeros(1, 2), images, mask[None], area, 0.01).tolist() == [
        [0.0, 0.0]
    ]


def test_a_box_that_newly_hides_nothing_earns_nothing() -> None:
    nothing = torch.zeros(1, 2, 8, 8, dtype=torch.bool)
    errors = torch.full((2, 8, 8), torch.nan)
    assert box_means(errors, nothing, torch.full((1, 2), 9)).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("option", ["reward: sum_full", "pool_px: 4"])
def test_a_form_that_needs_pixels_is_refused_where_none_are_drawn(option: str) -> None:
    outcome = Outcome(torch.zeros(()), torch.zeros(2, 8, 8))
    with pytest.raises(UserError, match=f"policy.{option}: needs an objective"):
        full_sums(outcome) if "full" in option else cell_errors(outcome, (8, 8), 4)


BASELINES: list[Baseline] = ["none", "global", "image", "place", "image_place"]


@given(st.sampled_from(BASELINES), st.booleans(), st.integers(0, 2**31))
def test_running_means_equal_those_of_a_plain_loop(
    baseline: Baseline, scaled: bool, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    ours = Expectation(baseline, scaled, 0.8, rows=5, places=4, clip=5.0)
    slow = SlowExpectation(baseline, scaled, 0.8)
    for _ in range(6):
        index = torch.randint(5, (3,), generator=generator)
        places = torch.randint(4, (1, 3), generator=generator)
        rewards = torch.rand(1, 3, generator=generator)
        got = ours.normalise(rewards, index, places, torch.ones(1, 3, dtype=torch.bool))
        expected = slow.normalise(rewards[0].tolist(), index.tolist(), places[0].tolist())
        assert got[0].tolist() == pytest.approx(expected, abs=1e-3)


class SlowExpectation:
    """The same in dictionaries."""

    def __init__(self, baseline: str, scaled: bool, decay: float) -> None:
        self.baseline, self.scaled, self.decay = baseline, scaled, decay
        self.means: dict[tuple[str, int], float] = {}

    def _feed(self, key: tuple[str, int], value: float) -> None:
        old = self.means.get(key, value)
        self.means[key] = self.decay * old + (1 - self.decay) * value

    def _expected(self, image: int, place: int) -> float:
        if self.baseline == "none":
            return 0.0
        overall = self.means["global", 0]
        value = overall
        for kind, key in (("image", image), ("place", place)):
            if kind in self.baseline:
                value += self.means.get((kind, key), overall) - overall
        return value

    def normalise(
        self, rewards: list[float], index: list[int], places: list[int]
    ) -> list[float]:
        self._feed(("global", 0), sum(rewards) / len(rewards))
        rows = list(zip(rewards, index, places, strict=True))
        left = [reward - self._expected(image, place) for reward, image, place in rows]
        if self.scaled:
            self._feed(("square", 0), sum(x * x for x in left) / len(left))
            left = [max(-5.0, min(5.0, x / self.means["square", 0] ** 0.5)) for x in left]
        for kind, position in (("image", 1), ("place", 2)):
            for key in {row[position] for row in rows}:
                values = [row[0] for row in rows if row[position] == key]
                self._feed((kind, int(key)), sum(values) / len(values))
        return left


def test_a_reward_of_a_million_is_clipped_and_the_next_are_still_numbers() -> None:
    expectation = Expectation("global", True, 0.9, 2, 4, 5.0)
    index, places = torch.arange(2), torch.zeros(1, 2, dtype=torch.int64)
    played = torch.ones(1, 2, dtype=torch.bool)
    for values in ([1e-3, 2e-3], [1e6, 1e6], [1e-3, 2e-3]):
        left = expectation.normalise(torch.tensor([values]), index, places, played)
        assert left.isfinite().all()
        assert left.abs().max() <= 5


def test_equal_rewards_leave_nothing_to_learn() -> None:
    expectation = Expectation("global", True, 0.9, 2, 4, 5.0)
    played = torch.ones(1, 2, dtype=torch.bool)
    left = expectation.normalise(
        torch.full((1, 2), 0.3), torch.arange(2), torch.zeros(1, 2, dtype=torch.int64), played
    )
    assert left.tolist() == [[0.0, 0.0]]
