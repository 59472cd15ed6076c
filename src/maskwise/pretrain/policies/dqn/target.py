"""The target network: a slower copy of the Q-network that values the next state."""

from dataclasses import dataclass
from typing import Annotated

from torch import nn

from maskwise.bounds import Steps, Within


@dataclass(frozen=True)
class Target:
    """The network that values the next state: every ``every`` steps it moves by ``tau``.

    ``every: 1, tau: 1`` is no target network at all; ``every: K, tau: 1`` a hard copy;
    ``every: 1, tau: 0.01`` Polyak averaging. It matters for episodes of several boxes only.
    """

    every: Steps = 1
    tau: Annotated[float, Within(0, 1, above=True)] = 1.0

    def follow(self, network: nn.Module, target: nn.Module) -> None:
        """Move ``target`` towards ``network``, its buffers too."""
        theirs = target.state_dict()
        for name, tensor in network.state_dict().items():
            if self.tau == 1 or not tensor.is_floating_point():
                theirs[name].copy_(tensor)
            else:
                theirs[name].lerp_(tensor, self.tau)
