"""Who learns when: network and policy in every step, or one after the other."""

from dataclasses import dataclass
from typing import Protocol

from maskwise.bounds import Share, Steps


@dataclass(frozen=True)
class Phase:
    """A run of steps in which the same parts learn."""

    steps: int
    network: bool
    """Whether the objective's network learns; a frozen one is in eval mode."""
    policy: bool
    """Whether the policy learns; a frozen one still chooses every mask."""
    fresh: bool = False
    """Whether the network begins the phase with the weights that it was built with."""


class ScheduleConfig(Protocol):
    """What the recipe's block ``schedule`` stands for."""

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """Return the phases of a run in which the network makes ``steps`` steps."""


@dataclass(frozen=True)
class AlternatingConfig:
    """Both learn in every step, from the same forward pass."""

    def phases(self, steps: int) -> tuple[Phase, ...]:
        return (Phase(steps, network=True, policy=True),)


@dataclass(frozen=True)
class StagedConfig:
    """The network alone, then the policy against the frozen network, then the network again.

    A policy that has not learnt yet hides at random. The network makes as many steps as in any
    other recipe, and the policy's come on top. In each phase the network's optimiser and its
    learning rate begin anew.
    """

    first: Share = 0.5
    """Share of the network's steps that come before the policy learns; 1 = all of them."""
    policy_steps: Steps = 400
    """Steps in which the policy alone learns."""
    restart: bool = False
    """Whether the network forgets its first phase before it meets the policy's masks."""

    def phases(self, steps: int) -> tuple[Phase, ...]:
        before = round(self.first * steps)
        planned = (
            Phase(before, network=True, policy=False),
            Phase(self.policy_steps, network=False, policy=True),
            Phase(steps - before, network=True, policy=False, fresh=self.restart),
        )
        return tuple(phase for phase in planned if phase.steps)


SCHEDULES: dict[str, type[ScheduleConfig]] = {
    "alternating": AlternatingConfig,
    "staged": StagedConfig,
}
"""By their name in the YAML."""


@dataclass(frozen=True)
class Timeline:
    """The phases of a run, one after the other."""

    phases: tuple[Phase, ...]

    @property
    def steps(self) -> int:
        """Of all phases together."""
        return sum(phase.steps for phase in self.phases)

    def at(self, step: int) -> tuple[Phase, int]:
        """Return the phase of ``step`` (from 0), and which of the phase's own steps it is."""
        for phase in self.phases:
            if step < phase.steps:
                return phase, step
            step -= phase.steps
        raise ValueError(f"the run ends {step + 1} steps earlier")

    def progress(self, step: int) -> float:
        """Return the share of the policy's steps that were made before ``step``, in [0, 1]."""
        made = total = 0
        for phase in self.phases:
            if phase.policy:
                made += min(max(step, 0), phase.steps)
                total += phase.steps
            step -= phase.steps
        return made / total if total else 1.0

    def network_progress(self, step: int) -> float:
        """Return the share of the network's steps that were made before ``step``, in [0, 1].

        A network that begins anew begins at 0 again, after the old one has ended at 1.
        """
        made = total = 0
        for phase in self.phases:
            if phase.fresh:
                if step <= 0:
                    break
                made = total = 0
            if phase.network:
                made += min(max(step, 0), phase.steps)
                total += phase.steps
            step -= phase.steps
        return made / total if total else 1.0
