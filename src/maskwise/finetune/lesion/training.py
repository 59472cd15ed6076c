"""Training a segmenter: a constant number of steps, the encoder frozen or not."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskwise.artefacts.store import Store
from maskwise.encoders.segmenter import Segmenter
from maskwise.finetune.augmentation import draw_moves
from maskwise.finetune.contracts import Mode
from maskwise.finetune.lesion.outlines import Outlines
from maskwise.finetune.optimisation import (
    FullConfig,
    batches,
    build_optimiser,
    schedule,
    to_training,
)
from maskwise.progress import Bar
from maskwise.seeds import stream

IMAGES_AT_ONCE = 64
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Lesson:
    """What one network learns from."""

    store: Store
    outlines: Outlines
    rows: NDArray[np.int64]
    """``(n,)`` of the store."""
    mode: Mode
    """``probe``: the encoder stays as it is, statistics and all."""
    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    device: torch.device


def train(start: Segmenter, lesson: Lesson, config: FullConfig, bar: Bar) -> Segmenter:
    """Return a trained copy of ``start``."""
    network = copy.deepcopy(start)
    # Convolutions are faster with channels last; moved images come in that order.
    network.to(lesson.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    to_training(network)
    if lesson.mode == "probe":
        network.encoder.eval().requires_grad_(False)
    loss_of = build_loss()
    rate, decoder = lesson.learning_rate, network.decoder
    optimiser = build_optimiser(network.encoder, decoder, rate, config)
    rates = [group["lr"] for group in optimiser.param_groups]
    plan = batches(len(lesson.rows), lesson.steps, lesson.batch_size, lesson.seed)
    for step, picked in enumerate(plan):
        for group, full_rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = full_rate * schedule(step, lesson.steps, config.warm_up)
        images, truths = draw_batch(lesson, lesson.rows[picked], config, step)
        optimiser.zero_grad()
        loss = loss_of(network(images), truths)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimiser.step()
        bar.step()
    network.requires_grad_(True)
    network.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return network.eval()


def build_loss() -> Loss:
    """Return Dice loss + cross-entropy: logits ``(B, 1 + K, H, W)``, classes ``(B, 1, H, W)``.

    The Dice is of the batch as a whole, background left out, mean over classes: one of an
    image without a lesion would be nothing but the smoothing term.
    """
    # Every run parses this task's options, and MONAI takes seconds to import.
    from monai.losses.dice import DiceCELoss

    loss: Loss = DiceCELoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True
    )
    return loss


def predict(
    model: Segmenter, store: Store, rows: NDArray[np.int64], device: torch.device
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the logits ``(B, 1 + K, H, W)`` of a block of ``rows``, and which it is."""
    model = model.to(device).eval()
    for start in range(0, len(rows), IMAGES_AT_ONCE):
        block = slice(start, start + IMAGES_AT_ONCE)
        images = torch.from_numpy(store.normalised(rows[block])).to(device)
        with torch.inference_mode():
            yield block, model(images).cpu()
    model.cpu()


def loss_on(
    model: Segmenter,
    store: Store,
    outlines: Outlines,
    rows: NDArray[np.int64],
    device: torch.device,
) -> float:
    """Return the training's loss on images as they are; the mean of blocks of images."""
    loss_of, total = build_loss(), 0.0
    for block, logits in predict(model, store, rows, device):
        truths = torch.from_numpy(outlines.of(rows[block]).astype(np.int64))[:, None]
        total += float(loss_of(logits, truths)) * len(logits)
    return total / len(rows)


def draw_batch(
    lesson: Lesson, rows: NDArray[np.int64], config: FullConfig, step: int
) -> tuple[Tensor, Tensor]:
    """Return images ``(B, C, H, W)`` and their outlines ``(B, 1, H, W)``, moved alike."""
    images = torch.from_numpy(lesson.store.normalised(rows)).to(lesson.device)
    truths = torch.from_numpy(lesson.outlines.of(rows).astype(np.int64)).to(lesson.device)
    draws = stream(lesson.seed, "finetune", "augmentation", step)
    laterality = lesson.store.header.laterality
    moves = draw_moves(images, config.augmentation, laterality, draws)
    return moves.apply(images), moves.apply(truths[:, None])
