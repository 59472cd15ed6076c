"""The network's side of a step, which every process of a run does alike."""

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from maskwise.encoders.norm import check_shareable
from maskwise.pretrain.contracts import Batch, Objective, Outcome
from maskwise.pretrain.optimisation import OptimisationConfig, build_optimiser
from maskwise.pretrain.phases import Phase, Timeline
from maskwise.ranks import Ranks, shared

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Course:
    """How the network learns."""

    timeline: Timeline
    optimisation: OptimisationConfig
    channels_last: bool


class DivergedError(Exception):
    """A step's loss or gradient is no finite number; the weights are those before the step."""


class Learner:
    """The objective with its optimiser: forward, backward, and the step."""

    def __init__(
        self, course: Course, fabric: "Fabric", objective: Objective, ranks: Ranks
    ) -> None:
        self.course, self.fabric, self.ranks = course, fabric, ranks
        if not ranks.alone:
            check_shareable(objective)
        self.layout = torch.channels_last if course.channels_last else torch.contiguous_format
        # torch declares no memory format for modules.
        self.objective: Objective = cast(Any, objective).to(
            fabric.device, memory_format=self.layout
        )
        self.optimiser = self._build_optimiser()
        begins_anew = any(phase.fresh for phase in course.timeline.phases)
        self.untrained = copy.deepcopy(objective.state_dict()) if begins_anew else {}

    def prepare(self, phase: Phase, own: int, step: int) -> None:
        """Set mode and learning rate; in a later phase's first step, begin anew.

        A run that is resumed at that step does the same again, to the same end.
        """
        self.objective.train(phase.network)
        if not phase.network:
            return
        if own == 0 and step:
            if phase.fresh:
                self.objective.load_state_dict(self.untrained)
            self.optimiser = self._build_optimiser()
        for group in self.optimiser.param_groups:
            group["lr"] = group["share"] * self.course.optimisation.rate(own, phase.steps)

    def answer(self, part: Batch, mask: Tensor, phase: Phase) -> Outcome:
        """Return what the network makes of a part of this rank's batch, and go backward."""
        images = part.images.to(memory_format=self.layout)
        with (
            nullcontext() if self.ranks.alone else shared(self.objective, self.ranks),
            self.fabric.autocast(),
            torch.set_grad_enabled(phase.network),
        ):
            outcome = self.objective(replace(part, images=images), mask)
        if phase.network:
            self.fabric.backward(outcome.loss / self.course.optimisation.accumulate)
        return outcome

    def update(self, step: int, finite_only: bool) -> Tensor:
        """Make the step that all parts' gradients ask for; return the gradient's norm ``()``.

        Raises:
            DivergedError: with ``finite_only``, if it is no finite number; nothing has moved.
        """
        self.ranks.average_gradients(self.objective)
        norm = self.fabric.clip_gradients(
            self.objective,
            self.optimiser,
            max_norm=self.course.optimisation.longest_gradient,
            error_if_nonfinite=False,  # would wait for the device at every step
        )
        if norm is None:
            raise ValueError("Fabric returned no gradient norm")
        if finite_only and not bool(norm.isfinite()):
            raise DivergedError
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.objective.stepped(self.course.timeline.network_progress(step + 1))
        return norm

    def state_dict(self) -> dict[str, Any]:
        return {
            "objective": self.objective.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.objective.load_state_dict(state["objective"])
        self.optimiser.load_state_dict(state["optimiser"])

    def _build_optimiser(self) -> torch.optim.Optimizer:
        optimiser = build_optimiser(self.course.optimisation, self.objective)
        return cast(torch.optim.Optimizer, self.fabric.setup_optimizers(optimiser))


def parts_of(batch: Batch, number: int) -> list[Batch]:
    """Cut a batch into ``number`` parts of as many images."""
    if number == 1:
        return [batch]
    return [
        at(batch, range(turn * size, (turn + 1) * size))
        for size in [len(batch.index) // number]
        for turn in range(number)
    ]


def at(batch: Batch, places: range) -> Batch:
    """Return some neighbouring images of a batch."""
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}
    here = slice(places.start, places.stop)
    chosen = {name: value[here] for name, value in values.items() if isinstance(value, Tensor)}
    return replace(batch, **cast(Any, chosen))
