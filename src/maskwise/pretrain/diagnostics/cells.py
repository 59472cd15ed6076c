"""Controls of masks that are scattered cells: as many cells, chosen without having learnt."""

import torch
from torch import Tensor

from maskwise.array_types import Floats
from maskwise.masks import Grid, highest
from maskwise.pretrain.contracts import PlaceMap
from maskwise.pretrain.diagnostics.lift import lift_matrix


def are_cells(masks: Tensor, maps: PlaceMap | None) -> bool:
    """Tell masks of single cells from boxes, one or several: by the policy's map if it has one.

    Without a map they are boxes where every mask is one.
    """
    if maps is not None:
        return maps.box == (1, 1)
    heights, widths = masks.any(2).sum(1), masks.any(1).sum(1)
    return not bool((heights * widths == masks.sum((1, 2))).all())


def number_of(masks: Tensor) -> int:
    """Return how many cells a control of these masks hides: their mean, at least one."""
    return max(1, round(float(masks.sum((1, 2)).double().mean())))


def middle_cells(images: int, grid: Grid, number: int) -> Tensor:
    """Return bool ``(images, gh, gw)``: the cells nearest to the middle of the image."""
    rows, columns = (
        ((torch.arange(side, dtype=torch.float64) + 0.5) / side - 0.5).square() for side in grid
    )
    nearness = -(rows[:, None] + columns[None, :])
    return highest(nearness.expand(images, *grid), number, grid)


def own_lifts(lesions: Tensor, masks: Tensor, matrices: dict[str, Floats]) -> dict[str, float]:
    """Return the mask lift of each control, of uniform cells, and of the best cells there are.

    Args:
        lesions: ``(P, gh, gw)``, lesion pixels per cell.
        masks: ``(P, gh, gw)``, those of the policy.
        matrices: name -> the ``lift_matrix`` of a control.
    """
    most = highest(lesions, number_of(masks), (lesions.shape[1], lesions.shape[2]))
    best = lift_matrix(most, lesions).diagonal()
    return {
        # Every cell is hidden as often as every other: the expectation is exact.
        "lift_uniform": 1.0,
        "lift_oracle": float(best.mean()),
        **{
            f"lift_{name}": float(matrix.diagonal().mean()) for name, matrix in matrices.items()
        },
    }


def overlap(one: Tensor, other: Tensor) -> float:
    """Return how much two draws for the same images share: chance = the ratio, 1 = no chance.

    Mean over images of |M1 and M2| / |M1|, masks ``(P, gh, gw)``.
    """
    both = (one & other).sum((1, 2)).double()
    return float((both / one.sum((1, 2)).clamp(min=1)).mean())
