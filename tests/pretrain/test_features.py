"""Masked feature prediction: target, region, teacher, and what cells are told."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.masks import to_pixels
from maskwise.pretrain.cells import fitted
from maskwise.pretrain.objectives.features import Features, FeaturesConfig, normalised
from maskwise.pretrain.recipe import parse_recipe
from pretrain.contrast_toys import GRID, NOTHING, a_batch, a_setting, an_encoder, draw


def build(block: dict[str, Any] | None = None, norm: str = "group") -> Features:
    torch.manual_seed(1)
    config = parse(FeaturesConfig, block or {}, "objective")
    return config.build(a_setting(), an_encoder(norm)).train()


def a_mask() -> Tensor:
    """Hide two of the 16 cells of each image."""
    mask = NOTHING.clone()
    mask[:, 1, 2] = mask[:, 3, 0] = True
    return mask


def errors_by_loop(objective: Features, mask: Tensor) -> Tensor:
    """Return each place's error, ``(B, h, w)``, from the networks' answers."""
    images = a_batch().images.clone()
    target = objective.teacher(images)[objective.config.stage].detach()
    for image, hidden in zip(images, to_pixels(mask, 32, 32), strict=True):
        image[hidden] = image.mean()
    given = objective.predictor(objective.encoder(images)[objective.config.stage]).detach()
    b, h, w = len(target), *target.shape[2:]
    errors = torch.zeros(b, h, w)
    for i in range(b):
        for y in range(h):
            for x in range(w):
                place = target[i, :, y, x].double()
                place = (place - place.mean()) / (place.var(correction=0) + 1e-5).sqrt()
                apart = (given[i, :, y, x].double() - place).abs()
                smooth = torch.where(apart < 1, 0.5 * apart**2, apart - 0.5)
                errors[i, y, x] = smooth.mean()
    return errors


@pytest.mark.parametrize("stage", [-1, 0])
def test_the_loss_is_the_mean_over_hidden_places(stage: int) -> None:
    objective, mask = build({"stage": stage}), a_mask()
    errors = errors_by_loop(objective, mask)
    h, w = errors.shape[1:]
    hidden = to_pixels(mask, h, w)[:, 0] if h >= GRID[0] else mask
    outcome = objective(a_batch(), mask)
    assert float(outcome.loss.detach()) == pytest.approx(float(errors[hidden].mean()), rel=1e-4)


def test_with_all_places_in_the_loss_visible_ones_count_too() -> None:
    objective, mask = build({"loss_region": "all"}), a_mask()
    errors = errors_by_loop(objective, mask)
    outcome = objective(a_batch(), mask)
    assert float(outcome.loss.detach()) == pytest.approx(float(errors.mean()), rel=1e-4)


def test_a_cell_is_told_the_error_of_its_places_and_a_visible_one_nothing() -> None:
    objective, mask = build({"stage": 0}), a_mask()
    errors = errors_by_loop(objective, mask)  # 16 x 16 places of 4 x 4 cells
    outcome = objective(a_batch(), mask)
    assert torch.equal(outcome.error_map.isnan(), ~mask)
    side = errors.shape[1] // GRID[0]
    by_hand = errors[0, side : 2 * side, 2 * side : 3 * side].mean()
    assert float(outcome.error_map[0, 1, 2]) == pytest.approx(float(by_hand), rel=1e-4)


def test_a_target_is_normalised_over_the_channels_of_its_place() -> None:
    target = normalised(5 * draw(2, 6, 3, 3) + 2)
    torch.testing.assert_close(target.mean(1), torch.zeros(2, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        target.var(1, correction=0), torch.ones(2, 3, 3), atol=1e-3, rtol=0
    )


def test_a_constant_answer_has_the_loss_that_is_logged_beside_it() -> None:
    objective, mask = build({"loss_region": "all"}), a_mask()
    target = normalised(objective.teacher(a_batch().images)[-1])
    with torch.no_grad():
        for parameter in objective.predictor.parameters():
            parameter.zero_()
        objective.predictor[2].bias.copy_(target.mean((0, 2, 3)))  # type: ignore[operator]
    outcome = objective(a_batch(), mask)
    torch.testing.assert_close(outcome.loss.detach(), outcome.figures["constant_loss"])


def test_the_student_never_sees_what_is_hidden() -> None:
    objective, seen, mask = build(), [], a_mask()
    objective.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    objective(a_batch(), mask)
    means = a_batch().images.mean((1, 2, 3))
    hidden = to_pixels(mask, 32, 32)
    for image, pixels, mean in zip(seen[0], hidden, means, strict=True):
        torch.testing.assert_close(image[pixels], mean.expand(int(pixels.sum())))


def test_a_frozen_teacher_stays_as_it_was_and_no_gradient_reaches_it() -> None:
    objective = build(norm="batch")
    before = {name: each.clone() for name, each in objective.teacher.state_dict().items()}
    objective(a_batch(), a_mask()).loss.backward()
    objective.stepped(0.5)
    assert all(p.grad is None for p in objective.teacher.parameters())
    assert all(each.equal(before[k]) for k, each in objective.teacher.state_dict().items())
    assert all(p.grad is not None for p in objective.encoder.parameters())


def test_a_slow_teacher_follows_the_student_and_knows_its_batch_statistics() -> None:
    objective = build({"teacher": "slow", "momentum": 0.75}, norm="batch")
    first = {name: each.clone() for name, each in objective.teacher.named_parameters()}
    objective(a_batch(), a_mask())
    with torch.no_grad():
        for parameter in objective.encoder.parameters():
            parameter.add_(1.0)
    objective.stepped(0.5)
    for name, slow in objective.teacher.named_parameters():
        torch.testing.assert_close(slow, first[name] + 0.25)
    buffers = dict(objective.encoder.named_buffers())
    assert all(each.equal(buffers[name]) for name, each in objective.teacher.named_buffers())


def test_the_teacher_only_looks_whatever_the_mode() -> None:
    objective = build(norm="batch")
    assert objective.encoder.training
    assert not objective.teacher.training


@pytest.mark.parametrize(("stage", "cells"), [(-1, (8, 8)), (0, (16, 16)), (9, (16, 16))])
def test_a_cell_is_no_smaller_than_the_places_that_are_predicted(
    stage: int, cells: tuple[int, int]
) -> None:
    recipe = parse_recipe(
        {
            "objective": {"name": "features", "stage": stage},
            "policy": {"name": "random_cells"},
            "encoder": {"name": "context_cnn", "widths": [8, 8, 8], "convolutions": [1, 1, 1]},
        },
        "recipe",
    )
    assert fitted(recipe, (16, 16), (64, 64), 1) == cells


@pytest.mark.parametrize(
    ("stage", "grid", "message"),
    [
        (2, GRID, "stage: 2, but the encoder has the stages 0"),
        (-1, (3, 3), "places, and the grid"),
    ],
)
def test_a_stage_that_is_not_there_or_has_no_places_for_cells_is_refused(
    stage: int, grid: tuple[int, int], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        FeaturesConfig(stage=stage).build(replace(a_setting(), grid=grid), an_encoder())
