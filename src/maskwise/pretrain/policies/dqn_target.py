"""The target network: a slower copy of the Q-network that values the next state."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Target:
    """The network that values the next state: every ``every`` steps it moves by ``tau``.

    ``every: 1, tau: 1`` is no target network at all; ``every: K, tau: 1`` a hard copy;
    ``every: 1, tau: 0.01`` Polyak averaging. It matters for episodes of several boxes only.
    """

    every: int = 1
    tau: float = 1.0

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 < self.tau <= 1:
            raise ValueError("every must be at least 1 step and tau lie in (0, 1]")

    def follow(self, network: nn.Module, target: nn.Module) -> None:
        """Move ``target`` towards ``network``, its buffers too."""
        theirs = target.state_dict()
        for name, tensor in network.state_dict().items():
            if self.tau == 1 or not tensor.is_floating_point():
                theirs[name].copy_(tensor)
            else:
                theirs[name].lerp_(tensor, self.tau)
