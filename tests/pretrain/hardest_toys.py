"""What the tests of ``hardest`` play with: networks whose errors are known, and a step."""

from typing import Any

import torch
from torch import Generator, Tensor, nn

from maskwise.config import parse
from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.masks import Grid, cell_means
from maskwise.pretrain.contracts import Batch, Outcome
from maskwise.pretrain.objectives.context_encoder import ContextEncoderConfig
from maskwise.pretrain.policies.hardest.policy import Hardest, HardestConfig
from maskwise.pretrain.policies.hardest.teacher import Teacher
from pretrain.toys import make_setting

GRID: Grid = (8, 8)


class Blank(nn.Module):
    """An objective that draws 0 plus what it has learnt: its error is known by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Identity()
        self.level = nn.Parameter(torch.zeros(()))
        self.asked: list[Tensor] = []

    def forward(self, batch: Batch, mask: Tensor) -> Outcome:
        self.asked.append(mask)
        errors = cell_means(
            (self.level - batch.images).square(), (mask.shape[1], mask.shape[2])
        )
        loss = torch.where(mask, errors, 0.0).sum() / mask.sum()
        return Outcome(loss, torch.where(mask, errors.detach(), torch.nan))


def noisy(number: int = 8) -> Tensor:
    """Return images of 16 x 16 pixels, cells of 2 x 2, each cell with a contrast of its own."""
    generator = Generator().manual_seed(0)
    contrast = torch.rand(number, 1, 8, 8, generator=generator)
    contrast = contrast.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return contrast * torch.randn(number, 1, 16, 16, generator=generator)


def a_batch(images: Tensor, progress: float = 0.5) -> Batch:
    rows = torch.arange(len(images))
    return Batch(images, rows, rows, rows, progress)


def build(objective: Any = None, seed: int = 0, learnt: bool = True, **block: Any) -> Hardest:
    """Build the policy round ``objective``; by default it has looked at it for a step."""
    network = Blank() if objective is None else objective
    setting = make_setting(height=16, width=16, grid=GRID, objective=network)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        policy = parse(HardestConfig, block, "policy").build(setting)
    if learnt:
        batch = a_batch(noisy(), 0.0)
        proposal = policy.propose(batch, GRID, Generator())
        policy.learn(proposal, network(batch, proposal.mask))
    return policy


def teacher_of(policy: Hardest) -> Any:
    assert isinstance(policy.judge, Teacher)
    return policy.judge


def a_network() -> Any:
    """Return a context encoder whose decoder has batch norm."""
    torch.manual_seed(0)
    encoder = ContextCnnConfig(widths=(8, 8), convolutions=(1, 1), norm="batch").build(1)
    setting = make_setting(height=16, width=16, grid=GRID)
    return ContextEncoderConfig(decoder="release").build(setting, encoder)


def step(policy: Hardest, network: Any, images: Tensor, progress: float, seed: int = 0) -> Any:
    """Make one step of the loop on the network and the policy."""
    batch = a_batch(images, progress)
    proposal = policy.propose(batch, GRID, Generator().manual_seed(seed))
    outcome = network(batch, proposal.mask)
    outcome.loss.backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= 0.1 * parameter.grad
            parameter.grad = None
    return policy.learn(proposal, outcome)


def difficulty_of(images: Tensor) -> Tensor:
    """Return what ``Blank`` finds hard, ``(B, 64)``."""
    return cell_means(images.square(), GRID).flatten(1)
