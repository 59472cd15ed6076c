"""Training a segmenter, the encoder frozen or not, watched on validation images."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from maskwise.artefacts.store import Store
from maskwise.encoders.segmenter import Segmenter
from maskwise.finetune import training
from maskwise.finetune.contracts import Mode
from maskwise.finetune.lesion.augmentation import draw_change
from maskwise.finetune.lesion.config import LesionConfig
from maskwise.finetune.lesion.measures import count
from maskwise.finetune.lesion.outlines import Outlines
from maskwise.finetune.lesion.sampling import draw_plan
from maskwise.finetune.lesion.watch import Look, Watch, unit_dice
from maskwise.finetune.optimisation import FullConfig, to_training
from maskwise.progress import Bar
from maskwise.seeds import stream

IMAGES_AT_ONCE = 32
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Lesson(training.Lesson):
    """What one network learns, and what it is watched on."""

    outlines: Outlines
    mode: Mode
    """``probe``: the encoder stays as it is, statistics and all."""
    task: LesionConfig
    validation: NDArray[np.int64]
    """``(m,)`` rows of the store."""
    units: NDArray[np.object_]
    """``(m,)``: what each of them is a part of."""
    groups: NDArray[np.object_]
    """``(m,)``."""

    def plan(self) -> training.Plan:
        """Return which images every step sees."""
        return draw_plan(
            self.outlines.shown(self.rows),
            self.steps,
            self.batch_size,
            self.task.foreground,
            self.seed,
        )

    def draw(self, step: int, picked: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return the images ``(B, C, H, W)`` of a step, and their outlines ``(B, 1, H, W)``."""
        rows = self.rows[picked]
        images = torch.from_numpy(self.store.normalised(rows)).to(self.device)
        classes = torch.from_numpy(self.outlines.of(rows).astype(np.int64)).to(self.device)
        draws = stream(self.seed, "finetune", "augmentation", step)
        laterality = self.store.header.laterality
        change = draw_change(images, self.task.augmentation, laterality, draws)
        return change.apply(images), change.apply_to_classes(classes[:, None])


@dataclass(frozen=True)
class Trained:
    """A network with the weights that did best on validation images."""

    model: Segmenter
    dice: float
    """On these, as ``watch.unit_dice`` counts."""
    loss: float
    steps: int
    """Made."""
    best_step: int


def train(start: Segmenter, lesson: Lesson, config: FullConfig, bar: Bar) -> Trained:
    """Return a trained copy of ``start``."""
    network, loss_of = copy.deepcopy(start), build_loss()
    if lesson.mode == "probe":
        network.encoder.requires_grad_(False)
    _to_training(network, lesson.mode)
    answer = training.in_training(network, lesson.device, config)

    def loss_at(step: int, picked: NDArray[np.int64]) -> Tensor:
        images, truths = lesson.draw(step, picked)
        return loss_of(answer(images), truths)

    def look() -> Look:
        found = look_at(network, lesson)
        _to_training(network, lesson.mode)
        return found

    task = lesson.task
    watch = Watch(network, task.every, task.patience, lesson.steps, look, bar)
    plan = lesson.plan()
    training.train(
        network, network.decoder, plan, loss_at, lesson, config, bar, watch.stops_after
    )
    watch.restore()
    network.requires_grad_(True)
    best = watch.best or Look(0.0, 0.0)
    return Trained(network.eval(), best.dice, -best.gain, watch.made, watch.best_step)


def _to_training(network: Segmenter, mode: Mode) -> None:
    """Set train mode; an encoder's statistics stay, the norms of the decoder are new."""
    to_training(network.encoder)
    network.decoder.train()
    if mode == "probe":
        network.encoder.eval()


def look_at(network: Segmenter, lesson: Lesson) -> Look:
    """Outline the validation images as they are; leaves the network in eval mode."""
    loss_of, loss, counts = build_loss(), 0.0, []
    for block, logits in _answers(network, lesson.store, lesson.validation, lesson.device):
        truths = lesson.outlines.of(lesson.validation[block])
        given = torch.from_numpy(truths.astype(np.int64))[:, None]
        loss += float(loss_of(logits, given)) * len(logits)
        called = logits.argmax(dim=1).numpy().astype(np.uint8)
        counts.append(count(called, truths, lesson.outlines.classes))
    table = pd.concat(counts, ignore_index=True)
    return Look(unit_dice(table, lesson.units, lesson.groups), -loss / len(table))


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
    yield from _answers(model.to(device), store, rows, device)
    model.cpu()


def _answers(
    model: Segmenter, store: Store, rows: NDArray[np.int64], device: torch.device
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the same of a model that is on the device."""
    model.eval()
    for start in range(0, len(rows), IMAGES_AT_ONCE):
        block = slice(start, start + IMAGES_AT_ONCE)
        images = torch.from_numpy(store.normalised(rows[block])).to(device)
        with torch.inference_mode():
            yield block, model(images).cpu()
