"""Full fine-tuning: a constant number of steps, however few the labels."""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from maskwise.artefacts.store import Laterality, Store
from maskwise.encoders.classifier import Classifier
from maskwise.finetune.augmentation import augment
from maskwise.finetune.diagnosis.features import IMAGES_AT_ONCE
from maskwise.finetune.diagnosis.heads import LinearHead, TrainableHead
from maskwise.finetune.optimisation import (
    FullConfig,
    batches,
    build_optimiser,
    schedule,
    to_training,
)
from maskwise.progress import Bar
from maskwise.seeds import stream


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
    to_training(network)
    optimiser = build_optimiser(network.encoder, network.head, lesson.learning_rate, config)
    rates = [group["lr"] for group in optimiser.param_groups]
    weights = torch.tensor(lesson.weights, dtype=torch.float32, device=lesson.device)
    plan = batches(len(lesson.rows), lesson.steps, lesson.batch_size, lesson.seed)
    for step, picked in enumerate(plan):
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
