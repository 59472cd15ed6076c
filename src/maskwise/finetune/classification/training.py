"""Full fine-tuning: a constant number of steps, however few the labels."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskwise.artefacts.store import Store
from maskwise.encoders.classifier import Classifier
from maskwise.finetune import training
from maskwise.finetune.classification.contract import Likelihood, Targets
from maskwise.finetune.classification.features import IMAGES_AT_ONCE
from maskwise.finetune.classification.heads import LinearHead, TrainableHead
from maskwise.finetune.optimisation import FullConfig, to_training
from maskwise.progress import Bar


@dataclass(frozen=True)
class Lesson(training.Lesson):
    """What one network learns."""

    likelihood: Likelihood
    targets: Targets
    """Of its rows."""
    weights: NDArray[np.float64]
    """``(K,)`` of the classes, by class index."""


def fine_tune(
    model: Classifier, head: LinearHead, lesson: Lesson, config: FullConfig, bar: Bar
) -> Classifier:
    """Return a trained copy of ``model``; ``head`` standardises, and is where it starts."""
    network, shift = copy.deepcopy(model), lesson.likelihood.shift(lesson.weights)
    trainable = TrainableHead(replace(head, bias=head.bias + shift))
    network.head = trainable
    to_training(network)
    weights = torch.tensor(lesson.weights, dtype=torch.float32, device=lesson.device)
    answer = training.in_training(network, lesson.device, config)

    def loss_at(step: int, picked: NDArray[np.int64]) -> Tensor:
        images, _ = training.draw_images(lesson, picked, config, step)
        targets = torch.from_numpy(lesson.targets[picked]).to(lesson.device)
        return lesson.likelihood.loss(answer(images), targets, weights)

    plan = training.draw_order(lesson)
    new = [trainable] if network.attention is None else [trainable, network.attention]
    training.train(network, nn.ModuleList(new), plan, loss_at, lesson, config, bar)
    learnt = trainable.frozen()
    network.head = replace(learnt, bias=learnt.bias - shift).folded()
    return network.eval()


def predict_logits(
    model: Classifier, store: Store, rows: NDArray[np.int64], device: torch.device
) -> NDArray[np.float64]:
    """Return the logits ``(N, K)`` of rows of the store, in eval mode."""
    return _looked_at(model, model, store, rows, device).double().numpy()


def predict_features(
    model: Classifier, store: Store, rows: NDArray[np.int64], device: torch.device
) -> NDArray[np.float32]:
    """Return the features ``(N, F)`` that the linear layer weighs up, in eval mode."""
    return _looked_at(model, model.pooled, store, rows, device).numpy()


def _looked_at(
    model: Classifier,
    ask: Callable[[Tensor], Tensor],
    store: Store,
    rows: NDArray[np.int64],
    device: torch.device,
) -> Tensor:
    model = model.to(device).eval()
    found: list[Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(rows), IMAGES_AT_ONCE):
            images = torch.from_numpy(store.normalised(rows[start : start + IMAGES_AT_ONCE]))
            found.append(ask(images.to(device)).cpu())
    model.cpu()
    return torch.cat(found)
