"""Masks from coloured noise: their number, their texture, and their want of any opinion."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, label
from scipy.stats import chi2
from torch import Generator, Tensor

from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.masks import Grid
from maskwise.pretrain.contracts import Batch, Outcome
from maskwise.pretrain.policies.cells import hidden_cells
from maskwise.pretrain.policies.noise import Noise, NoiseConfig, blurred, coloured, windows
from pretrain.toys import make_setting

COLOURS = ["red", "blue", "green", "purple", "white"]
GRID: Grid = (8, 8)


def build(grid: Grid = GRID, seed: int = 0, **block: Any) -> Noise:
    setting = make_setting(height=2 * grid[0], width=2 * grid[1], grid=grid)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return parse(NoiseConfig, block, "policy").build(setting)


def masks(policy: Noise, number: int = 6, grid: Grid = GRID, seed: int = 0) -> Tensor:
    images = torch.zeros(number, 1, 2 * grid[0], 2 * grid[1])
    return policy.choose_masks(images, grid, Generator().manual_seed(seed))


def spectrum(colour: str) -> np.ndarray:
    """Return the mean power of a colour's maps in 8 rings from 0 to .5 cycles a cell."""
    power = np.abs(np.fft.fft2(build(colour=colour).stack.numpy())) ** 2
    frequency = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)).ravel()
    ring = np.minimum(frequency * 16, 8).astype(int)
    mean = power.mean(0).ravel()
    inside = (ring < 8) & (frequency > 0)
    return np.bincount(ring[inside], mean[inside]) / np.bincount(ring[inside])


def test_red_falls_blue_rises_green_peaks_inside_and_purple_has_its_least_there() -> None:
    power = {colour: spectrum(colour) for colour in COLOURS}
    assert (np.diff(power["red"]) < 0).all()
    assert (np.diff(power["blue"]) > 0).all()
    for colour, sign in (("green", 1), ("purple", -1)):
        peak = int((sign * power[colour]).argmax())
        # By hand: exp(-a f^2) - exp(-b f^2), a = 2 (.5 pi)^2, b = 2 (2 pi)^2, peaks at .194.
        assert peak == int(0.194 * 16)
        assert (sign * np.diff(power[colour])[:peak] > 0).all()
        assert (sign * np.diff(power[colour])[peak:] < 0).all()
    assert power["white"].max() < 1.02 * power["white"].min()


def test_a_blur_is_that_of_scipy_on_a_torus() -> None:
    maps = torch.randn(2, 24, 24, generator=Generator().manual_seed(0))
    by_scipy = gaussian_filter(maps.double().numpy(), (0, 2, 2), mode="wrap", truncate=6)
    np.testing.assert_allclose(blurred(maps, 2.0).numpy(), by_scipy, atol=1e-5)


@pytest.mark.parametrize(
    ("colour", "by_hand"),
    [
        ("red", lambda w: blurred(w, 1.5)),
        ("blue", lambda w: w - blurred(w, 1.5)),
        ("green", lambda w: blurred(w, 1.0) - blurred(w, 3.0)),
        ("purple", lambda w: w - blurred(w, 1.0) + blurred(w, 3.0)),
        ("white", lambda w: w),
    ],
)
def test_a_colour_is_its_filter_standardised(colour: Any, by_hand: Any) -> None:
    white = torch.randn(2, 24, 24, generator=Generator().manual_seed(0))
    made = coloured(white, NoiseConfig(colour, sd=1.5, band=(1.0, 3.0)))
    wanted = by_hand(white)
    wanted = (wanted - wanted.mean((1, 2), keepdim=True)) / wanted.std((1, 2), keepdim=True)
    torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(COLOURS),
    st.tuples(st.integers(1, 9), st.integers(2, 9)),
    st.floats(0.01, 0.99),
)
def test_every_image_has_the_same_number_of_hidden_cells(
    colour: Any, grid: Grid, ratio: float
) -> None:
    white = torch.randn(3, 16, 16, generator=Generator().manual_seed(0))
    number = hidden_cells(ratio, grid)
    policy = Noise(coloured(white, NoiseConfig(colour)), number)
    assert (masks(policy, grid=grid).sum((1, 2)) == number).all()


def uniform_share(made: Tensor) -> float:
    """Return how likely masks from equal places differ so much in what they hide how often."""
    flat = made.flatten(1).double()
    number, rate = len(flat), float(flat.mean())
    # Neighbours go together, so there are fewer degrees of freedom than cells: the covariance
    # says how many (Satterthwaite).
    values = np.linalg.eigvalsh(np.cov(flat.numpy().T))
    scale, freedom = (values**2).sum() / values.sum(), values.sum() ** 2 / (values**2).sum()
    squares = float((flat.mean(0) - rate).square().sum())
    return float(chi2.sf(number * squares / scale, freedom))


@pytest.mark.parametrize("colour", COLOURS)
def test_no_place_of_the_image_is_hidden_more_often_than_another(colour: str) -> None:
    assert uniform_share(masks(build(colour=colour), 10_000)) > 0.001


@pytest.mark.parametrize("colour", COLOURS)
def test_away_from_a_half_places_differ_by_little(colour: str) -> None:
    # A window's lowest values are a little rather at its corners, for its mean follows its
    # middle: 7 % where red noise is cut at a quarter of 8 x 8 cells, less for all others.
    rates = masks(build(colour=colour, ratio=0.25), 10_000).double().mean(0)
    assert (rates / 0.25 - 1).abs().max() < (0.12 if colour == "red" else 0.08)


def components(mask: np.ndarray) -> int:
    """Return how many pieces the hidden cells form that share sides."""
    return int(label(mask)[1])


@pytest.mark.parametrize("ratio", [0.25, 0.5])
def test_red_hides_few_pieces_green_more_and_blue_the_most(ratio: float) -> None:
    number = {
        colour: np.mean(
            [
                components(mask)
                for mask in masks(
                    build((16, 16), colour=colour, ratio=ratio), 200, (16, 16)
                ).numpy()
            ]
        )
        for colour in ("red", "green", "blue")
    }
    assert number["red"] < number["green"] < number["blue"]


def test_white_noise_hides_cells_independently_of_their_neighbours() -> None:
    made = masks(build(colour="white", ratio=0.4), 20_000, GRID).flatten(1).double()
    joint = (made.T @ made)[tuple(torch.triu_indices(64, 64, 1))] / 20_000
    # As random_cells: 26 of 64 cells, 26/64 * 25/63 for each pair; 2,016 pairs, 4.5 deviations.
    expected = 26 / 64 * 25 / 63
    assert (joint - expected).abs().max() < 4.5 * (expected * (1 - expected) / 20_000) ** 0.5


def test_equal_seeds_have_equal_noise_and_others_have_others() -> None:
    assert build(seed=1).stack.equal(build(seed=1).stack)
    assert not build(seed=1).stack.equal(build(seed=2).stack)


def test_making_noise_takes_one_number_of_the_global_generator() -> None:
    torch.manual_seed(0)
    torch.randint(2**62, ())
    after_one = torch.rand(())
    torch.manual_seed(0)
    NoiseConfig().build(make_setting(grid=GRID))
    assert torch.rand(()).equal(after_one)


@pytest.mark.parametrize("colour", COLOURS)
def test_masks_know_nothing_of_the_images(colour: str) -> None:
    policy = build(colour=colour)
    dark, bright = (
        policy.choose_masks(images, GRID, Generator().manual_seed(0))
        for images in (torch.zeros(5, 1, 16, 16), torch.randn(5, 1, 16, 16))
    )
    assert dark.equal(bright)
    assert policy.maps(torch.zeros(5, 1, 16, 16), GRID) is None


def test_every_image_has_a_window_of_its_own() -> None:
    made = masks(build(), 200)
    assert len(made.flatten(1).unique(dim=0)) == 200


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(1, 6), st.integers(1, 6)), st.integers(0, 999))
def test_windows_go_round_the_torus_and_are_flipped_one_by_one(grid: Grid, seed: int) -> None:
    stack = torch.arange(3 * 36.0).reshape(3, 6, 6)
    draws = torch.rand(5, 4, generator=Generator().manual_seed(seed))
    made = windows(stack, draws, grid)
    for image, (which, top, left, upside, mirror) in enumerate(draws.T.tolist()):
        turned = np.roll(stack[int(which * 3)].numpy(), (-int(top * 6), -int(left * 6)), (0, 1))
        window = turned[: grid[0], : grid[1]]
        window = window[::-1] if upside >= 0.5 else window
        window = window[:, ::-1] if mirror >= 0.5 else window
        assert np.array_equal(made[image].numpy(), window)


def test_a_grid_larger_than_the_noise_gets_larger_noise() -> None:
    policy = build((2, 80))
    assert policy.stack.shape == (256, 80, 80)
    assert masks(policy, 2, (2, 80)).shape == (2, 2, 80)


def test_it_proposes_what_it_would_show_and_learns_nothing() -> None:
    policy, images, rows = build(), torch.zeros(5, 1, 16, 16), torch.arange(5)
    batch = Batch(images, index=rows, group=rows, augmentation_seed=rows, progress=0.0)
    proposal = policy.propose(batch, GRID, Generator().manual_seed(3))
    assert proposal.mask.equal(policy.choose_masks(images, GRID, Generator().manual_seed(3)))
    outcome = Outcome(loss=torch.ones(()), error_map=torch.ones(5, *GRID))
    before = policy.stack.clone()
    assert policy.learn(proposal, outcome) == {}
    assert policy.stack.equal(before)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"band": [2.0, 0.5]}, r"band is \[2.0, 0.5\], but should be two rising numbers"),
        ({"colour": "pink"}, "policy.colour: .*'red', 'blue', 'green', 'purple' or 'white'"),
    ],
)
def test_a_wrong_option_is_named(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(**block)
