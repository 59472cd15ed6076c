"""The optimisers by YAML name: a new one is its own dataclass and one line at the end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import torch

from maskwise.bounds import Decay, Length, Positive

Groups = Sequence[dict[str, Any]]
Betas = Annotated[tuple[Decay, Decay], Length(2, 2)]


class OptimiserConfig(Protocol):
    """What an optimiser's YAML name stands for."""

    def build(self, groups: Groups, rate: float, decay: float) -> torch.optim.Optimizer:
        """Build it for parameter ``groups``; one that sets no ``weight_decay`` has ``decay``.

        ``rate`` is where it starts; the loop sets every step's.
        """


@dataclass(frozen=True)
class AdamwConfig:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), fused."""

    betas: Betas = (0.9, 0.999)
    """What is kept of the running means of the gradient and of its square."""

    def build(self, groups: Groups, rate: float, decay: float) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            list(groups), lr=rate, betas=self.betas, weight_decay=decay, fused=True
        )


@dataclass(frozen=True)
class SgdConfig:
    """Stochastic gradient descent with momentum, fused; MoCo's and SwAV's."""

    momentum: Decay = 0.9

    def build(self, groups: Groups, rate: float, decay: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            list(groups), lr=rate, momentum=self.momentum, weight_decay=decay, fused=True
        )


@dataclass(frozen=True)
class LarsConfig:
    """SGD whose rate follows each layer's norms (You et al. 2017); BYOL's.

    A gradient with its decay is scaled by ``trust |w| / (|g| + decay |w|)``; what has one
    dimension is neither scaled nor decayed. It is for batches of 512 and more.
    """

    momentum: Decay = 0.9
    trust: Positive = 1e-3

    def build(self, groups: Groups, rate: float, decay: float) -> torch.optim.Optimizer:
        from pytorch_optimizer import LARS  # takes seconds to import

        options: dict[str, Any] = {"momentum": self.momentum, "trust_coefficient": self.trust}
        built: torch.optim.Optimizer = LARS(
            list(groups), lr=rate, weight_decay=decay, **options
        )
        return built


@dataclass(frozen=True)
class LambConfig:
    """Adam whose rate follows each layer's norms (You et al. 2020), for large batches."""

    betas: Betas = (0.9, 0.999)

    def build(self, groups: Groups, rate: float, decay: float) -> torch.optim.Optimizer:
        from pytorch_optimizer import Lamb  # takes seconds to import

        options: dict[str, Any] = {
            "weight_decouple": False,  # in the paper the decay is in the update that is scaled
            "max_grad_norm": 0.0,  # the loop clips
            # The library would multiply the scaled update by the first mean's correction, ten
            # times the rate in the first step. The norms' ratio needs none; what is not scaled
            # gets both of Adam's from ``_correct``.
            "adam_debias": True,
        }
        # What is not decayed is not scaled either.
        plain = [{**group, "adam": group.get("weight_decay") == 0} for group in groups]
        built: torch.optim.Optimizer = Lamb(
            plain, lr=rate, betas=self.betas, weight_decay=decay, **options
        )
        built.register_step_pre_hook(_correct)
        built.register_step_post_hook(_restore)
        return built


def _correct(optimiser: torch.optim.Optimizer, *_: Any) -> None:
    """Put Adam's corrections of its young means into the rate of what LAMB does not scale."""
    for group in optimiser.param_groups:
        group["whole"] = group["lr"]
        if group["adam"]:
            first, second = group["betas"]
            step = group.get("step", 0) + 1
            group["lr"] *= math.sqrt(1 - second**step) / (1 - first**step)


def _restore(optimiser: torch.optim.Optimizer, *_: Any) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group.pop("whole")


OPTIMISERS: dict[str, type[OptimiserConfig]] = {
    "adamw": AdamwConfig,
    "lamb": LambConfig,
    "lars": LarsConfig,
    "sgd": SgdConfig,
}
