"""A queue of vectors of earlier steps, each with the row and the group of its image."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

UNKNOWN = -1
"""Row and group of a place that was never written."""


@dataclass(frozen=True)
class Entries:
    """Vectors to be kept, ``(B, D)``, with ``(B,)`` rows of the store and groups."""

    vectors: Tensor
    rows: Tensor
    groups: Tensor


class Ring(nn.Module):
    """Keeps the last ``length`` vectors; all of it is in the ``state_dict``, so it resumes.

    Where it is written and how much of it is full are plain numbers: asking a tensor would make
    a GPU wait in every step.
    """

    vectors: Tensor
    """``(K, D)``, unit or 0."""
    rows: Tensor
    groups: Tensor
    """``(K,)`` int64."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.length, self.pointer, self.filled = length, 0, 0
        self.register_buffer("vectors", torch.zeros(length, width))
        for name in ("rows", "groups"):
            self.register_buffer(name, torch.full((length,), UNKNOWN))

    def push(self, entries: Entries) -> None:
        """Write over the oldest; of more than fit the last are kept."""
        number = len(entries.vectors)
        kept = min(number, self.length)
        places = (self.pointer + number - kept + torch.arange(kept)) % max(1, self.length)
        places = places.to(self.vectors.device)
        self.vectors[places] = entries.vectors[number - kept :].to(self.vectors.dtype)
        self.rows[places] = entries.rows[number - kept :]
        self.groups[places] = entries.groups[number - kept :]
        self.pointer = (self.pointer + number) % max(1, self.length)
        self.filled = min(self.length, self.filled + number)

    def get_extra_state(self) -> Tensor:
        """Return pointer and filling, for the ``state_dict``."""
        return torch.tensor([self.pointer, self.filled])

    def set_extra_state(self, state: Tensor) -> None:
        """Take ``get_extra_state`` back."""
        self.pointer, self.filled = (int(number) for number in state)
