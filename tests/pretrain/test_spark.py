"""SparK: its loss against loops, its decoder's shapes, cells that fit, and what it refuses."""

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from maskwise.config import choose
from maskwise.encoders import ENCODERS
from maskwise.encoders.sparse.encoder import FORMS
from maskwise.encoders.sparse.visible import Visible
from maskwise.errors import UserError
from maskwise.pretrain.cells import fitted
from maskwise.pretrain.contracts import Batch, Outcome
from maskwise.pretrain.objectives import OBJECTIVES, spark
from maskwise.pretrain.objectives.light_decoder import Densify
from maskwise.pretrain.objectives.spark import GREY_LEVELS, Spark, patches
from maskwise.pretrain.policies import POLICIES
from maskwise.pretrain.recipe import Recipe, parse_recipe
from maskwise.pretrain.rehearsal import rehearse
from pretrain.toys import SMALL, make_run, make_setting, make_store, pretrain

GRID = (4, 4)


def build(
    block: Mapping[str, Any] | None = None, encoder: Mapping[str, Any] = SMALL, **where: Any
) -> Spark:
    chosen = {"name": "spark", "width": 16, "packed": "never", **(block or {})}
    config = choose(OBJECTIVES, chosen, "objective")
    setting = make_setting(grid=GRID, **where)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = choose(ENCODERS, encoder, "encoder").build(setting.channels)
        built = config.build(setting, network)
    assert isinstance(built, Spark)
    return built


def batch(images: Tensor) -> Batch:
    rows = torch.arange(len(images))
    return Batch(images, rows, rows, rows, 0.0)


def noise(number: int = 3, channels: int = 1) -> Tensor:
    return torch.randn(number, channels, 32, 32, generator=Generator().manual_seed(0))


def half_hidden(number: int = 3) -> Tensor:
    order = torch.rand(number, 16, generator=Generator().manual_seed(1)).argsort(1)
    return (order < 9).reshape(number, *GRID)


def drawn(objective: Spark, images: Tensor, mask: Tensor) -> Tensor:
    visible = Visible(mask)
    answer: Tensor = objective.light_decoder(objective._sparse(images, visible), visible)
    return answer


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("constant", ["soft", "keep"])
def test_the_loss_is_that_of_loops_over_hidden_cells(channels: int, constant: str) -> None:
    setting: dict[str, Any] = {
        "channels": channels,
        "mean": (0.5,) * channels,
        "std": (0.25,) * channels,
    }
    objective = build({"constant": constant}, **setting).eval()
    images, mask = noise(channels=channels), half_hidden()
    outcome = objective(batch(images), mask)
    answer = drawn(objective, images, mask)
    errors = []
    for image in range(3):
        for row in range(4):
            for column in range(4):
                cell = (image, slice(None), slice(8 * row, 8 * row + 8))
                across = slice(8 * column, 8 * column + 8)
                pixels, found = images[*cell, across], answer[*cell, across]
                mean, variance = pixels.mean(), pixels.var()  # unbiased
                floor = GREY_LEVELS / 0.25
                by = (
                    variance.sqrt().clamp(min=floor)
                    if constant == "soft"
                    else (variance + 1e-6).sqrt()
                )
                error = (found - (pixels - mean) / by).square().mean()
                if mask[image, row, column]:
                    errors.append(error)
                    torch.testing.assert_close(outcome.error_map[image, row, column], error)
                else:
                    assert outcome.error_map[image, row, column].isnan()
    torch.testing.assert_close(outcome.loss, torch.stack(errors).mean())


def test_the_pixels_of_a_cell_stand_in_the_authors_order() -> None:
    images = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    cells = patches(images, (2, 2))
    expected = [
        images[1, channel, 2 + row, column] for row in (0, 1) for column in (0, 1)
        for channel in range(3)
    ]  # fmt: skip
    assert cells[1, 1, 0].tolist() == [int(each) for each in expected]


def with_black(constant: str) -> tuple[Outcome, Tensor]:
    """Return what is said of images whose left half is black but for rounding."""
    images, mask = noise(), half_hidden()
    images[:, :, :, :16] = 0.002 * noise()[:, :, :, :16]
    return build({"constant": constant}).eval()(batch(images), mask), mask


def test_the_share_of_hidden_cells_without_structure_is_logged() -> None:
    outcome, mask = with_black("soft")
    share = mask[:, :, :2].sum() / mask.sum()
    torch.testing.assert_close(outcome.figures["constant_hidden"], share)


def test_noise_of_a_black_cell_is_not_blown_up_unless_as_published() -> None:
    soft, mask = with_black("soft")
    kept, _ = with_black("keep")
    black = mask.clone()
    black[:, :, 2:] = False
    assert soft.error_map[black].max() < 0.5
    assert kept.error_map[black].min() > 0.5  # noise of variance 1 that nothing predicts


def test_cells_without_structure_can_be_left_out() -> None:
    outcome, mask = with_black("skip")
    seen = mask.clone()
    seen[:, :, :2] = False
    torch.testing.assert_close(outcome.loss, outcome.error_map[seen].mean())


def test_a_batch_without_structure_costs_nothing_and_is_finite() -> None:
    objective = build({"constant": "skip"})
    outcome = objective(batch(torch.zeros(2, 1, 32, 32)), half_hidden(2))
    outcome.loss.backward()
    assert outcome.loss == 0
    gradients = [each.grad for each in objective.parameters() if each.grad is not None]
    assert all(each.isfinite().all() for each in gradients)


def test_what_hidden_cells_hold_moves_the_error_and_not_what_is_drawn() -> None:
    objective, images, mask = build().eval(), noise(), half_hidden()
    outcome = objective(batch(images), mask)
    holes = mask[:, None].repeat_interleave(8, 2).repeat_interleave(8, 3)
    spoilt = torch.where(holes, images.flip(0), images)
    other = objective(batch(spoilt), mask)
    assert drawn(objective, images, mask).equal(drawn(objective, spoilt, mask))
    assert not outcome.error_map[mask].equal(other.error_map[mask])


@pytest.mark.parametrize("batch_norm", [True, False])
def test_tokens_stand_in_exactly_the_holes(batch_norm: bool) -> None:
    mask = half_hidden()
    densify = Densify(8, batch_norm, 16, 1)
    features = torch.randn(3, 8, 8, 8)
    holes = mask[:, None].repeat_interleave(2, 2).repeat_interleave(2, 3).expand_as(features)
    filled = densify.fill(torch.where(holes, 0.0, features), Visible(mask))
    token = densify.token[:, None, None].expand_as(filled)
    assert filled[holes].equal(token[holes])
    assert not (filled == token)[~holes].any()


@pytest.mark.parametrize(
    ("block", "encoder", "convolutions"),
    [
        ({}, SMALL, 1),
        ({"stop_stride": 1}, SMALL, 3),
        ({"stop_stride": 8}, SMALL, 0),
        ({"depth": 3, "stop_stride": 2, "upsampling": "transposed"}, SMALL, 6),
        ({"preset": "release", "width": 64}, {"name": "resnet18", "width": 8}, 6),
        ({"width": 64}, {"name": "efficientnet_lite0", "stride": 8}, 1),
    ],
)
def test_the_decoder_draws_every_pixel_whatever_its_shape(
    block: dict[str, Any], encoder: dict[str, Any], convolutions: int
) -> None:
    objective = build(block, encoder)
    assert drawn(objective, noise(), half_hidden()).shape == (3, 1, 32, 32)
    found = [
        module
        for blocks in objective.light_decoder.blocks.values()
        for module in blocks.modules()
        if isinstance(module, nn.Conv2d)
    ]
    assert len(found) == convolutions


def test_the_release_has_the_authors_decoder() -> None:
    encoder = choose(ENCODERS, {"name": "resnet50", "stride": 32}, "encoder").build(3)
    config = choose(OBJECTIVES, {"name": "spark", "preset": "release"}, "objective")
    setting = make_setting(
        grid=(2, 2), height=64, width=64, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3
    )
    decoder: Any = config.build(setting, encoder).get_submodule("light_decoder")
    number = sum(each.numel() for each in decoder.blocks.parameters())
    # Of each doubling from c to c / 2 channels: 16 c² + c, 9 c² and its norm, 4.5 c² and its.
    widths = [768, 384, 192, 96, 48]
    assert number == sum(int(29.5 * c * c) + c + 2 * c + c for c in widths)
    assert decoder.head.weight.shape == (3, 24, 1, 1)
    assert [decoder.scales[key].projection.kernel_size for key in ("32", "16")] == [
        (1, 1),
        (3, 3),
    ]


def recipe(**encoder: Any) -> Recipe:
    return parse_recipe(
        {
            "objective": {"name": "spark"},
            "policy": {"name": "random_cells", "ratio": 0.6},
            "encoder": {"name": "resnet18", **encoder},
        },
        "recipe",
    )


@pytest.mark.parametrize(
    ("stride", "grid", "size", "found"),
    [
        (8, (16, 16), (64, 64), (8, 8)),
        (32, (16, 16), (64, 64), (2, 2)),
        (32, (16, 16), (96, 96), (3, 3)),
        (16, (16, 16), (128, 64), (8, 4)),
        (8, (4, 4), (64, 64), (4, 4)),
        (8, (5, 5), (40, 40), (5, 5)),
        (8, (3, 3), (48, 48), (3, 3)),
        (16, (6, 6), (96, 96), (6, 6)),
    ],
)
def test_cells_are_the_smallest_that_hold_whole_places(
    stride: int, grid: tuple[int, int], size: tuple[int, int], found: tuple[int, int]
) -> None:
    assert fitted(recipe(stride=stride), grid, size, 1) == found


def test_other_objectives_keep_the_sources_grid() -> None:
    block = {"objective": {"name": "autoencoder"}, "policy": {"name": "random_cells"}}
    other = parse_recipe({**block, "encoder": SMALL}, "recipe")
    assert fitted(other, (16, 16), (64, 64), 1) == (16, 16)


def test_an_image_that_the_stride_does_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match=r"encoder.stride: 32 does not divide a side of 80"):
        fitted(recipe(stride=32), (5, 5), (80, 80), 1)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"width": 17}, r"objective.width: 17 cannot be halved .* a multiple of 2"),
        ({"width": 20, "stop_stride": 1}, r"objective.width: 20 cannot .* a multiple of 8"),
    ],
)
def test_a_decoder_that_cannot_be_built_is_refused(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(block)


@pytest.mark.parametrize(
    ("policy", "stride", "refused"),
    [
        ({"name": "a3c", "preset": "ahm"}, 32, True),
        ({"name": "a3c", "preset": "ahm"}, 8, False),
        ({"name": "a3c", "preset": "ahm", "exact_k": True}, 32, False),
        ({"name": "random_cells", "ratio": 0.9}, 32, False),
    ],
)
def test_a_policy_that_hides_all_cells_now_and_then_is_refused_before_any_stage(
    policy: dict[str, Any], stride: int, refused: bool
) -> None:
    block = {
        "objective": {"name": "spark"},
        "policy": policy,
        "encoder": {"name": "resnet18", "width": 8, "stride": stride},
    }
    setting = make_setting(height=64, width=64, grid=(16, 16), steps=300, batch_size=8)
    message = r"spark\.policy\.sampler: bernoulli .* all cells of an image .* exact_k: true"
    with pytest.raises(UserError, match=message) if refused else nullcontext():
        rehearse(parse_recipe(block, "spark"), "spark", setting)


def test_its_decoder_is_none_that_outlines_could_begin_with(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    block = {
        "objective": {"name": "spark", "width": 16},
        "policy": {"name": "random_cells"},
        "encoder": SMALL,
        "keep_decoder": True,
    }
    with pytest.raises(UserError, match="keep_decoder: true, but the objective has no decoder"):
        pretrain(store, splits, make_run(tmp_path / "run", block, steps=1))


def test_an_encoder_whose_stride_is_no_power_of_two_is_refused() -> None:
    config = choose(OBJECTIVES, {"name": "spark"}, "objective")
    encoder = choose(ENCODERS, SMALL, "encoder").build(1)
    encoder.strides = (4, 12)
    with pytest.raises(UserError, match="its stride 12 is no power of two"):
        config.build(make_setting(height=48, width=48, grid=GRID), encoder)


def test_both_forms_are_timed_on_a_copy() -> None:
    encoder = build().encoder
    before = {name: each.clone() for name, each in encoder.state_dict().items()}
    times = spark.timed(encoder, noise(), Visible(half_hidden()))
    assert set(times) == set(FORMS)
    assert all(0 < seconds < 60 for seconds in times.values())
    assert all(each.equal(before[name]) for name, each in encoder.state_dict().items())
    assert all(each.grad is None for each in encoder.parameters())


def test_the_form_is_chosen_by_time_once_and_kept(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = build({"packed": "auto"})
    objective.eval()(batch(noise()), half_hidden())
    assert int(objective.form) == -1  # looking chooses nothing
    monkeypatch.setattr(spark, "timed", lambda *_: {"masked": 0.2, "packed": 0.1})
    with caplog.at_level(logging.INFO):
        objective.train()(batch(noise()), half_hidden())
    assert "packed form (a step: masked 200 ms, packed 100 ms)" in caplog.text
    assert FORMS[int(objective.form)] == "packed"
    monkeypatch.setattr(spark, "timed", lambda *_: {"masked": 0.1, "packed": 0.2})
    objective(batch(noise()), half_hidden())
    assert FORMS[int(objective.form)] == "packed"
    again = build({"packed": "auto"})
    again.load_state_dict(objective.state_dict())
    assert again.form.equal(objective.form)


def test_both_forms_give_the_same_loss_and_gradients() -> None:
    gradients = []
    for packed in ("always", "never"):
        objective = build({"packed": packed}).double()
        outcome = objective(batch(noise().double()), half_hidden())
        outcome.loss.backward()
        gradients.append([each.grad for each in objective.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_coarser_grid_is_said_and_the_true_share_is_in_the_history(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, splits = make_store(tmp_path / "store")
    block = {
        "objective": {"name": "spark", "width": 16},
        "policy": {"name": "random_cells", "ratio": 0.6},
        "encoder": SMALL,
    }
    run = make_run(tmp_path / "checkpoints", block, steps=3, grid=(8, 8))
    with caplog.at_level(logging.INFO):
        result = pretrain(store, splits, run)
    assert "a grid of 4 x 4 in place of 8 x 8" in caplog.text
    assert caplog.text.count("62.5 % of 4 x 4 cells are hidden") == 1
    assert result.history["hidden_share"].tolist() == [10 / 16] * len(result.history)
    assert result.policy.metadata.grid == (4, 4)
    plain = choose(ENCODERS, SMALL, "encoder").build(1)
    plain.load_state_dict(result.encoder.state_dict(), strict=True)


@pytest.mark.parametrize(
    "policy", [name for name in POLICIES if name not in ("none", "mean_map", "attention")]
)
def test_every_policy_is_rehearsed_with_it(policy: str) -> None:
    needed = {"oracle": {"goal": "hide"}}.get(policy, {})
    block = {
        "objective": {"name": "spark"},
        "policy": {"name": policy, **needed},
        "encoder": {"name": "context_cnn"},
    }
    # As before any image is there.
    setting = make_setting(
        height=64, width=64, grid=(16, 16), lesions=lambda index, seeds: index
    )
    rehearse(parse_recipe(block, "spark"), "spark", setting)


def test_it_learns_to_draw_what_neighbours_tell() -> None:
    objective = build(encoder={**SMALL, "widths": [16, 16]})
    optimiser = torch.optim.AdamW(objective.parameters(), 0.01)
    generator = Generator().manual_seed(0)
    ramp = torch.linspace(0, 20, 32)
    losses = []
    for _ in range(60):
        phase = torch.rand(8, 1, 1, generator=generator) * 6.28
        images = torch.sin(ramp[None, None, :] + phase).expand(8, 32, 32)[:, None].contiguous()
        order = torch.rand(8, 16, generator=generator).argsort(1)
        outcome = objective(batch(images), (order < 8).reshape(8, *GRID))
        optimiser.zero_grad()
        outcome.loss.backward()
        optimiser.step()
        losses.append(float(outcome.loss.detach()))
    assert sum(losses[-5:]) / 5 < 0.5 * sum(losses[:5]) / 5


def finer(fine: int = 2, **block: Any) -> Spark:
    chosen = {"scales": [1, 2], "loss_weights": [1, 0.5], **block}
    return build(chosen, fine=fine)


def kept_finer() -> Batch:
    large = torch.randn(3, 1, 64, 64, generator=Generator().manual_seed(2))
    rows = torch.arange(3)
    return Batch(nn.functional.avg_pool2d(large, 2), rows, rows, rows, 0.0, large)


@pytest.mark.parametrize("region", ["all", "masked"])
def test_a_finer_head_is_scored_on_what_the_scan_shows_at_twice_the_size(region: str) -> None:
    objective, shown, mask = finer(hi_loss_region=region), kept_finer(), half_hidden()
    outcome = objective(shown, mask)
    visible = Visible(mask)
    features = objective._sparse(shown.images, visible, "masked")
    fine = objective.light_decoder.drawn(features, visible, [2])[2].detach()
    assert fine.shape == (3, 1, 64, 64)
    assert shown.fine is not None
    errors = []
    for image, row, column in torch.ones(3, 8, 8).nonzero().tolist():
        if region == "all" or mask[image, row // 2, column // 2]:
            box = (slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8))
            pixels, answer = shown.fine[image, 0][box], fine[image, 0][box]
            wanted = (pixels - pixels.mean()) / pixels.std().clamp(min=objective._floor)
            errors.append(float((answer - wanted).square().mean()))
    parts = outcome.figures
    assert float(parts["loss_2"]) == pytest.approx(sum(errors) / len(errors), rel=1e-4)
    weighed = float(parts["loss_1"]) + 0.5 * float(parts["loss_2"])
    assert outcome.loss.item() == pytest.approx(weighed, rel=1e-5)


def test_every_parameter_of_a_finer_head_learns() -> None:
    objective = finer(3 + 1, scales=[1, 2, 4], loss_weights=[1, 1, 1])
    large = torch.randn(3, 1, 128, 128, generator=Generator().manual_seed(2))
    rows = torch.arange(3)
    images = nn.functional.avg_pool2d(large, 4)
    objective(Batch(images, rows, rows, rows, 0.0, large), half_hidden()).loss.backward()
    assert all(weight.grad is not None for weight in objective.parameters())


def test_a_native_target_of_images_that_are_kept_no_finer_is_refused() -> None:
    with pytest.raises(UserError, match="write fine: 2"):
        finer(1)


def test_a_width_that_a_finer_head_cannot_halve_is_refused() -> None:
    with pytest.raises(UserError, match="and to 4 times the size; take a multiple of 8"):
        finer(4, scales=[1, 4], width=4)
