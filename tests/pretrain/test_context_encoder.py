"""Filling in: what is seen, what is judged, and the authors' networks."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from maskwise.config import parse
from maskwise.encoders import ENCODERS
from maskwise.encoders.context_cnn import RELEASE as RELEASED_ENCODER
from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.errors import UserError
from maskwise.masks import to_pixels
from maskwise.pretrain.contracts import Batch, Outcome, Setting
from maskwise.pretrain.objectives.bottleneck import ChannelFc, build_bottleneck
from maskwise.pretrain.objectives.context_encoder import (
    RELEASE,
    ContextEncoder,
    ContextEncoderConfig,
)
from pretrain.toys import make_setting

GRID = (8, 8)
SMALL = {"widths": [8, 8], "convolutions": [1, 1]}
VARIANTS: list[Mapping[str, Any]] = [
    {},
    {"skips": True},
    {"decoder": "release", "skips": True},
    {"decoder": "release"},
    {"bottleneck": "none"},
    {"bottleneck": "depthwise_full"},
    {"bottleneck": "depthwise_release"},
    {"overlap_px": 2},
]


def setting(height: int = 32, width: int = 32, channels: int = 1) -> Setting:
    return make_setting(
        channels=channels,
        height=height,
        width=width,
        grid=GRID,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
    )


def build(
    block: Mapping[str, Any] | None = None, encoder: Mapping[str, Any] = SMALL, **where: int
) -> ContextEncoder:
    torch.manual_seed(0)
    made = setting(**where)
    network = parse(ContextCnnConfig, encoder, "encoder").build(made.channels)
    return parse(ContextEncoderConfig, block or {}, "objective").build(made, network)


def batch(images: Tensor) -> Batch:
    number = torch.arange(len(images))
    return Batch(images, index=number, group=number, augmentation_seed=number, progress=0.0)


def images(height: int = 32, width: int = 32, channels: int = 1) -> Tensor:
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(1))


def a_mask() -> Tensor:
    mask = torch.zeros(2, *GRID, dtype=torch.bool)
    mask[0, 2:4, 3:6] = True
    mask[1, 0:3, 0:3] = True
    return mask


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def residual_of(outcome: Outcome) -> Tensor:
    assert outcome.residual is not None
    return outcome.residual


@pytest.mark.parametrize("block", VARIANTS, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_a_hidden_pixel_never_changes_what_is_drawn(
    block: Mapping[str, Any], training: bool
) -> None:
    objective, seen, mask = build(block), images(), a_mask()
    objective.train(training)
    other = torch.where(to_pixels(mask, 32, 32), 7.0, seen)
    pixels = to_pixels(mask, 32, 32)
    drawn = [objective.draw(each, pixels) for each in (seen, other)]
    assert torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("block", VARIANTS, ids=str)
def test_every_variant_teaches_every_parameter(block: Mapping[str, Any]) -> None:
    objective = build(block)
    objective(batch(images()), a_mask()).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.parameters())
    encoder = [p.grad for p in objective.encoder.parameters() if p.grad is not None]
    assert all(gradient.abs().sum() > 0 for gradient in encoder if gradient.ndim > 1)


@pytest.mark.parametrize("name", ["context_cnn", "resnet18"])
@pytest.mark.parametrize("stride", [8, 16, 32])
@pytest.mark.parametrize("skips", [True, False])
def test_any_encoder_is_turned_back_into_an_image_of_full_size(
    name: str, stride: int, skips: bool
) -> None:
    made, block = setting(32, 64), {"stride": stride}
    small = {"width": 8} if name == "resnet18" else SMALL
    encoder = parse(ENCODERS[name], {**block, **small}, "encoder").build(1)
    outcome = ContextEncoderConfig(skips=skips).build(made, encoder)(
        batch(images(32, 64)), a_mask()
    )
    assert residual_of(outcome) is not None
    assert residual_of(outcome).shape == (2, 1, 32, 64)


def loss_by_loop(residual: Tensor, mask: Tensor) -> float:
    """Average the squared error over hidden pixels and channels, one pixel at a time."""
    b, c, h, w = residual.shape
    total, number = 0.0, 0
    for i in range(b):
        for y in range(h):
            for x in range(w):
                if mask[i, y * mask.shape[1] // h, x * mask.shape[2] // w]:
                    total += float(residual[i, :, y, x].double().square().sum())
                    number += c
    return total / number


@pytest.mark.parametrize("channels", [1, 3])
def test_the_loss_is_the_mean_over_hidden_pixels_and_channels(channels: int) -> None:
    objective, mask = build(channels=channels), a_mask()
    outcome = objective(batch(images(channels=channels)), mask)
    assert outcome.loss.item() == pytest.approx(
        loss_by_loop(residual_of(outcome), mask), rel=1e-5
    )


def test_the_same_error_in_more_channels_is_no_larger_a_loss() -> None:
    # Departure 12 of the release: it divides by positions, and so counts channels.
    losses = []
    for channels in (1, 3):
        objective = build(channels=channels)
        for parameter in objective.parameters():
            nn.init.zeros_(parameter)
        losses.append(objective(batch(torch.full((2, channels, 32, 32), 2.0)), a_mask()).loss)
    assert losses[0] == losses[1] == 4.0


def test_the_error_map_is_the_mean_error_of_each_hidden_cell_and_nothing_elsewhere() -> None:
    objective, mask = build(), a_mask()
    outcome = objective(batch(images()), mask)
    cell = (
        residual_of(outcome)[0, 0, 8:12, 16:20].square().mean()
    )  # row 2, column 4 of the grid
    torch.testing.assert_close(outcome.error_map[0, 2, 4], cell)
    assert torch.equal(outcome.error_map.isnan(), ~mask)


def test_what_is_drawn_outside_the_hole_is_neither_judged_nor_taught() -> None:
    objective, mask = build(), a_mask()
    outcome = objective(batch(images()), mask)
    outside = residual_of(outcome)[~to_pixels(mask, 32, 32)]
    assert outside.abs().mean() > 0.1
    assert outcome.loss.item() == pytest.approx(
        loss_by_loop(residual_of(outcome), mask), rel=1e-5
    )


def test_with_an_overlap_the_rim_of_the_hole_weighs_as_asked() -> None:
    objective = build({"overlap_px": 2, "overlap_weight": 10.0})
    mask = torch.zeros(2, *GRID, dtype=torch.bool)
    mask[:, 3:5, 3:5] = True  # pixels 12 to 19; with the rim, 10 to 21
    outcome = objective(batch(images()), mask)
    weights = torch.zeros(32, 32)
    weights[10:22, 10:22] = 10.0
    weights[12:20, 12:20] = 1.0
    by_hand = (weights * residual_of(outcome).square()).sum() / (2 * weights.sum())
    torch.testing.assert_close(outcome.loss.detach(), by_hand)


def test_a_batch_without_hidden_cells_has_no_loss_and_is_no_error() -> None:
    outcome = build()(batch(images()), torch.zeros(2, *GRID, dtype=torch.bool))
    assert outcome.loss == 0


def test_constant_images_give_a_finite_loss_and_finite_gradients() -> None:
    objective = build()
    outcome = objective(batch(torch.zeros(2, 1, 32, 32)), a_mask())
    outcome.loss.backward()
    assert outcome.loss.isfinite()
    assert all(p.grad.isfinite().all() for p in objective.parameters() if p.grad is not None)


@pytest.mark.parametrize(("skips", "number"), [(True, 1_488_977), (False, 1_023_265)])
def test_the_predictors_of_the_release_have_the_authors_number_of_parameters(
    skips: bool, number: int
) -> None:
    block = {**RELEASE, "skips": skips}
    objective = build(block, RELEASED_ENCODER, height=128, width=128)
    assert parameters(objective) == number


@pytest.mark.parametrize(
    ("side", "kernel"), [(64, 1), (96, 1), (128, 3), (224, 3), (288, 5), (320, 5)]
)
def test_the_kernel_of_the_release_reaches_as_far_as_the_authors(
    side: int, kernel: int
) -> None:
    # Departure 10: at 96 pixels and below it reaches no neighbour at all.
    size = (side // 32, side // 32)
    layer = build_bottleneck("depthwise_release", 8, size, stages=6, stride=32)
    assert isinstance(layer, nn.Conv2d)
    assert layer.kernel_size == (kernel, kernel)


def test_the_channel_wise_layer_joins_all_positions_of_one_map_and_no_two_maps() -> None:
    layer = ChannelFc(2, (3, 2))
    features = torch.randn(4, 2, 3, 2)
    by_loop = torch.empty(4, 2, 6)
    flat = features.flatten(2)
    for b in range(4):
        for c in range(2):
            for q in range(6):
                by_loop[b, c, q] = flat[b, c] @ layer.weight[c, q] + layer.bias[c, q]
    torch.testing.assert_close(layer(features), by_loop.reshape(4, 2, 3, 2))


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6))
def test_the_full_depthwise_layer_reaches_every_position_from_every_other(
    h: int, w: int
) -> None:
    layer = build_bottleneck("depthwise_full", 1, (h, w), stages=3, stride=8)
    for parameter in layer.parameters():
        nn.init.ones_(parameter)
    corner = torch.zeros(1, 1, h, w)
    corner[..., 0, 0] = 1.0
    assert (layer(corner) == 2.0).all()  # the corner and the bias, everywhere


def test_an_image_that_the_stride_does_not_divide_is_refused_by_name() -> None:
    with pytest.raises(
        UserError, match=r"encoder.stride: 8 does not divide an image of 36 x 32"
    ):
        build(height=36)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"botleneck": "none"}, r"objective.botleneck: .*did you mean 'bottleneck'"),
    ],
)
def test_a_wrong_option_is_named(block: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(block)
