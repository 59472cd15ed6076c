"""Does the policy's map rank places as the network errs there?"""

import torch
from torch import Generator, Tensor

from maskwise.masks import Grid, highest
from maskwise.pretrain.contracts import Batch, Objective, PlaceMap
from maskwise.pretrain.diagnostics.lift import place_means
from maskwise.pretrain.diagnostics.opinion import rank_correlation

MASKS, RATIO = 12, 0.25
"""Random masks from which a cell's true error is known, and the share of cells they hide."""


def agree(
    maps: PlaceMap, objective: Objective, batch: Batch, grid: Grid, generator: Generator
) -> dict[str, float]:
    """Return ``error_correlation``: Spearman's rho of map and true error, mean over images.

    ``maps`` may be of more images than ``batch``, whose images come first.
    """
    error = true_errors(objective, batch, grid, generator)
    shape = (maps.values.shape[1], maps.values.shape[2])
    places = place_means(error[:, None], maps.box, maps.stride, shape)[:, 0]
    values = maps.values[: len(error)].double().cpu().numpy()
    return {"error_correlation": rank_correlation(values, places.cpu().numpy())}


def true_errors(objective: Objective, batch: Batch, grid: Grid, generator: Generator) -> Tensor:
    """Return the error of each cell ``(B, gh, gw)`` float64, its mean over random masks.

    It is what a policy should know, and more than a step ever tells it. A cell that no mask hid
    takes the mean of its image, and so has no say in a correlation.
    """
    number = max(1, round(RATIO * grid[0] * grid[1]))
    total = torch.zeros(
        len(batch.images), *grid, dtype=torch.float64, device=batch.images.device
    )
    times = torch.zeros_like(total)
    for _ in range(MASKS):
        scores = torch.rand(total.shape, generator=generator, device=generator.device)
        mask = highest(scores.to(total.device), number, grid)
        error = objective(batch, mask).error_map.double()
        total += torch.where(mask, error, 0.0)
        times += mask
    mean = total.sum((1, 2), keepdim=True) / times.sum((1, 2), keepdim=True)
    return torch.where(times > 0, total / times.clamp(min=1), mean)
