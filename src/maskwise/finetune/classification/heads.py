"""The linear layer on standardised features, as numbers, in training, and folded into one."""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class LinearHead:
    """Standardise, then weigh up: logits = (features - mean) / std @ weight.T + bias."""

    mean: NDArray[np.float64]
    """``(F,)``."""
    std: NDArray[np.float64]
    """``(F,)``, 1 where a feature never varies."""
    weight: NDArray[np.float64]
    """``(K, F)``."""
    bias: NDArray[np.float64]
    """``(K,)``."""

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Turn ``(N, F)`` into ``(N, K)``."""
        return np.asarray((features - self.mean) / self.std @ self.weight.T + self.bias)

    def folded(self) -> nn.Linear:
        """Return one linear layer that takes the features as they are."""
        weight = self.weight / self.std
        linear = nn.Linear(len(self.mean), len(self.bias))
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(self.bias - weight @ self.mean))
        return linear


class TrainableHead(nn.Module):
    """A ``LinearHead`` whose weights learn, and whose standardisation stays."""

    mean: Tensor
    std: Tensor

    def __init__(self, head: LinearHead) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(head.mean, dtype=torch.float32))
        self.register_buffer("std", torch.tensor(head.std, dtype=torch.float32))
        self.linear = LinearHead(
            np.zeros_like(head.mean), np.ones_like(head.std), head.weight, head.bias
        ).folded()

    def forward(self, features: Tensor) -> Tensor:
        return cast(Tensor, self.linear((features - self.mean) / self.std))

    def frozen(self) -> LinearHead:
        """Return what was learnt."""
        tensors = (self.mean, self.std, self.linear.weight, self.linear.bias)
        return LinearHead(*(tensor.detach().cpu().double().numpy() for tensor in tensors))
