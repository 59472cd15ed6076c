"""Training by steps: a constant number of them, however few the labels."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import cos, pi
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from maskwise.bounds import Decay, Positive, Within
from maskwise.decay import divided, rate_shares
from maskwise.device import Precision
from maskwise.encoders.contract import Encoder
from maskwise.finetune.augmentation import Augmentation
from maskwise.seeds import stream

Schedule = Literal["cosine", "polynomial"]
POWER = 0.9


@dataclass(frozen=True)
class FullConfig:
    """How networks are trained by steps."""

    head: Literal["probe", "fresh"] = "probe"
    """Where a diagnosis' linear layer starts: at the probe's solution, or at zero."""
    pooling: Literal["probe", "attentive"] = "probe"
    """``probe``: an image's places are pooled as for the probe; ``attentive``: by weights that
    are learnt, and are the mean at first."""
    encoder_rate: Annotated[float, Within(0, 1_000)] = 1.0
    """Learning rate of the encoder, as a multiple of that of what lies on top of it
    (docs/decisions.md)."""
    stage_decay: Annotated[float, Within(0, 1, above=True)] = 1.0
    """Learning rate of each of the encoder's stages, of a transformer each of its blocks, as a
    multiple of that of the one behind; what lies behind the last has the whole rate."""
    drop_path: Annotated[float, Within(0, 1, below=True)] = 0.0
    """Share of a batch's images that pass by the last block's branches in training, of the
    blocks before it less; of transformers, any other encoder has none."""
    weight_decay: Annotated[float, Within(0, 100)] = 0.05
    """AdamW's; biases and norms are spared, as ``maskwise.decay`` says."""
    warm_up: Decay = 0.1
    """Share of the steps over which the learning rate rises; then it falls to 0."""
    schedule: Schedule = "cosine"
    """How it falls: as half a ``cosine``, or as the power .9 of the share of the steps that is
    left (``polynomial``, as in nnU-Net)."""
    clip: Positive = 1.0
    """Largest norm of the gradient."""
    precision: Precision = "auto"
    """Of the training; whatever is answered afterwards is computed in float32."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Of a diagnosis; outlines have their own (``task.augmentation``)."""


def to_training(network: nn.Module) -> None:
    """Set train mode, but leave the statistics of batch norms as they are.

    The probe's solution holds for features made with them; statistics of a few images'
    batches, or of the few steps that there are, would throw them over.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def build_optimiser(
    encoder: Encoder, head: nn.Module, rate: float, config: FullConfig
) -> torch.optim.AdamW:
    """Build AdamW with a rate for what was pre-trained and one for what is new."""
    groups = []
    shares = rate_shares(encoder.layers() if config.stage_decay < 1 else [], config.stage_decay)
    by_share: dict[float, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in encoder.named_parameters():
        by_share.setdefault(shares.get(id(parameter), 1.0), []).append((name, parameter))
    parts = [(named, config.encoder_rate * share) for share, named in by_share.items()]
    for named, factor in (*parts, (list(head.named_parameters()), 1.0)):
        decayed, spared = divided(named)
        for chosen, decay in ((decayed, config.weight_decay), (spared, 0.0)):
            groups.append({"params": chosen, "lr": rate * factor, "weight_decay": decay})
    return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)


def batches(images: int, steps: int, batch_size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield the positions of every step's images: always ``batch_size`` of them.

    Step s takes its share of one permutation after another, so that fewer images than a batch
    still give full batches, and no image is seen twice before all were seen once.
    """
    waiting = np.empty(0, np.int64)
    epoch = 0
    for _ in range(steps):
        while len(waiting) < batch_size:
            order = stream(seed, "finetune", "order", epoch).permutation(images)
            waiting, epoch = np.concatenate([waiting, order]), epoch + 1
        yield waiting[:batch_size]
        waiting = waiting[batch_size:]


def schedule(step: int, steps: int, warm_up: float, fall: Schedule = "cosine") -> float:
    """Return the learning rate's share at a step: a linear rise, then a fall to almost 0."""
    rise = round(warm_up * steps)
    if step < rise:
        return (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    return (1 - done) ** POWER if fall == "polynomial" else 0.5 * (1 + cos(pi * done))
