"""Mask lift and content lift with their controls: how much of the lesions the masks hide.

Lesions are counts of lesion pixels a grid cell, ``(P, gh, gw)``, so that every share is exact.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from maskwise.array_types import Floats
from maskwise.masks import boxes

DRAWS = 1000
"""Bootstrap draws of an interval."""


def lift_matrix(masks: Tensor, lesions: Tensor) -> Tensor:
    """Return ``(P, P)``: [i, j] = share of lesion j that mask i hides / its hidden share.

    ``masks`` bool ``(P, gh, gw)``, each hiding something; ``lesions`` ``(P, gh, gw)`` lesion
    pixels per cell, each image with some. Its diagonal is the images' own mask lift.
    """
    hidden = masks.flatten(1).double()
    shares = lesions.flatten(1).double()
    shares = shares / shares.sum(1, keepdim=True)
    return hidden @ shares.T / hidden.mean(1, keepdim=True)


@dataclass(frozen=True)
class Interval:
    """A mean over images with the 95 % percentile interval over groups."""

    value: float
    low: float
    high: float


def intervals(
    matrix: Floats, groups: NDArray[np.int64], counts: Floats
) -> tuple[Interval, Interval]:
    """Return mask lift and content lift of a ``lift_matrix``; arguments as ``lifts``."""
    values = lifts(matrix, groups, np.ones((1, counts.shape[1])))
    lift, content = (
        Interval(float(value[0]), *_percentiles(drawn))
        for value, drawn in zip(values, lifts(matrix, groups, counts), strict=True)
    )
    return lift, content


def lifts(matrix: Floats, groups: NDArray[np.int64], counts: Floats) -> tuple[Floats, Floats]:
    """Return mask lift and content lift of a ``lift_matrix`` in each draw, ``(draws,)``.

    Content lift = mean of the diagonal - mean over all pairs of images of *different* groups.

    Args:
        matrix: ``(P, P)``.
        groups: ``(P,)``, 0 to G - 1.
        counts: ``(draws, G)``, how often each draw of the bootstrap holds each group.
    """
    member = (groups == np.arange(counts.shape[1])[:, None]).astype(np.float64)  # (G, P)
    strangers = 1.0 - np.eye(len(member))
    own, images = member @ np.diagonal(matrix), member.sum(1)
    pairs = strangers * (member @ matrix @ member.T)
    number = strangers * np.outer(images, images)
    lift = counts @ own / (counts @ images)
    with np.errstate(invalid="ignore"):  # one group only: there are no strangers
        shuffled = ((counts @ pairs) * counts).sum(1) / ((counts @ number) * counts).sum(1)
    return lift, lift - shuffled


def _percentiles(drawn: Floats) -> tuple[float, float]:
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def bootstrap_counts(groups: int, generator: np.random.Generator) -> Floats:
    """Draw ``groups`` groups with replacement, ``DRAWS`` times: ``(DRAWS, groups)``."""
    return generator.multinomial(groups, np.full(groups, 1 / groups), size=DRAWS).astype(
        np.float64
    )


def box_of(masks: Tensor) -> tuple[int, int]:
    """Return height and width in cells of the one box that controls of these masks should have.

    The masks' own box where every mask is one (a cropped one counts with the largest),
    otherwise the square of the same mean area, to the nearest cell.
    """
    heights, widths = masks.any(2).sum(1), masks.any(1).sum(1)
    area = masks.sum((1, 2))
    if bool((heights * widths == area).all()):
        return int(heights.max()), int(widths.max())
    side = max(1, round(float(area.double().mean()) ** 0.5))
    return min(side, masks.shape[1]), min(side, masks.shape[2])


def loudest_boxes(variance: Tensor, grid: tuple[int, int], box: tuple[int, int]) -> Tensor:
    """Return ``(P, gh, gw)``: each image's box at the place of the greatest ``variance``."""
    place, width = variance.flatten(1).argmax(1), variance.shape[2]
    return boxes(place // width, place % width, box, grid)


def middle_box(images: int, grid: tuple[int, int], box: tuple[int, int]) -> Tensor:
    """Return ``(images, gh, gw)``: the box in the middle, the same in every image."""
    top, left = ((cells - side + 1) // 2 for cells, side in zip(grid, box, strict=True))
    return boxes(torch.full((images,), top), torch.full((images,), left), box, grid)


def content_controls(
    matrix: Floats, controls: dict[str, Floats], groups: NDArray[np.int64], counts: Floats
) -> dict[str, float]:
    """Return each control's content lift, and how far the masks' own lies above it.

    The difference is paired, because lifts of the same images are drawn together: both are
    linear in the ``lift_matrix``, so it is the content lift of the matrices' difference.

    Args:
        matrix: ``(P, P)``, of the policy's masks.
        controls: name -> ``(P, P)``.
        groups: ``(P,)``.
        counts: ``(draws, G)``, of the bootstrap.
    """
    figures = {}
    for name, other in controls.items():
        figures[f"content_lift_{name}"] = intervals(other, groups, counts)[1].value
        above = intervals(matrix - other, groups, counts)[1]
        figures[f"content_lift_above_{name}"] = above.value
        figures[f"content_lift_above_{name}_low"] = above.low
        figures[f"content_lift_above_{name}_high"] = above.high
    return figures


def place_lifts(lesions: Tensor, box: tuple[int, int]) -> Tensor:
    """Return the mask lift of the box at each valid place: ``(P, gh - bh + 1, ...)``."""
    shares = lesions.double() / lesions.double().sum((1, 2), keepdim=True)
    # Share of the lesion in the box / share of the image in the box.
    inside: Tensor = avg_pool2d(shares[:, None], box, stride=1)[:, 0]
    return inside * lesions[0].numel()


def local_variance(
    images: Tensor,
    grid: tuple[int, int],
    box: tuple[int, int],
    stride: int = 1,
    shape: tuple[int, int] | None = None,
) -> Tensor:
    """Return the variance of the pixels inside the box at each place, mean of channels.

    ``images`` ``(B, C, H, W)``; the answer is ``(B, ph, pw)``. Places as ``PlaceMap`` has them:
    ``shape`` ``(ph, pw)`` of them, of cropped boxes only the pixels in the image count; by
    default all places where the box lies in the image.
    """
    (b, c, h, w), (gh, gw) = images.shape, grid
    shape = shape or ((gh - box[0]) // stride + 1, (gw - box[1]) // stride + 1)
    cells = images.double().reshape(b, c, gh, h // gh, gw, w // gw)
    sums = torch.stack([cells.mean((3, 5)), cells.square().mean((3, 5))]).flatten(0, 1)
    first, second = place_means(sums, box, stride, shape).unflatten(0, (2, b))
    variance: Tensor = (second - first.square()).clamp_min(0)
    return variance.mean(1)


def place_means(
    cells: Tensor, box: tuple[int, int], stride: int, shape: tuple[int, int]
) -> Tensor:
    """Average ``(B, C, gh, gw)`` over the box at each place: ``(B, C, ph, pw)``.

    Places as ``PlaceMap`` has them, ``shape`` of them; of a cropped box what lies in the grid.
    """
    (gh, gw), (ph, pw) = cells.shape[2:], shape
    below, right = (ph - 1) * stride + box[0] - gh, (pw - 1) * stride + box[1] - gw
    beyond = (0, max(0, right), 0, max(0, below))
    inside = avg_pool2d(pad(cells.new_ones(1, 1, gh, gw), beyond), box, stride)
    means: Tensor = avg_pool2d(pad(cells, beyond), box, stride) / inside
    return means[:, :, :ph, :pw]


def controls(lesions: Tensor, variance: Tensor, box: tuple[int, int]) -> dict[str, float]:
    """Return the lift of boxes that learnt nothing, and of the best one that there is.

    Uniform over valid places (its exact expectation), a box in the middle, the box of the
    greatest ``variance`` ``(P, ph, pw)``, and the oracle: each image's best place.
    """
    lifts = place_lifts(lesions, box)
    # The place of ``middle_box``.
    middle = lifts[:, lifts.shape[1] // 2, lifts.shape[2] // 2]
    loudest = lifts.flatten(1).gather(1, variance.flatten(1).argmax(1, keepdim=True))
    values = {
        "lift_uniform": lifts.mean(),
        "lift_centre": middle.mean(),
        "lift_variance": loudest.mean(),
        "lift_oracle": lifts.amax((1, 2)).mean(),
    }
    return {name: float(value) for name, value in values.items()}
