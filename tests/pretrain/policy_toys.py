"""What the tests of learning policies play with: settings, batches and a step of the loop."""

from typing import Any

import torch
from torch import Generator, Tensor

from maskwise.config import parse
from maskwise.masks import cell_means, to_pixels
from maskwise.pretrain.contracts import Batch, Outcome, PolicyConfig, Setting
from pretrain.toys import make_setting

GRID = (8, 8)


def a_setting(images: Tensor, grid: tuple[int, int] = GRID, batch_size: int = 8) -> Setting:
    """Return the setting of training on ``images`` ``(N, C, H, W)``, not augmented."""
    return make_setting(
        channels=images.shape[1],
        height=images.shape[2],
        width=images.shape[3],
        grid=grid,
        steps_per_epoch=len(images) / batch_size,
        batch_size=batch_size,
        modality="other",
        images=lambda index, augmentation_seed: images[index],
        rows=len(images),
    )


def a_batch(images: Tensor, index: Tensor | None = None, progress: float = 0.0) -> Batch:
    rows = torch.arange(len(images)) if index is None else index
    return Batch(images[rows], rows, rows, rows, progress)


def build(config: type[PolicyConfig], block: dict[str, Any], images: Tensor, seed: int) -> Any:
    """Build a policy for ``images`` as the YAML would; ``grid`` in ``block`` is not its own."""
    grid = block.pop("grid", GRID)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return parse(config, block, "policy").build(a_setting(images, grid))


def zeros(batch: Batch, mask: Tensor) -> Outcome:
    """Answer as a frozen network that draws 0 everywhere."""
    cells = cell_means(batch.images.square(), (mask.shape[1], mask.shape[2]))
    hidden = to_pixels(mask, *batch.images.shape[2:])
    loss = (batch.images.square() * hidden).sum() / hidden.sum().clamp(min=1)
    return Outcome(loss, torch.where(mask, cells, torch.nan), -batch.images)


def step(policy: Any, batch: Batch, generator: Generator) -> tuple[Any, dict[str, Tensor]]:
    """Make one step of the loop against the network that draws 0."""
    proposal = policy.propose(batch, policy.setting.grid, generator)
    return proposal, policy.learn(proposal, zeros(batch, proposal.mask))


def taught_weights(steps: int, policy: Any, images: Tensor) -> list[Tensor]:
    """Return the weights of ``policy`` after ``steps`` steps of 8 images, in order."""
    generator = Generator().manual_seed(0)
    for number in range(steps):
        rows = (torch.arange(8) + 8 * number) % len(images)
        step(policy, a_batch(images, rows, number / steps), generator)
    return [weight.detach().clone() for weight in policy.network.parameters()]


def equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return len(first) == len(second) and all(
        a.equal(b) for a, b in zip(first, second, strict=True)
    )
