"""What rank 0 and the others say to one another in a step of a run on several processes.

Rank 0 alone has the policy: it tells the others which cells are hidden, and is told what came
of it. So there is one policy, one replay memory and one stream of random masks, however many
processes there are, and what the others need is their slice of the batch.
"""

from dataclasses import replace
from typing import Any

import torch
import torch.distributed
from torch import Tensor

from maskwise.masks import Grid
from maskwise.pretrain.batches import Batches
from maskwise.pretrain.contracts import Batch, Outcome
from maskwise.pretrain.learner import DivergedError, Learner, at
from maskwise.ranks import Ranks


def lead(learner: Learner, part: Batch, mask: Tensor, phase: Any, pixels: bool) -> Outcome:
    """Let all ranks answer a part of the batch, and return what came of all of it.

    Args:
        learner: rank 0's.
        part: the whole part, all ranks' images.
        mask: ``(B, gh, gw)``.
        phase: of the run.
        pixels: whether the outcome's ``residual`` is wanted; a picture never is.
    """
    ranks = learner.ranks
    if ranks.alone:
        return learner.answer(part, mask, phase)
    ranks.broadcast(mask.to(torch.uint8))
    own = range(len(part.index) // ranks.number)
    outcome = learner.answer(at(part, own), ranks.own(mask), phase)
    return _whole(outcome, ranks, pixels)


def follow(
    learner: Learner, batches: Batches, grid: Grid, pixels: bool, finite_only: bool
) -> None:
    """Do, as another rank than 0, what rank 0 leads, to the run's end."""
    ranks, timeline = learner.ranks, learner.course.timeline
    first, state = ranks.told(None)
    learner.load_state_dict(state)
    parts = learner.course.optimisation.accumulate
    places = ranks.own_places(batches.batch_size, parts)
    size = batches.batch_size // parts
    for step in range(first, timeline.steps):
        phase, own = timeline.at(step)
        learner.prepare(phase, own, step)
        for here in places:
            batch = batches.batch(step, timeline.progress(step), here)
            hidden = torch.zeros(size, *grid, dtype=torch.uint8, device=batch.images.device)
            mask = ranks.own(ranks.broadcast(hidden)).bool()
            _whole(learner.answer(batch, mask, phase), ranks, pixels)
        if phase.network:
            try:
                learner.update(step, finite_only)
            except DivergedError:
                return  # rank 0 sees the same number, and says so


def begin_together(learner: Learner, step: int) -> None:
    """Tell the others where rank 0 begins, which alone has read the checkpoint."""
    if not learner.ranks.alone:
        learner.ranks.told((step, _on_cpu(learner.state_dict())))


def _whole(outcome: Outcome, ranks: Ranks, pixels: bool) -> Outcome:
    """Return what all ranks' outcomes are together; its loss carries no gradient."""
    figures = {"loss": outcome.loss.detach(), **outcome.figures}
    device = outcome.error_map.device
    means = ranks.mean(
        torch.stack([value.to(device, torch.float64) for value in figures.values()])
    )
    told = dict(zip(figures, means, strict=True))
    residual = outcome.residual
    return replace(
        outcome,
        loss=told.pop("loss"),
        error_map=ranks.gather(outcome.error_map),
        residual=ranks.gather(residual) if pixels and residual is not None else None,
        reconstruction=None,
        figures=told,
    )


def _on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: _on_cpu(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_on_cpu(each) for each in value]
    return value
