"""The autoencoder: what it sees, what it is judged by, and which encoders it takes."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor, nn

from maskwise.config import parse
from maskwise.encoders import ENCODERS
from maskwise.encoders.contract import Encoder
from maskwise.errors import UserError
from maskwise.masks import cell_means, to_pixels
from maskwise.pretrain.contracts import Batch
from maskwise.pretrain.objectives.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    cell_normalised,
)
from pretrain.toys import make_setting

GRID = (8, 8)
SMALL = {"widths": [8, 8], "convolutions": [1, 1]}
VARIANTS: list[Mapping[str, Any]] = [
    {},
    {"skips": True},
    {"target": "cell_normalised"},
    {"loss_region": "all"},
    {"skips": True, "target": "cell_normalised", "loss_region": "all"},
]


class Patches(Encoder):
    """An encoder without a convolution: patches become tokens that attend to one another."""

    channels, strides, inputs = (16, 16), (8, 8), 1

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(64, 16)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(16, 2, 16, 0.0, batch_first=True) for _ in range(2)
        )

    def parts(self) -> list[list[nn.Module]]:
        return [[], [self]]

    def features(self, images: Tensor) -> list[Tensor]:
        b, _, h, w = images.shape
        patches = nn.functional.unfold(images, 8, stride=8).transpose(1, 2)
        tokens, features = self.embed(patches), []
        for block in self.blocks:
            tokens = block(tokens)
            features.append(tokens.transpose(1, 2).reshape(b, 16, h // 8, w // 8))
        return features


def build(
    block: Mapping[str, Any] | None = None, encoder: Encoder | None = None, **where: Any
) -> Autoencoder:
    torch.manual_seed(0)
    setting = make_setting(**{"grid": GRID, **where})
    network = encoder or parse(ENCODERS["context_cnn"], SMALL, "encoder").build(
        setting.channels
    )
    return parse(AutoencoderConfig, block or {}, "objective").build(setting, network)


def batch(images: Tensor) -> Batch:
    number = torch.arange(len(images))
    return Batch(images, index=number, group=number, augmentation_seed=number, progress=0.0)


def images(channels: int = 1) -> Tensor:
    return torch.randn(2, channels, 32, 32, generator=Generator().manual_seed(1))


def a_mask(seed: int = 0) -> Tensor:
    return torch.rand(2, *GRID, generator=Generator().manual_seed(seed)) < 0.4


@pytest.mark.parametrize("block", VARIANTS, ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_what_is_drawn_does_not_depend_on_a_hidden_pixel(
    block: Mapping[str, Any], training: bool
) -> None:
    objective, seen, hidden = build(block), images(), to_pixels(a_mask(), 32, 32)
    objective.train(training)
    other = torch.where(hidden, 7.0 * torch.rand(seen.shape), seen)
    assert objective.draw(seen, hidden).equal(objective.draw(other, hidden))
    outcomes = [objective(batch(each), a_mask()) for each in (seen, other)]
    assert not outcomes[0].loss.equal(outcomes[1].loss)


@pytest.mark.parametrize("skips", [False, True])
def test_what_is_drawn_in_a_hole_depends_on_the_pixels_round_it(skips: bool) -> None:
    objective, seen, hidden = build({"skips": skips}), images(), to_pixels(a_mask(), 32, 32)
    other = torch.where(hidden, seen, seen + 1)
    drawn = [objective.draw(each, hidden)[hidden] for each in (seen, other)]
    assert not drawn[0].allclose(drawn[1])


def test_with_skips_the_decoder_uses_the_encoder_s_finest_features() -> None:
    for skips in (False, True):
        objective = build({"skips": skips})
        features = [map_.detach().requires_grad_() for map_ in objective.encoder(images())]
        objective.decoder(features, features[-1]).sum().backward()
        assert (features[0].grad is not None) == skips


@pytest.mark.parametrize("block", VARIANTS, ids=str)
def test_every_variant_teaches_every_parameter(block: Mapping[str, Any]) -> None:
    objective = build(block)
    objective(batch(images()), a_mask()).loss.backward()
    for parameter in objective.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert parameter.ndim < 2 or parameter.grad.abs().sum() > 0


def normalised_by_loop(images: Tensor, cell: int) -> Tensor:
    """Standardise the pixels of one cell after the other, with all their channels."""
    made = images.double().clone()
    b, _, h, w = images.shape
    for i in range(b):
        for y in range(0, h, cell):
            for x in range(0, w, cell):
                values = images[i, :, y : y + cell, x : x + cell].double()
                spread = (values.var(correction=0) + 1e-6).sqrt()
                made[i, :, y : y + cell, x : x + cell] = (values - values.mean()) / spread
    return made


@pytest.mark.parametrize("channels", [1, 3])
def test_a_normalised_target_has_each_cell_s_mean_and_deviation_taken_off(
    channels: int,
) -> None:
    made = cell_normalised(3 * images(channels) + 2, GRID)
    by_loop = normalised_by_loop(3 * images(channels) + 2, 4)
    torch.testing.assert_close(made.double(), by_loop, atol=1e-4, rtol=1e-4)
    assert cell_means(made, GRID).abs().max() < 1e-5


@settings(max_examples=20, deadline=None)
@given(st.floats(0.5, 4.0), st.floats(-3.0, 3.0))
def test_brightness_and_contrast_do_not_change_a_normalised_target(
    contrast: float, brightness: float
) -> None:
    seen = images().double()
    changed = contrast * seen + brightness
    torch.testing.assert_close(
        cell_normalised(changed, GRID), cell_normalised(seen, GRID), atol=1e-4, rtol=1e-4
    )


def test_a_cell_without_structure_becomes_zero() -> None:
    flat = torch.full((1, 1, 32, 32), 0.7)
    assert cell_normalised(flat, GRID).abs().max() < 1e-3


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("block", VARIANTS, ids=str)
def test_the_error_of_a_hidden_cell_is_against_the_target_that_is_trained_on(
    block: Mapping[str, Any], channels: int
) -> None:
    objective, seen, mask = build(block, channels=channels), images(channels), a_mask()
    outcome = objective(batch(seen), mask)
    target = normalised_by_loop(seen, 4) if "target" in block else seen.double()
    drawn = objective.draw(seen, to_pixels(mask, 32, 32)).detach().double()
    for i, y, x in mask.nonzero().tolist():
        cell = (i, slice(None), slice(4 * y, 4 * y + 4), slice(4 * x, 4 * x + 4))
        by_hand = (drawn[cell] - target[cell]).square().mean()
        assert float(outcome.error_map[i, y, x]) == pytest.approx(float(by_hand), rel=1e-4)
    assert outcome.error_map.isnan().equal(~mask)


@pytest.mark.parametrize("target", ["plain", "cell_normalised"])
def test_the_loss_is_the_mean_error_of_hidden_cells_or_of_all(target: str) -> None:
    mask, seen = a_mask(), images()
    hidden, everywhere = (
        build({"target": target, "loss_region": region})(batch(seen), mask)
        for region in ("hidden", "all")
    )
    assert float(hidden.loss.detach()) == pytest.approx(
        float(hidden.error_map.nanmean()), rel=1e-5
    )
    # All errors: those of the mask, and what the same network draws where nothing is hidden.
    drawn = build({"target": target}).draw(seen, to_pixels(mask, 32, 32)).detach()
    wanted = normalised_by_loop(seen, 4) if target == "cell_normalised" else seen.double()
    by_hand = (drawn.double() - wanted).square().mean()
    assert float(everywhere.loss.detach()) == pytest.approx(float(by_hand), rel=1e-5)
    assert not hidden.loss.allclose(everywhere.loss)
    assert hidden.error_map.nan_to_num().allclose(everywhere.error_map.nan_to_num())


def test_a_picture_is_shown_where_the_target_is_one() -> None:
    outcome = build()(batch(images()), a_mask())
    assert outcome.residual is not None
    assert outcome.reconstruction is not None
    assert outcome.residual.allclose(outcome.reconstruction - images())


def test_a_normalised_target_shows_no_picture_for_it_would_betray_hidden_pixels() -> None:
    outcome = build({"target": "cell_normalised"})(batch(images()), a_mask())
    assert outcome.residual is None
    assert outcome.reconstruction is None


@pytest.mark.parametrize("block", VARIANTS, ids=str)
def test_an_encoder_without_convolutions_keeps_the_same_promises(
    block: Mapping[str, Any],
) -> None:
    torch.manual_seed(0)
    objective, seen, mask = build(block, Patches()), images(), a_mask()
    outcome = objective(batch(seen), mask)
    outcome.loss.backward()
    assert all(p.grad is not None for p in objective.encoder.parameters())
    hidden = to_pixels(mask, 32, 32)
    other = torch.where(hidden, 7.0, seen)
    assert objective.draw(seen, hidden).equal(objective.draw(other, hidden))


def test_it_learns_to_continue_a_gradient_into_the_holes() -> None:
    torch.manual_seed(0)
    slopes = torch.randn(16, 2, 1, 1, generator=Generator().manual_seed(2))
    axis = torch.linspace(-1, 1, 32)
    seen = (slopes[:, :1] * axis[:, None] + slopes[:, 1:] * axis)[:, :1]
    objective, generator = build(), Generator().manual_seed(3)
    optimiser = torch.optim.Adam(objective.parameters(), 5e-3)
    losses = []
    for _ in range(40):
        mask = torch.rand(16, *GRID, generator=generator) < 0.3
        loss = objective(batch(seen), mask).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * float(seen.square().mean())


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"target": "raw"}, r"objective.target: .*'plain' or 'cell_normalised'"),
        ({"loss_region": "visible"}, r"objective.loss_region: .*'hidden' or 'all'"),
        ({"skip": True}, r"objective.skip: .*did you mean 'skips'"),
    ],
)
def test_a_wrong_option_is_named(block: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(block)


def test_a_normalised_target_for_cells_of_one_pixel_is_refused() -> None:
    with pytest.raises(UserError, match=r"objective.target: .*a cell of 1 pixel; choose plain"):
        build({"target": "cell_normalised"}, grid=(32, 32))
    build({"target": "cell_normalised"}, grid=(32, 32), channels=3)


def test_an_image_that_the_stride_does_not_divide_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"encoder.stride: 8 does not divide an image of 36"):
        build(height=36, grid=(4, 4))
