"""The policy's map against the network's true error."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from maskwise.masks import Grid
from maskwise.pretrain.contracts import Batch, Objective, Outcome, PlaceMap
from maskwise.pretrain.diagnostics.agreement import agree, true_errors

GRID: Grid = (4, 4)
HARDNESS = torch.rand(6, *GRID, generator=torch.Generator().manual_seed(1))


def batch(images: int = 6) -> Batch:
    rows = torch.arange(images)
    return Batch(torch.zeros(images, 1, 8, 8), rows, rows, rows, progress=0.0)


def objective(noise: float = 0.0) -> Objective:
    """Return a network that errs by ``HARDNESS`` in each cell, and tells hidden cells only."""
    generator = torch.Generator().manual_seed(2)

    def answer(batch: Batch, mask: Tensor) -> Any:
        error = HARDNESS[batch.index] + noise * torch.rand(mask.shape, generator=generator)
        outcome = Outcome(error.mean(), torch.where(mask, error, torch.nan))
        return SimpleNamespace(error_map=outcome.error_map)

    return cast(Objective, answer)


def test_the_true_error_of_a_cell_is_its_mean_over_the_masks_that_hid_it() -> None:
    found = true_errors(objective(), batch(), GRID, torch.Generator().manual_seed(0))
    hidden = ~torch.isclose(found, found.new_zeros(()), atol=0) & torch.isclose(
        found, HARDNESS.double()
    )
    assert hidden.double().mean() > 0.9  # a cell escapes 12 masks of a quarter in 3 of 100


def test_a_map_of_the_true_error_agrees_wholly_and_its_negative_not_at_all() -> None:
    generator = torch.Generator()
    right = agree(PlaceMap(HARDNESS, (1, 1)), objective(), batch(), GRID, generator)
    wrong = agree(PlaceMap(-HARDNESS, (1, 1)), objective(), batch(), GRID, generator)
    assert right["error_correlation"] > 0.95
    assert wrong["error_correlation"] < -0.95


def test_a_box_is_judged_by_the_mean_error_of_its_cells() -> None:
    means = torch.stack(
        [HARDNESS[:, i : i + 2, j : j + 2].mean((1, 2)) for i in range(3) for j in range(3)], 1
    ).reshape(6, 3, 3)
    found = agree(PlaceMap(means, (2, 2)), objective(), batch(), GRID, torch.Generator())
    assert found["error_correlation"] > 0.95


def test_the_correlation_is_scipy_s_averaged_over_images() -> None:
    values = torch.rand(6, *GRID)
    error = true_errors(objective(0.1), batch(4), GRID, torch.Generator().manual_seed(5))
    found = agree(
        PlaceMap(values, (1, 1)),
        objective(0.1),
        batch(4),
        GRID,
        torch.Generator().manual_seed(5),
    )
    expected = [
        spearmanr(value.flatten(), one.flatten()).statistic
        for value, one in zip(values, error, strict=False)
    ]
    assert found["error_correlation"] == pytest.approx(float(np.mean(expected)))
