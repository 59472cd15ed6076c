"""Training a segmenter: a constant number of steps, the encoder frozen or not."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskwise.artefacts.store import Store
from maskwise.encoders.segmenter import Segmenter
from maskwise.finetune import training
from maskwise.finetune.augmentation import Moves
from maskwise.finetune.contracts import Mode
from maskwise.finetune.lesion.outlines import Outlines
from maskwise.finetune.optimisation import FullConfig, to_training
from maskwise.progress import Bar

IMAGES_AT_ONCE = 64
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Lesson(training.Lesson):
    """What one network learns."""

    outlines: Outlines
    mode: Mode
    """``probe``: the encoder stays as it is, statistics and all."""

    def truths(self, picked: NDArray[np.int64], moves: Moves) -> Tensor:
        """Return the outlines ``(B, 1, H, W)`` of a step's images, moved as these were."""
        classes = self.outlines.of(self.rows[picked]).astype(np.int64)
        return moves.apply(torch.from_numpy(classes).to(self.device)[:, None])


def train(start: Segmenter, lesson: Lesson, config: FullConfig, bar: Bar) -> Segmenter:
    """Return a trained copy of ``start``."""
    network, loss_of_classes = copy.deepcopy(start), build_loss()
    to_training(network.encoder)
    # Its norms are new: where they keep statistics, these are still to be learnt.
    network.decoder.train()
    if lesson.mode == "probe":
        network.encoder.eval().requires_grad_(False)

    def loss_at(step: int, picked: NDArray[np.int64]) -> Tensor:
        images, moves = training.draw_images(lesson, picked, config, step)
        return loss_of_classes(network(images), lesson.truths(picked, moves))

    plan = training.draw_order(lesson)
    training.train(network, network.decoder, plan, loss_at, lesson, config, bar)
    network.requires_grad_(True)
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
