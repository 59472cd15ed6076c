"""Options of adaptive hard masking: what did best, and the method as it was meant.

``docs/methods/ahm.md`` says by number what was read and what is ours.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from maskwise.bounds import (
    LearningRate,
    Length,
    PartShare,
    PolicyWidth,
    Positive,
    Weight,
    Workers,
)
from maskwise.encoders.norm import check_widths
from maskwise.pretrain.contracts import Setting
from maskwise.pretrain.policies.a3c.advantage import Advantage
from maskwise.pretrain.policies.a3c.pairs import (
    LogpName,
    SamplerName,
    mismatches,
    refuse_meaningless,
)
from maskwise.pretrain.policies.a3c.policy import A3c
from maskwise.pretrain.policies.a3c.reward import RewardConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Temperature:
    """Divides the logits: 1, or raised for as long as two draws for an image are too alike."""

    most_overlap: PartShare | None = None
    """Above this overlap the temperature rises, below it falls back to 1; null = it stays 1.
    The overlap is the ratio for uniform draws, and 1 where nothing is left to chance."""
    rate: PartShare = 0.02
    """The share by which it moves per step."""

    def after(self, temperature: Tensor, overlap: Tensor) -> Tensor:
        """Return the temperature of the next step."""
        if self.most_overlap is None:
            return temperature
        cooler = (temperature / (1 + self.rate)).clamp_min(1.0)
        return torch.where(overlap > self.most_overlap, temperature * (1 + self.rate), cooler)


@dataclass(frozen=True)
class A3cConfig:
    """Options of ``a3c``; ``ahm`` is the method as it was meant, ``best`` what did best."""

    preset: Literal["best", "ahm"] = "best"
    ratio: PartShare = 0.5
    """Share of the cells that is hidden, to the nearest cell; with ``sampler: bernoulli`` and
    without ``exact_k`` in expectation."""
    sampler: SamplerName = "gumbel_topk"
    """``topk`` is a literal reading: the highest logits, nothing drawn."""
    logp: LogpName = "plackett_luce"
    """``softmax`` is a literal reading: as if cells were put back."""
    exact_k: bool = False
    """Of ``sampler: bernoulli``: exactly K cells, by the conditional law; takes longer."""
    advantage: Advantage = "cell_expected"
    reward: RewardConfig = field(default_factory=RewardConfig)
    mismatch: Literal["refuse", "allow"] = "refuse"
    """``allow``: run a literal reading whose gradient is known to be wrong."""
    value_weight: Weight = 0.5
    """Of the values' squared error in the loss (Mnih et al. 2016)."""
    entropy_weight: Weight = 0.01
    """Of the entropy that is rewarded, 1 = uniform (Mnih et al. 2016)."""
    temperature: Temperature = field(default_factory=Temperature)
    bound: Positive | None = None
    """Logits are bound * tanh(logits / bound); null = they are not bounded."""
    learning_rate: LearningRate = 3e-3
    """Of Adam, at its start."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Of that rate, over the steps in which the policy learns."""
    gradient_clip: Positive = 1.0
    """Largest norm of the network's gradient."""
    learner: Literal["synchronous", "asynchronous"] = "synchronous"
    """``asynchronous``: processes teach one network without locks, as A3C's do; they need a
    staged schedule and a CPU, and no two runs are equal to the last bit."""
    workers: Workers = 2
    """Processes of the asynchronous learner, each with a copy of the network; more than there
    are cores only wait."""
    widths: Annotated[tuple[PolicyWidth, ...], Length(2, 16)] = (8, 24, 24)
    """Channels of the network's convolutions, of which the first two halve."""

    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "best": {},
        "ahm": {
            "sampler": "bernoulli",
            "logp": "bernoulli",
            "reward": {"credit": "image", "scale": "raw"},
            "advantage": "cell_value",
        },
    }

    @property
    def pixel_option(self) -> str:
        blur = self.reward.blur_px
        return f"reward.blur_px: {blur:g}" if blur else ""

    def __post_init__(self) -> None:
        check_widths("group", self.widths)
        credit = self.reward.credit
        refuse_meaningless(self.sampler, self.logp, self.exact_k, credit, self.advantage)
        if self.mismatch == "refuse" and self.mismatches:
            remedy = "or mismatch: allow for a literal reading of docs/methods/ahm.md"
            raise ValueError(f"{'; '.join(self.mismatches)}, {remedy}")

    @property
    def mismatches(self) -> list[str]:
        """What about the options is known to be wrong."""
        return mismatches(self.sampler, self.logp, self.advantage)

    @property
    def drawn_apart(self) -> float | None:
        """With which probability each cell is hidden by itself; None where exactly K are."""
        apart = self.sampler == "bernoulli" and not self.exact_k
        return self.ratio if apart else None

    def unequal(self) -> str | None:
        if self.drawn_apart is None:
            return None
        return "sampler: bernoulli, which draws each cell by itself; say exact_k: true"

    def comparing(self) -> str | None:
        """Credit by cell compares cells; credit by image does not."""
        credit = self.reward.credit
        if credit == "image":
            return None
        return (
            f"reward.credit: {credit}; take reward: {{credit: image}} with advantage: "
            "image_batch"
        )

    def build(self, setting: Setting) -> A3c:
        """Build the policy with fresh weights from torch's global generator."""
        for sentence in self.mismatches:
            log.warning("Policy a3c runs a literal reading: %s.", sentence)
        return A3c(self, setting)
