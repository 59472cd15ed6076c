"""Training by steps as every task does it; a task adds its loss."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from maskwise.artefacts.store import Store
from maskwise.device import trains_in_half
from maskwise.encoders.classifier import Classifier
from maskwise.encoders.contract import Encoder
from maskwise.encoders.segmenter import Segmenter
from maskwise.errors import UserError
from maskwise.finetune.augmentation import Moves, draw_moves
from maskwise.finetune.optimisation import FullConfig, batches, build_optimiser, schedule
from maskwise.finetune.run import FinetuneRun
from maskwise.progress import ESTIMATE_AFTER, Bar, bar, note
from maskwise.seeds import stream, torch_seed, torch_stream

Trained = TypeVar("Trained")
Plan = Iterable[NDArray[np.int64]]
"""The positions of each step's images among the lesson's rows."""
LossAt = Callable[[int, NDArray[np.int64]], Tensor]
"""Of a step, counted from 0, and of the positions of its images."""
StopsAfter = Callable[[int], bool]
"""Of the number of steps made: is that enough?"""


def _never(made: int) -> bool:
    return False


@dataclass(frozen=True)
class Lesson:
    """What one network learns from; a task adds what there is to learn."""

    store: Store
    rows: NDArray[np.int64]
    """``(n,)`` of the store."""
    steps: int
    batch_size: int
    learning_rate: float
    seed: int
    device: torch.device


def train(
    network: Classifier | Segmenter,
    head: nn.Module,
    plan: Plan,
    loss_at: LossAt,
    lesson: Lesson,
    config: FullConfig,
    shown: Bar,
    stops_after: StopsAfter = _never,
) -> None:
    """Train ``network`` itself, on the device; ``head`` is what lies on the encoder.

    Which images a step sees, how they are changed and what is lost on them is the task's, and
    so is when to stop; the learning rate falls over all of the lesson's steps in any case.
    """
    # Convolutions are faster with channels last; moved images come in that order.
    network.to(lesson.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = build_optimiser(network.encoder, head, lesson.learning_rate, config)
    rates = [group["lr"] for group in optimiser.param_groups]
    with _leaving_paths_out(network.encoder, config.drop_path, lesson.seed):
        for step, picked in enumerate(plan):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * schedule(
                    step, lesson.steps, config.warm_up, config.schedule
                )
            optimiser.zero_grad()
            loss_at(step, picked).backward()
            nn.utils.clip_grad_norm_(network.parameters(), config.clip)
            optimiser.step()
            shown.step()
            if stops_after(step + 1):
                shown.leave_out(lesson.steps - step - 1)
                break
    network.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def in_training(
    network: Classifier | Segmenter, device: torch.device, config: FullConfig
) -> Callable[[Tensor], Tensor]:
    """Return what ``network`` answers to images in training, in float32 for the loss.

    Raises:
        UserError: if the device lacks the precision that is asked for.
    """
    half = trains_in_half(config.precision, device.type, "finetune.full.precision")

    def answer(images: Tensor) -> Tensor:
        # Images are moved outside: positions in bfloat16 would be whole pixels off.
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            answered: Tensor = network(images)
        return answered.float()

    return answer


@contextmanager
def _leaving_paths_out(encoder: Encoder, share: float, seed: int) -> Iterator[None]:
    """Let the encoder leave branches out within the block; which ones follows from ``seed``."""
    if not share:
        yield
        return
    encoder.drop_paths(share)
    try:
        cuda = range(torch.cuda.device_count())
        with torch_stream(torch_seed(seed, "finetune", "paths"), cuda):
            yield
    finally:
        encoder.drop_paths(0.0)


def draw_order(lesson: Lesson) -> Plan:
    """Return a plan in which no image is seen twice before all were seen once."""
    return batches(len(lesson.rows), lesson.steps, lesson.batch_size, lesson.seed)


def draw_images(
    lesson: Lesson, picked: NDArray[np.int64], config: FullConfig, step: int
) -> tuple[Tensor, Moves]:
    """Return the images ``(B, C, H, W)`` of a step, moved, and how they were."""
    images = torch.from_numpy(lesson.store.normalised(lesson.rows[picked])).to(lesson.device)
    draws = stream(lesson.seed, "finetune", "augmentation", step)
    moves = draw_moves(images, config.augmentation, lesson.store.header.laterality, draws)
    return moves.apply(images), moves


def at_every_rate(
    run: FinetuneRun, what: str, train_at: Callable[[float, Bar], Trained], looks: int = 0
) -> Iterator[tuple[float, Trained]]:
    """Train once per learning rate, all under one bar that names ``what`` is trained.

    ``looks``: steps after which training may stop, if it may.
    """
    budget, name = run.budget, f"{run.recipe}.s{run.seed}, {what}"
    steps = budget.steps * len(budget.learning_rates)
    after = max(ESTIMATE_AFTER, looks + 1)
    with bar(
        "finetune",
        name,
        steps,
        budget.batch_size,
        estimate_after=after,
        may_stop=looks > 0,
    ) as shown:
        for rate in budget.learning_rates:
            model = train_at(rate, shown)
            note(finetune_images_per_second=shown.images_per_second)
            yield rate, model


def refuse_infinite(run: FinetuneRun, rate: float, fraction: float, finite: bool) -> None:
    """Raise ``UserError`` where a network's answers are not ``finite`` any more."""
    if not finite:
        raise UserError(
            f"{run.source}.finetune.learning_rates: at {rate:g} the network's answers "
            f"({run.recipe}, seed {run.seed}, {fraction:g} of the labels) are no longer "
            "finite; take a smaller one"
        )
