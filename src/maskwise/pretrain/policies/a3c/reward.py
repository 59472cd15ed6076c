"""What hidden cells were worth: from the errors of the pass that training makes anyway.

Rewards are float32 and detached. Visible cells have none: 0 would say that they are easy.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from maskwise.bounds import Decay, Weight, Within
from maskwise.errors import UserError
from maskwise.masks import Grid, cell_means, to_pixels
from maskwise.pretrain.contracts import Outcome
from maskwise.pretrain.policies.a3c.sampling import Choice

Credit = Literal["cell", "to_go", "image"]
Scale = Literal["relative", "raw", "rank"]
TINY = 1e-12
"""Errors, in squared intensity, below which a mean is no measure of anything."""
Blur = Annotated[float, Within(0, 64)]
"""Deviation in pixels; no detail of an image outlives a tenth of the largest."""


@dataclass(frozen=True)
class RewardConfig:
    """By default every pick earns its own cell's error, relative to its image's mean."""

    credit: Credit = "cell"
    """``cell``: a pick earns its own cell's error; ``to_go``: its own and all later ones';
    ``image``: the mean over all hidden cells."""
    scale: Scale | None = None
    """``relative``: divided by the image's mean over hidden cells; ``raw``: by the batch's;
    ``rank``: ranks among the image's hidden cells, in [0, 1]. null = ``raw`` with credit
    ``image``, which the others would make constant, else ``relative``."""
    blur_px: Blur = 0.0
    """Deviation of the Gaussian that blurs the residual before it is squared, pixels: speckle,
    which nothing can predict, then counts less. 0 = off."""
    balance: Weight = 0.0
    """Taken off for each cell: this times (how often its place was hidden lately - the ratio).
    0 = off."""
    balance_decay: Decay = 0.99
    """Of the running hiding frequency, per step, in [0, 1)."""
    told: Literal["own", "shuffled", "constant"] = "own"
    """Controls, no method: every image is told the reward of another one, or 1."""

    def __post_init__(self) -> None:
        if self.credit == "image" and self.scale in ("relative", "rank"):
            raise ValueError(
                f"scale: {self.scale} makes every image's mean the same, so that with credit: "
                "image nothing could be learnt; use scale: raw, or credit: cell"
            )

    @property
    def scaling(self) -> Scale:
        """The scale, chosen by the credit where none was written."""
        return self.scale or ("raw" if self.credit == "image" else "relative")


def cell_errors(outcome: Outcome, grid: Grid, blur_px: float) -> Tensor:
    """Return each hidden cell's error, ``(B, L)``, NaN where visible."""
    if blur_px == 0:
        return outcome.error_map.float().flatten(1)
    if outcome.residual is None:
        raise UserError(
            "policy.reward.blur_px: needs an objective that draws pixels, such as "
            "context_encoder; use blur_px: 0, or another objective"
        )
    visible = outcome.error_map.isnan()
    residual = outcome.residual.float()
    hidden = to_pixels(~visible, *residual.shape[2:]).to(residual.dtype)
    # What is drawn over visible pixels was never trained, so it may not leak into a cell.
    weight = _blurred(hidden, blur_px).clamp_min(TINY)
    smooth = _blurred(residual * hidden, blur_px) / weight
    cells = cell_means(smooth.square(), grid)
    return cells.masked_fill(visible, torch.nan).flatten(1)


def _blurred(values: Tensor, deviation: float) -> Tensor:
    """Convolve ``(B, C, H, W)`` with a Gaussian cut off at 3 deviations; 0 beyond the image."""
    reach = math.ceil(3 * deviation)
    places = torch.arange(-reach, reach + 1, device=values.device, dtype=values.dtype)
    kernel = torch.exp(-0.5 * (places / deviation).square())
    kernel = kernel / kernel.sum()
    flat = values.flatten(0, 1)[:, None]
    flat = conv2d(flat, kernel[None, None, :, None], padding=(reach, 0))
    flat = conv2d(flat, kernel[None, None, None, :], padding=(0, reach))
    return flat.reshape(values.shape)


def scaled(errors: Tensor, scale: Scale) -> Tensor:
    """Put ``errors`` ``(B, L)``, NaN where visible, on the scale named."""
    if scale == "rank":
        return _ranks(errors)
    means = errors.nanmean(dim=1, keepdim=True)
    if scale == "raw":
        means = means.mean()
    # Errors are negative where the least loss is the best.
    return errors / means.abs().clamp_min(TINY)


def _ranks(errors: Tensor) -> Tensor:
    """Return ranks in [0, 1] among an image's hidden cells; equal errors share their mean."""
    visible = errors.isnan()
    values = errors.masked_fill(visible, torch.inf)
    ordered = values.sort(dim=1).values
    below = torch.searchsorted(ordered, values, right=False)
    up_to = torch.searchsorted(ordered, values, right=True)
    most = (~visible).sum(dim=1, keepdim=True) - 1
    ranks = (below + up_to - 1) / (2 * most.clamp_min(1))
    return ranks.masked_fill(visible, torch.nan)


def credited(cells: Tensor, choice: Choice, credit: Credit) -> Tensor:
    """Return the rewards to learn from: ``(B, K)`` by pick, or ``(B, 1)`` with ``image``."""
    if credit == "image":
        return cells.nanmean(dim=1, keepdim=True)
    return cells.gather(1, choice.picks)
