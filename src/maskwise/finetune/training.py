"""Full fine-tuning: a constant number of steps, however few the labels."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import cos, pi
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from maskwise.artefacts.store import Laterality, Store
from maskwise.encoders.classifier import Classifier
from maskwise.finetune.augmentation import Augmentation, augment
from maskwise.finetune.features import IMAGES_AT_ONCE
from maskwise.finetune.heads import LinearHead, TrainableHead
from maskwise.progress import Bar
from maskwise.seeds import stream


@dataclass(frozen=True)
class FullConfig:
    """How the whole network is trained. The last step's weights are the result."""

    head: Literal["probe", "fresh"] = "probe"
    """Where the linear layer starts: at the probe's solution, or at zero."""
    encoder_rate: float = 1.0
    """Learning rate of the encoder, as a multiple of the linear layer's (docs/decisions.md)."""
    weight_decay: float = 0.05
    """AdamW's; biases and norms (one dimension) are spared."""
    warm_up: float = 0.1
    """Share of the steps over which the learning rate rises; then it falls as a cosine to 0."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if not 0 <= self.warm_up < 1:
            raise ValueError(f"warm_up is {self.warm_up}, but should lie in [0, 1)")
        if self.weight_decay < 0 or self.encoder_rate < 0 or self.clip <= 0:
            raise ValueError("weight_decay and encoder_rate should be 0 or more, clip above 0")


@dataclass(frozen=True)
class Lesson:
    """What one network learns from."""

    store: Store
    rows: NDArray[np.int64]
    """``(n,)`` of the store."""
    targets: NDArray[np.int64]
    """``(n,)`` class indices."""
    weights: NDArray[np.float64]
    """``(K,)`` of the classes, by class index."""
    laterality: Laterality
    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    device: torch.device


def fine_tune(
    model: Classifier, head: LinearHead, lesson: Lesson, config: FullConfig, bar: Bar
) -> Classifier:
    """Return a trained copy of ``model``; ``head`` standardises, and is where it starts."""
    network = copy.deepcopy(model)
    trainable = TrainableHead(head)
    network.head = trainable
    # Convolutions are faster with channels last; `augment` returns images in that order.
    network.to(lesson.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    _to_training(network)
    optimiser = build_optimiser(network, lesson.learning_rate, config)
    rates = [group["lr"] for group in optimiser.param_groups]
    weights = torch.tensor(lesson.weights, dtype=torch.float32, device=lesson.device)
    for step, picked in enumerate(batches(len(lesson.rows), lesson)):
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * schedule(step, lesson.steps, config.warm_up)
        images = torch.from_numpy(lesson.store.normalised(lesson.rows[picked])).to(
            lesson.device
        )
        draws = stream(lesson.seed, "finetune", "augmentation", step)
        images = augment(images, config.augmentation, lesson.laterality, draws)
        targets = torch.from_numpy(lesson.targets[picked]).to(lesson.device)
        optimiser.zero_grad()
        loss = cross_entropy(network(images), targets, weights)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimiser.step()
        bar.step()
    network.head = trainable.frozen().folded()
    network.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network.eval()


def _to_training(network: Classifier) -> None:
    """Set train mode, but leave the statistics of batch norms as they are.

    The probe's solution holds for features made with them; statistics of a few images'
    batches, or of the few steps that there are, would throw them over.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def build_optimiser(network: Classifier, rate: float, config: FullConfig) -> torch.optim.AdamW:
    """Build AdamW with a rate for the encoder and one for the linear layer."""
    groups = []
    for module, factor in ((network.encoder, config.encoder_rate), (network.head, 1.0)):
        parameters = [p for p in module.parameters() if p.requires_grad]
        for decay, wanted in ((config.weight_decay, True), (0.0, False)):
            chosen = [p for p in parameters if (p.ndim > 1) is wanted]
            groups.append({"params": chosen, "lr": rate * factor, "weight_decay": decay})
    return torch.optim.AdamW([group for group in groups if group["params"]], fused=True)


def batches(images: int, lesson: Lesson) -> Iterator[NDArray[np.int64]]:
    """Yield the positions of every step's images: always ``batch_size`` of them.

    Step s takes its share of one permutation after another, so that fewer images than a batch
    still give full batches, and no image is seen twice before all were seen once.
    """
    waiting = np.empty(0, np.int64)
    epoch = 0
    for _ in range(lesson.steps):
        while len(waiting) < lesson.batch_size:
            order = stream(lesson.seed, "finetune", "order", epoch).permutation(images)
            waiting, epoch = np.concatenate([waiting, order]), epoch + 1
        yield waiting[: lesson.batch_size]
        waiting = waiting[lesson.batch_size :]


def schedule(step: int, steps: int, warm_up: float) -> float:
    """Return the learning rate's share at a step: a linear rise, then a cosine to almost 0."""
    rise = round(warm_up * steps)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + cos(pi * (step - rise) / max(1, steps - rise)))


def predict_logits(
    model: Classifier, store: Store, rows: NDArray[np.int64], device: torch.device
) -> NDArray[np.float64]:
    """Return the logits ``(N, K)`` of rows of the store, in eval mode."""
    model = model.to(device).eval()
    found: list[Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(rows), IMAGES_AT_ONCE):
            images = torch.from_numpy(store.normalised(rows[start : start + IMAGES_AT_ONCE]))
            found.append(model(images.to(device)).cpu())
    model.cpu()
    return torch.cat(found).double().numpy()
