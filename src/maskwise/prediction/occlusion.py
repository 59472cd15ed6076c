"""Which places of a scan an answer rests on: hide one after the other, and ask again.

Zeiler and Fergus, "Visualizing and understanding convolutional networks" (ECCV 2014). It asks
nothing of the model but answers. What hides a place is the mean by which images are normalised:
that of the training images, or what the encoder's first weights expect.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskwise.encoders.classifier import Classifier

IMAGES_AT_ONCE = 64
LEAST = 0.01
"""Change of a probability below which nothing is drawn: the page shows no smaller one."""


@dataclass(frozen=True)
class Place:
    """What hiding a rectangle of the network's image did."""

    x: int
    y: int
    width: int
    height: int
    change: float
    """Of the probability; negative where it fell."""


def occlude(network: Classifier, image: Tensor, cells: int) -> NDArray[np.float64]:
    """Return by how much hiding each cell changes the likeliest answer's probability.

    Args:
        network: in eval mode.
        image: normalised, ``(C, H, W)``, on the network's device.
        cells: a side is divided into.

    Returns:
        ``(cells, cells)``, or fewer where the image has fewer pixels; negative where the
        probability falls.
    """
    ys, xs = (edges(side, cells) for side in image.shape[1:])
    rows, columns = len(ys) - 1, len(xs) - 1
    with torch.inference_mode():
        chances = network.probabilities(image[None])[0]
        answer = int(chances.argmax())
        cell = _cells(ys)[:, None] * columns + _cells(xs)  # (H, W)
        hidden = []
        for start in range(0, rows * columns, IMAGES_AT_ONCE):
            numbers = torch.arange(start, min(start + IMAGES_AT_ONCE, rows * columns))
            hides = (cell == numbers[:, None, None]).to(image.device)  # (B, H, W)
            shown = image.masked_fill(hides[:, None], 0.0)  # the mean, as normalised
            hidden.append(network.probabilities(shown)[:, answer])
        changes = torch.cat(hidden) - chances[answer]
    return changes.double().cpu().numpy().reshape(rows, columns)


def edges(side: int, cells: int) -> list[int]:
    """Return where cells of nearly one size begin and end, in pixels."""
    count = min(side, cells)
    return [round(side * k / count) for k in range(count + 1)]


def _cells(borders: list[int]) -> Tensor:
    """Return the cell of each pixel along a side."""
    lengths = torch.tensor(borders).diff()
    return torch.arange(len(lengths)).repeat_interleave(lengths)


def places(changes: NDArray[np.float64], height: int, width: int) -> tuple[Place, ...]:
    """Return the rectangles worth drawing of a network's image of that size."""
    ys, xs = edges(height, len(changes)), edges(width, changes.shape[1])
    return tuple(
        Place(xs[x], ys[y], xs[x + 1] - xs[x], ys[y + 1] - ys[y], float(changes[y, x]))
        for y, x in zip(*np.nonzero(np.abs(changes) >= LEAST), strict=True)
    )
