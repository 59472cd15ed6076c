"""The one training loop. It names no policy and no objective."""

import copy
import logging
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor

from maskwise import seeds
from maskwise.artefacts.gallery import Gallery
from maskwise.errors import Terminated, UserError
from maskwise.interruption import Interruption, interruptions
from maskwise.masks import Grid
from maskwise.pretrain.batches import Batches
from maskwise.pretrain.checkpoint import Checkpoint
from maskwise.pretrain.contracts import (
    Batch,
    Objective,
    Outcome,
    Policy,
    Proposal,
    SharedPolicy,
)
from maskwise.pretrain.diagnostics import (
    Frame,
    Probe,
    Watch,
    draw,
    measure,
    pack,
    warnings,
)
from maskwise.pretrain.diagnostics.symptoms import COLLAPSED, collapsed
from maskwise.pretrain.diagnostics.watching import told
from maskwise.pretrain.means import Means
from maskwise.pretrain.optimisation import OptimisationConfig, build_optimiser
from maskwise.pretrain.phases import Phase, Timeline
from maskwise.pretrain.policy_workers import Assemble, PolicyWorkers, Shift, check_shareable
from maskwise.pretrain.schedule import epoch_ends, moments
from maskwise.progress import Bar, bar, note

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger(__name__)

COLUMNS = ("epoch", "step", "loss", "learning_rate", "gradient_norm")
"""First columns of every history."""
Report = Callable[[Mapping[str, float]], None]
"""What is told an epoch's row of the history when the epoch has ended."""


@dataclass(frozen=True)
class Plan:
    """What the loop is to do."""

    replicate: str
    """For messages: recipe and seed."""
    seed: int
    timeline: Timeline
    grid: Grid
    optimisation: OptimisationConfig
    checkpoint_every: int
    """Steps."""
    gallery_moments: int
    channels_last: bool
    assemble: Assemble
    """Builds the run's objective, policy and batches anew, for worker processes."""
    watches: int = 0
    """Epochs after which the watched images' features are measured."""
    stop_collapsed: bool = False
    """Whether a network whose features collapsed ends the run."""
    snapshots: Mapping[int, Callable[[], None]] = field(default_factory=dict)
    """Step -> what keeps the network as it is after it."""
    report: Report | None = None
    """Is told each row of the history; what it raises ends the run."""


class Loop:
    """One run: the networks, and everything else that a checkpoint must hold."""

    def __init__(
        self,
        plan: Plan,
        fabric: "Fabric",
        objective: Objective,
        policy: Policy[Any],
        batches: Batches,
        probe: Probe,
        watch: Watch | None = None,
    ) -> None:
        self.plan, self.fabric, self.batches = plan, fabric, batches
        self.device = fabric.device
        self.layout = torch.channels_last if plan.channels_last else torch.contiguous_format
        # torch declares no memory format for modules.
        self.objective: Objective = cast(Any, objective).to(
            self.device, memory_format=self.layout
        )
        self.policy = policy
        policy.to(self.device)
        self.probe = probe.to(self.device)
        self.optimiser = self._build_optimiser()
        begins_anew = any(phase.fresh for phase in plan.timeline.phases)
        self.untrained = copy.deepcopy(objective.state_dict()) if begins_anew else {}
        self.generator = Generator(self.device)
        self.generator.manual_seed(seeds.torch_seed(plan.seed, "mask"))
        self.step = 0
        self.steps = plan.timeline.steps
        self.ends = epoch_ends(self.steps, batches.steps_per_epoch)
        self.moments = moments(len(self.ends), plan.gallery_moments)
        self.watch = watch
        looks = len(self.ends) if plan.stop_collapsed else plan.watches
        self.watched = moments(len(self.ends), looks) if looks else set()
        self.means = Means(self.device)
        self.history: list[dict[str, float]] = []
        self.frames: dict[int, Frame] = {}
        self.workers: PolicyWorkers | None = None
        check_shareable(policy, plan.timeline, self.device, plan.replicate)

    def run(self, checkpoint: Checkpoint) -> tuple[pd.DataFrame, Gallery]:
        """Train to the end, or go on from ``checkpoint``; return the history and the gallery.

        Raises:
            UserError: if the loss is no longer finite.
            KeyboardInterrupt: if Ctrl-C asked to stop, or (``Terminated``) SIGTERM did; a
                checkpoint was saved before.
        """
        cuda = [self.device] if self.device.type == "cuda" else []
        with seeds.torch_stream(seeds.torch_seed(self.plan.seed, "training"), cuda):
            self._resume(checkpoint)
            size = self.batches.batch_size
            with (
                interruptions() as interruption,
                bar("pretrain", self.plan.replicate, self.steps, size, self.step) as shown,
            ):
                begun = self.step
                try:
                    self._train(checkpoint, interruption, shown)
                finally:
                    self._dismiss()
            if self.step > begun:
                note(images_per_second=round(shown.images_per_second, 1))
        history = _table(self.history)
        for sentence in warnings(history):
            log.warning("pretrain %s: %s.", self.plan.replicate, sentence)
        epochs, frames = list(self.frames), list(self.frames.values())
        return history, pack(self.probe, epochs, frames, self.policy.learns)

    def _train(self, checkpoint: Checkpoint, interruption: Interruption, shown: Bar) -> None:
        if self.step == 0 and self.watched and self.watch is not None:
            figures = told(self.watch.measure(self.objective, self.device))
            log.info("pretrain %s: before the first step: %s.", self.plan.replicate, figures)
        while self.step < self.steps:
            shown.epoch(len(self.history) + 1, len(self.ends))
            self.means.add(self.step, self._one_step())
            self.step += 1
            shown.step()
            if self.step in self.plan.snapshots:
                self._check_finite()
                self.plan.snapshots[self.step]()
            if self.step == self.ends[len(self.history)]:
                self._end_epoch(shown)
            stop = interruption.received is not None
            last = self.step == self.steps  # of use when what comes out cannot be saved
            if stop or last or self.step % self.plan.checkpoint_every == 0:
                self._check_finite()
                checkpoint.save(self._state())
            if stop:
                self._leave(interruption)

    def _one_step(self) -> dict[str, Tensor]:
        """Propose, answer, go backward, step, learn; return the step's figures."""
        phase, own = self.plan.timeline.at(self.step)
        self._prepare(phase, own)
        if not phase.network and isinstance(self.policy, SharedPolicy) and self.policy.workers:
            return self._workers_step(self.policy, phase, own)
        played: list[tuple[Proposal, Outcome]] = []
        batch = self.batches.batch(self.step, self.plan.timeline.progress(self.step))
        parts = _parts(batch, self.plan.optimisation.accumulate)
        for part in parts:
            proposal = self.policy.propose(part, self.plan.grid, self.generator)
            images = part.images.to(memory_format=self.layout)
            with self.fabric.autocast(), torch.set_grad_enabled(phase.network):
                outcome = self.objective(replace(part, images=images), proposal.mask)
            if phase.network:
                self.fabric.backward(outcome.loss / len(parts))
            played.append((proposal, outcome))
        figures = self._update() if phase.network else {}
        learnt = [self._learn(*one) if phase.policy else {} for one in played]
        seen = [
            {"loss": outcome.loss.detach(), **outcome.figures, **more}
            for (_, outcome), more in zip(played, learnt, strict=True)
        ]
        return {**_averaged(seen), **figures}

    def _learn(self, proposal: Proposal, outcome: Outcome) -> dict[str, Tensor]:
        """Let the policy learn; what it refuses to learn from gets its place in the run."""
        try:
            return self.policy.learn(proposal, outcome)
        except UserError as error:
            ended = self.ends[len(self.history) - 1] if self.history else 0
            raise UserError(
                f"pretrain {self.plan.replicate}, step {self.step + 1} (epoch "
                f"{len(self.history) + 1}, batch {self.step - ended + 1}): {error}"
            ) from None

    def _prepare(self, phase: Phase, own: int) -> None:
        """Set mode and learning rate; in a later phase's first step, begin anew.

        A run that is resumed at that step does the same again, to the same end.
        """
        self.objective.train(phase.network)
        if not phase.network:
            return
        if own == 0 and self.step:
            if phase.fresh:
                self.objective.load_state_dict(self.untrained)
            self.optimiser = self._build_optimiser()
        for group in self.optimiser.param_groups:
            group["lr"] = group["share"] * self.plan.optimisation.rate(own, phase.steps)

    def _workers_step(self, policy: SharedPolicy, phase: Phase, own: int) -> dict[str, Tensor]:
        """Return the figures of a step that a worker made; the first calls the workers."""
        if self.workers is None:
            weights = {
                name: tensor.detach().cpu().clone().share_memory_()
                for name, tensor in self.objective.state_dict().items()
            }
            shift = Shift(
                assemble=self.plan.assemble,
                shared=policy.share(),
                weights=weights,
                timeline=self.plan.timeline,
                last=self.step - own + phase.steps,
                grid=self.plan.grid,
                seed=self.plan.seed,
                mask_generator=self.generator.get_state(),
                channels_last=self.plan.channels_last,
                threads=max(1, torch.get_num_threads() // policy.workers),
            )
            self.workers = PolicyWorkers(shift, self.step, policy.workers, self.plan.replicate)
        figures = self.workers.figures()
        if own + 1 == phase.steps:
            self._dismiss()
        return figures

    def _dismiss(self) -> None:
        if self.workers is not None:
            workers, self.workers = self.workers, None
            workers.close()
            self.generator.set_state(workers.mask_generator)

    def _build_optimiser(self) -> torch.optim.Optimizer:
        optimiser = build_optimiser(self.plan.optimisation, self.objective)
        return cast(torch.optim.Optimizer, self.fabric.setup_optimizers(optimiser))

    def _update(self) -> dict[str, Tensor]:
        norm = self.fabric.clip_gradients(
            self.objective,
            self.optimiser,
            max_norm=self.plan.optimisation.longest_gradient,
            error_if_nonfinite=False,  # would wait for the device at every step
        )
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.objective.stepped(self.plan.timeline.network_progress(self.step + 1))
        if norm is None:
            raise ValueError("Fabric returned no gradient norm")
        return {"gradient_norm": norm}

    def _end_epoch(self, shown: Bar) -> None:
        self._check_finite()
        epoch = len(self.history) + 1
        row = {"epoch": epoch, "step": self.step, **self.means.read()}
        row["learning_rate"] = max(group["lr"] for group in self.optimiser.param_groups)
        row |= measure(self.probe, self.policy, self._looking(epoch))
        if epoch in self.moments:
            with self.fabric.autocast():
                # The same stream: what is drawn and kept is what was measured.
                frame = draw(self.probe, self.policy, self.objective, self._looking(epoch))
            self.frames[epoch] = frame
            row |= frame.errors
        if epoch in self.watched and self.watch is not None:
            figures = self.watch.measure(self.objective, self.device)
            shown.say(told(figures))
            row |= figures
        self.history.append(row)
        if self.plan.stop_collapsed and collapsed(_table(self.history)):
            raise UserError(
                f"pretrain {self.plan.replicate}: {COLLAPSED} (epoch {epoch}; "
                "pretrain.on_collapse: warn goes on all the same)"
            )
        if self.plan.report is not None:
            self.plan.report(row)

    def _looking(self, epoch: int) -> Generator:
        """Return a generator of its own: looking at the policy changes nothing of the run."""
        generator = Generator(self.device)
        return generator.manual_seed(seeds.torch_seed(self.plan.seed, "measure", epoch))

    def _check_finite(self) -> None:
        step = self.means.first_broken()
        if step is None:
            return
        images = self.batches.batch(step, 0.0).images
        rate = self.plan.optimisation.learning_rate
        cause = (
            "likely the learning rate is too high: lower optimisation.learning_rate (now "
            f"{rate:g}) or optimisation.clip_norm"
            if bool(images.isfinite().all())
            else "the images of that step hold values that are not finite: run preprocess again"
        )
        raise UserError(
            f"pretrain {self.plan.replicate}: the loss or its gradient is no longer a finite "
            f"number at step {step + 1} (epoch {len(self.history) + 1}); {cause}. The last "
            "good checkpoint is kept; a changed recipe starts anew"
        )

    def _leave(self, interruption: Interruption) -> None:
        message = (
            f"pretrain {self.plan.replicate}: stopped after step {self.step} of {self.steps}, "
            "and a checkpoint was saved; run the same command again to go on from there"
        )
        if interruption.received == signal.SIGTERM:
            raise Terminated(message)
        raise KeyboardInterrupt(message)

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "threads": torch.get_num_threads(),
            "objective": self.objective.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "policy": self.policy.state_dict(),
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self._on_cuda else None,
            "means": self.means.state_dict(),
            "history": self.history,
            "frames": {epoch: _plain(frame) for epoch, frame in self.frames.items()},
        }

    @property
    def _on_cuda(self) -> bool:
        return self.device.type == "cuda"

    def _resume(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.load()
        if state is None:
            return
        self.step = state["step"]
        self.objective.load_state_dict(state["objective"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.policy.load_state_dict(state["policy"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        if self._on_cuda and state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.device)
        self.means.load_state_dict(state["means"])
        self.history = state["history"]
        self.frames = {epoch: _frame(plain) for epoch, plain in state["frames"].items()}
        log.info(
            "pretrain %s: going on after step %d of %d.",
            self.plan.replicate,
            self.step,
            self.steps,
        )
        if state["threads"] != torch.get_num_threads():
            log.warning(
                "pretrain %s: began with %d threads and goes on with %d: the weights will "
                "differ in their last bits from those of an uninterrupted run.",
                self.plan.replicate,
                state["threads"],
                torch.get_num_threads(),
            )


def _parts(batch: Batch, number: int) -> list[Batch]:
    if number == 1:
        return [batch]
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}
    chunks = {
        name: value.chunk(number) for name, value in values.items() if isinstance(value, Tensor)
    }
    return [
        replace(batch, **cast(Any, {name: chunk[i] for name, chunk in chunks.items()}))
        for i in range(number)
    ]


def _averaged(figures: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    if len(figures) == 1:
        return figures[0]
    return {
        name: torch.stack([part[name] for part in figures if name in part]).mean()
        for name in {name: None for part in figures for name in part}
    }


def _table(rows: list[dict[str, float]]) -> pd.DataFrame:
    names = list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]))
    table = pd.DataFrame(rows, columns=names)
    return table.astype({"epoch": np.int64, "step": np.int64})


def _plain(frame: Frame) -> dict[str, Any]:
    arrays = {f.name: getattr(frame, f.name) for f in fields(frame)}
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in arrays.items()
    }


def _frame(plain: Mapping[str, Any]) -> Frame:
    values: dict[str, Any] = {
        name: value.numpy() if isinstance(value, Tensor) else value
        for name, value in plain.items()
    }
    return Frame(**values)
