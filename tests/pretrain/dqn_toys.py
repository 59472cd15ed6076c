"""What the tests of ``dqn`` play with."""

from typing import Any

from torch import Tensor

from maskwise.pretrain.policies.dqn.config import DqnConfig
from maskwise.pretrain.policies.dqn.policy import Dqn
from pretrain.policy_toys import build, taught_weights


def a_policy(images: Tensor, seed: int = 0, **options: Any) -> Dqn:
    """Build ``dqn``: 8 x 8 grid cells, boxes of 3 x 3."""
    policy: Dqn = build(DqnConfig, {"box": [3, 3], "width": 8, **options}, images, seed)
    return policy


def weights_after(steps: int, images: Tensor, **options: Any) -> list[Tensor]:
    """Return the network's weights after ``steps`` steps of 8 images, in order."""
    return taught_weights(steps, a_policy(images, **options), images)
