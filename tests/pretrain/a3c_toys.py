"""What the tests of ``a3c`` play with: policies and planted images."""

from typing import Any

import torch
from torch import Generator, Tensor

from maskwise.masks import to_pixels
from maskwise.pretrain.contracts import Outcome
from maskwise.pretrain.policies.a3c.config import A3cConfig
from maskwise.pretrain.policies.a3c.policy import A3c
from pretrain.policy_toys import GRID, build, taught_weights

PAIRS: dict[str, dict[str, Any]] = {
    "cell_expected": {},
    "to_go": {"reward": {"credit": "to_go"}, "advantage": "to_go"},
    "image_batch": {"reward": {"credit": "image"}, "advantage": "image_batch"},
    "image_value": {"reward": {"credit": "image"}, "advantage": "image_value"},
    "ahm": {"preset": "ahm"},
    "bernoulli, image_batch": {"preset": "ahm", "advantage": "image_batch"},
    "bernoulli, image_value": {"preset": "ahm", "advantage": "image_value"},
    "exact_k": {"preset": "ahm", "exact_k": True},
}
"""Everything that goes together."""
AT_ACTION: dict[str, Any] = {
    "reward": {"credit": "cell"},
    "advantage": "cell_value",
    "mismatch": "allow",
}
"""The wrong reading: a pick's own value is taken off its reward."""
RICH: dict[str, Any] = {
    "reward": {"credit": "cell", "scale": "rank", "balance": 0.3},
    "advantage": "cell_expected",
    "temperature": {"most_overlap": 0.2},
    "bound": 3.0,
}
"""Most of what a state may hold."""


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """Return numbers about 0 in float64, always the same."""
    generator = Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    """Return draws in [0, 1), always the same."""
    return torch.rand(*shape, generator=Generator().manual_seed(seed))


def a_policy(images: Tensor, seed: int = 0, **options: Any) -> A3c:
    """Build ``a3c``: a quarter of 8 x 8 cells, small."""
    policy: A3c = build(A3cConfig, {"ratio": 0.25, "widths": [8, 8], **options}, images, seed)
    return policy


def weights_after(steps: int, images: Tensor, **options: Any) -> list[Tensor]:
    """Return the network's weights after ``steps`` steps of 8 images, in order."""
    return taught_weights(steps, a_policy(images, **options), images)


def planted(number: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return noise of 16 x 16 pixels with 16 of its 8 x 8 cells brightened, and which."""
    generator = Generator().manual_seed(seed)
    chosen = torch.rand(number, 64, generator=generator).topk(16).indices
    cells = torch.zeros(number, 64, dtype=torch.bool).scatter(1, chosen, True)
    noise = torch.randn(number, 1, 16, 16, generator=generator)
    cells = cells.reshape(number, *GRID)
    return noise + 3 * to_pixels(cells, 16, 16), cells


def paid(mask: Tensor, cells: Tensor) -> Outcome:
    """Answer with an error of 1 in the ``cells`` ``(B, gh, gw)`` that were hidden, else 0."""
    errors = torch.where(mask, cells.float(), torch.nan)
    return Outcome(torch.zeros(()), errors)


def taught(policy: A3c, scale: float = 1.0) -> A3c:
    """Give the policy a taste, as learning would."""
    generator = Generator().manual_seed(1)
    for weight in policy.network.cells.heads.parameters():
        torch.nn.init.normal_(weight, std=scale, generator=generator)
    return policy
