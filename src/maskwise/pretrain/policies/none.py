"""Hide nothing: for objectives that need no mask."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from maskwise.masks import Grid
from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.policies.unlearnt import Unlearnt


@dataclass(frozen=True)
class NoneConfig:
    """Has no options."""

    def build(self, setting: Setting) -> "NoPolicy":
        return NoPolicy()


class NoPolicy(Unlearnt):
    """Proposes empty masks."""

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        return torch.zeros(len(images), *grid, dtype=torch.bool, device=images.device)
