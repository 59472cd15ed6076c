"""The trivial answers that a reconstruction must beat."""

import torch
from torch import Tensor
from torch.nn.functional import pad


def masked_error(answer: Tensor, images: Tensor, hidden: Tensor) -> float:
    """Mean squared error over hidden pixels, first averaged per image.

    ``answer`` and ``images`` ``(B, C, H, W)``; ``hidden`` bool ``(B, 1, H, W)``. Images with
    nothing hidden do not count.
    """
    weight = hidden.float()
    squares = (answer - images).square().mean(1, keepdim=True) * weight
    number = weight.sum((1, 2, 3))
    return float((squares.sum((1, 2, 3)) / number)[number > 0].mean())


def smooth_fill(images: Tensor, hidden: Tensor, iterations: int = 200) -> Tensor:
    """Fill the hidden pixels from the border: the harmonic function with the visible values.

    Solves Laplace's equation on the hidden pixels by conjugate gradients, all images at once;
    the image's own edge lets nothing through. ``images`` ``(B, C, H, W)``, ``hidden`` bool
    ``(B, 1, H, W)``. An image without a visible pixel is filled with 0, the mean.
    """
    inside = hidden.to(images.dtype)
    known = images.double() * (1 - inside)
    free = torch.ones_like(known[:, :1])
    degree = _neighbours(free)
    solution = torch.zeros_like(known)
    residual = _neighbours(known) * inside
    direction, energy = residual, _energy(residual)
    for _ in range(iterations):
        pushed = (degree * direction - _neighbours(direction)) * inside
        length = _energy(residual) / (direction * pushed).sum((2, 3), keepdim=True).clamp_min(
            1e-30
        )
        solution = solution + length * direction
        residual = residual - length * pushed
        energy, previous = _energy(residual), energy
        direction = residual + energy / previous.clamp_min(1e-30) * direction
    return (known + solution).to(images.dtype)


def _neighbours(values: Tensor) -> Tensor:
    """Sum the four neighbours that lie in the image."""
    wide = pad(values, (1, 1, 1, 1))
    return (
        wide[..., :-2, 1:-1] + wide[..., 2:, 1:-1] + wide[..., 1:-1, :-2] + wide[..., 1:-1, 2:]
    )


def _energy(values: Tensor) -> Tensor:
    return values.square().sum((2, 3), keepdim=True)
