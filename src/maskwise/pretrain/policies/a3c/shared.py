"""What several workers teach together: shared memory, and no lock (Mnih et al., ICML 2016)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Shared:
    """One network and its optimiser, whose updates race.

    Both travel to a worker in one object: apart, its optimiser would hold copies.
    """

    network: nn.Module
    optimiser: torch.optim.Adam
    frequency: Tensor
    temperature: Tensor
    step: int
    """Steps learnt before the workers began."""

    @staticmethod
    def of(
        network: nn.Module,
        optimiser: torch.optim.Adam,
        frequency: Tensor,
        temperature: Tensor,
        step: int,
    ) -> "Shared":
        """Move everything into shared memory."""
        network.share_memory()
        for parameter in network.parameters():
            state = optimiser.state[parameter]
            if not state:  # made now: a worker's first step would make moments of its own
                state["step"] = torch.zeros(())
                state["exp_avg"] = torch.zeros_like(parameter)
                state["exp_avg_sq"] = torch.zeros_like(parameter)
            for moment in state.values():
                moment.share_memory_()
        for running in (frequency, temperature):
            running.share_memory_()
        return Shared(network, optimiser, frequency, temperature, step)

    def take_gradients(self, local: nn.Module) -> None:
        """Lend a worker's gradients to the shared parameters, in this process alone."""
        for own, other in zip(self.network.parameters(), local.parameters(), strict=True):
            own.grad = other.grad
