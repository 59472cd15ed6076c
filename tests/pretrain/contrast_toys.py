"""Small networks and batches that the tests of contrastive objectives share."""

from typing import Any

import torch
from torch import Tensor

from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.encoders.contract import Encoder
from maskwise.pretrain.contracts import Batch
from pretrain.toys import make_setting

GRID = (4, 4)
SIZE = 4
STRANGERS = torch.arange(SIZE)
NOTHING = torch.zeros(SIZE, *GRID, dtype=torch.bool)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(*shape: int, seed: int = 0) -> Tensor:
    return torch.nn.functional.normalize(draw(*shape, seed=seed).double(), dim=-1)


def an_encoder(norm: str = "group") -> Encoder:
    torch.manual_seed(0)
    return ContextCnnConfig(widths=(8, 16), convolutions=(1, 1), norm=norm).build(1)  # type: ignore[arg-type]


def a_setting(**changes: Any) -> Any:
    return make_setting(grid=GRID, batch_size=SIZE, mean=(0.5,), std=(0.25,), **changes)


def a_batch(step: int = 0, group: Tensor = STRANGERS) -> Batch:
    """Return a batch that is another at every step; the images are the same few."""
    images = draw(SIZE, 1, 32, 32, seed=1)
    seeds = STRANGERS + 100 * step
    return Batch(images, STRANGERS, group=group, augmentation_seed=seeds, progress=0.0)
