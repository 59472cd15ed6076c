"""A small network predicts what is hard: which of two cells will have the larger error.

Hard Patches Mining (Wang et al., CVPR 2023), its predictor a network of the policy's own.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from maskwise.masks import Grid
from maskwise.pretrain.contracts import Batch, Outcome, Setting
from maskwise.pretrain.policies.cell_network import CellNetwork

WIDTHS = (16, 32, 32)
"""Channels of the predictor's convolutions: 14,000 weights."""
FLOOR = 1e-6
"""Added to the variance of an image's errors before its root divides them."""


class Predictor:
    """Looks at the whole image, and learns from the errors of what was hidden of it."""

    def __init__(
        self, setting: Setting, number: int, relative: bool, learning_rate: float
    ) -> None:
        self.number, self.relative = number, relative
        self.network = CellNetwork(setting.channels, setting.grid, WIDTHS, ("error",))
        self.optimiser = torch.optim.Adam(self.network.parameters(), learning_rate)

    def difficulty(self, batch: Batch, tests: Tensor, grid: Grid) -> Tensor:
        """Return what it predicts of all cells, ``(B, L)``; it needs no test."""
        with torch.no_grad():
            predicted: Tensor = self.network(batch.images)[0]
        return predicted

    def opinion(self, batch: Batch, tests: Tensor, grid: Grid) -> Tensor:
        """Return what it predicts of all cells, ``(B, L)``."""
        return self.difficulty(batch, tests, grid)

    def learn(self, batch: Batch, outcome: Outcome, before: float | None) -> dict[str, Tensor]:
        """Make one step towards the errors ``outcome.error_map``, which are constants."""
        errors = outcome.error_map.flatten(1).float()
        with torch.enable_grad():
            predicted = self.network(batch.images)[0]
            if self.relative:
                loss = pair_loss(predicted, errors, self.number)
            else:
                loss = standardised_loss(predicted, errors)
            self.optimiser.zero_grad()
            loss.backward()
        self.optimiser.step()
        return {"policy_loss": loss.detach()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])

    def to(self, device: torch.device | str) -> None:
        self.network.to(device)
        # Adam's moments follow the parameters when a state is loaded.
        self.optimiser.load_state_dict(self.optimiser.state_dict())


def pair_loss(predicted: Tensor, errors: Tensor, number: int) -> Tensor:
    """Cross entropy of which of two hidden cells of an image has the larger error.

    The chance that cell i has is sigmoid(predicted_i - predicted_j): ln 2 while all predictions
    are equal. Averaged over all pairs of unequal errors of the batch, each in both orders.
    ``predicted`` and ``errors`` ``(B, L)``, errors NaN but in ``number`` cells per image.
    """
    hidden = (~errors.isnan()).int().topk(number, dim=1).indices
    predicted, errors = predicted.gather(1, hidden), errors.gather(1, hidden)
    margin = predicted[:, :, None] - predicted[:, None, :]  # (B, number, number)
    larger = errors[:, :, None] > errors[:, None, :]
    pairs = larger | larger.transpose(1, 2)
    total = binary_cross_entropy_with_logits(
        margin, larger.float(), weight=pairs.float(), reduction="sum"
    )
    return total / pairs.sum().clamp(min=1)


def standardised_loss(predicted: Tensor, errors: Tensor) -> Tensor:
    """Squared difference to an image's errors with their mean and deviation taken off."""
    hidden = ~errors.isnan()
    number = hidden.sum(1, keepdim=True).clamp(min=1)
    mean = errors.nan_to_num(0.0).sum(1, keepdim=True) / number
    centred = torch.where(hidden, errors - mean, 0.0)
    deviation = (centred.square().sum(1, keepdim=True) / number + FLOOR).sqrt()
    squared = torch.where(hidden, predicted - centred / deviation, 0.0).square()
    return squared.sum() / hidden.sum().clamp(min=1)
