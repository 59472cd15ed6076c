"""Replay: what was tried, without pixels; images are rebuilt from the store."""

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Generator, Tensor

from maskwise.bounds import BatchSize, Steps, Within


@dataclass(frozen=True)
class Replay:
    """``capacity`` images at most (0 = no replay); keep it under two epochs.

    Rewards age as the network learns. Each step learns from the current batch and from
    ``batch`` remembered images, drawn uniformly among those at most ``max_age`` steps old.
    """

    capacity: Annotated[int, Within(0, 10**6)] = 0
    batch: BatchSize = 32
    max_age: Steps = 100


@dataclass(frozen=True)
class Remembered:
    """Some episodes of T boxes."""

    index: Tensor
    """``(N,)`` rows of the store."""
    augmentation_seed: Tensor
    """``(N,)``"""
    places: Tensor
    """``(T, N)``"""
    rewards: Tensor
    """``(T, N)`` float32, as they were learnt from."""


class Memory:
    """A ring of episodes on the CPU, where images are rebuilt; about 40 bytes each."""

    def __init__(self, config: Replay, boxes: int, seed: int) -> None:
        self.config, size = config, config.capacity
        self.generator = Generator().manual_seed(seed)
        self.index = torch.zeros(size, dtype=torch.int64)
        self.augmentation_seed = torch.zeros(size, dtype=torch.int64)
        self.places = torch.zeros(boxes, size, dtype=torch.int32)
        self.rewards = torch.zeros(boxes, size)
        self.step = torch.full((size,), -1, dtype=torch.int64)
        self.cursor = 0

    def add(self, episodes: Remembered, step: int) -> None:
        """Remember episodes in place of the oldest; of more than fit, the last."""
        size = self.config.capacity
        number = min(size, len(episodes.index))
        slots = (self.cursor + torch.arange(number)) % size
        self.index[slots] = episodes.index[-number:].cpu()
        self.augmentation_seed[slots] = episodes.augmentation_seed[-number:].cpu()
        self.places[:, slots] = episodes.places[:, -number:].cpu().to(torch.int32)
        self.rewards[:, slots] = episodes.rewards[:, -number:].cpu()
        self.step[slots] = step
        self.cursor = (self.cursor + number) % size

    def sample(self, step: int) -> Remembered | None:
        """Draw with replacement from what is young enough at ``step``; None if nothing is."""
        young = torch.nonzero((self.step >= 0) & (step - self.step <= self.config.max_age))[
            :, 0
        ]
        if not len(young):
            return None
        drawn = young[torch.randint(len(young), (self.config.batch,), generator=self.generator)]
        return Remembered(
            self.index[drawn],
            self.augmentation_seed[drawn],
            self.places[:, drawn].long(),
            self.rewards[:, drawn],
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "augmentation_seed": self.augmentation_seed,
            "places": self.places,
            "rewards": self.rewards,
            "step": self.step,
            "cursor": self.cursor,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("index", "augmentation_seed", "places", "rewards", "step"):
            getattr(self, name).copy_(state[name])
        self.cursor = int(state["cursor"])
        self.generator.set_state(state["generator"].cpu())
