"""Means of a step's figures over an epoch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Means:
    """Sums of a step's figures on the device, read once per epoch: reading makes a GPU wait."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._broken = torch.full((), -1, dtype=torch.int64, device=device)

    def add(self, step: int, figures: Mapping[str, Tensor]) -> None:
        finite = figures["loss"].isfinite()
        if "gradient_norm" in figures:
            finite &= figures["gradient_norm"].isfinite()
        self._broken = torch.where((self._broken < 0) & ~finite, step, self._broken)
        for name, value in figures.items():
            value = value.detach().to(self._device, torch.float64)
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def first_broken(self) -> int | None:
        step = int(self._broken)
        return None if step < 0 else step

    def read(self) -> dict[str, float]:
        """Return the means since the last reading."""
        totals = torch.stack(list(self._sums.values())).tolist()
        means = {
            name: total / self._counts[name]
            for name, total in zip(self._sums, totals, strict=True)
        }
        self._sums, self._counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self._sums, "counts": self._counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sums = {name: value.to(self._device) for name, value in state["sums"].items()}
        self._counts = dict(state["counts"])
