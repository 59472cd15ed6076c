"""The one training loop. It names no policy and no objective."""

import logging
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

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
from maskwise.pretrain.divergence import Diverged
from maskwise.pretrain.learner import Course, DivergedError, Learner, parts_of
from maskwise.pretrain.means import Means
from maskwise.pretrain.phases import Phase
from maskwise.pretrain.policy_workers import Assemble, PolicyWorkers, Shift, check_shareable
from maskwise.pretrain.records import Report, averaged, framed, plain, table_of
from maskwise.pretrain.schedule import epoch_ends, moments
from maskwise.pretrain.together import begin_together, lead
from maskwise.progress import Bar, bar, note
from maskwise.ranks import ALONE, Ranks
from maskwise.wording import count

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger(__name__)

SHOWN_EVERY = 20
"""Steps after which whoever watches is shown a step's own figures, for which a GPU waits."""


@dataclass(frozen=True)
class Plan:
    """What the loop is to do."""

    replicate: str
    """For messages: recipe and seed."""
    seed: int
    grid: Grid
    course: Course
    """How the network learns."""
    checkpoint_every: int
    """Steps."""
    gallery_moments: int
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
    pixels: bool = True
    """Whether the policy learns from the error of every pixel."""
    live: bool = False
    """Whether somebody watches: figures go to Fabric's loggers."""
    finite_only: bool = False
    """Whether every step is looked at for numbers that are not finite."""
    keep: Callable[[Diverged], str] = lambda diverged: ""
    """Keeps a step that diverged, and returns a sentence about it."""


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
        ranks: Ranks = ALONE,
    ) -> None:
        self.plan, self.fabric, self.batches, self.ranks = plan, fabric, batches, ranks
        self.device = fabric.device
        self.learner = Learner(plan.course, fabric, objective, ranks)
        self.policy = policy
        policy.to(self.device)
        self.probe = probe.to(self.device)
        self.generator = Generator(self.device)
        self.generator.manual_seed(seeds.torch_seed(plan.seed, "mask"))
        self.step = 0
        self.timeline = plan.course.timeline
        self.steps = self.timeline.steps
        self.ends = epoch_ends(self.steps, batches.steps_per_epoch)
        self.moments = moments(len(self.ends), plan.gallery_moments)
        self.watch = watch
        looks = len(self.ends) if plan.stop_collapsed else plan.watches
        self.watched = moments(len(self.ends), looks) if looks else set()
        self.means = Means(self.device)
        self.history: list[dict[str, float]] = []
        self.frames: dict[int, Frame] = {}
        self.workers: PolicyWorkers | None = None
        check_shareable(policy, self.timeline, self.device, plan.replicate, ranks.number)

    @property
    def objective(self) -> Objective:
        """The network that is trained."""
        return self.learner.objective

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
            begin_together(self.learner, self.step)
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
        history = table_of(self.history)
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
            made = self._one_step()
            self.means.add(self.step, made)
            self.step += 1
            shown.step()
            if self.plan.live and self.step % SHOWN_EVERY == 0:
                told_now = {name: float(value) for name, value in made.items()}
                self.fabric.log_dict(told_now, step=self.step)
            if self.step in self.plan.snapshots:
                self._check_finite()
                self.plan.snapshots[self.step]()
            if self.step == self.ends[len(self.history)]:
                self._end_epoch(shown)
            stop = interruption.received is not None
            last = self.step == self.steps  # of use when what comes out cannot be saved
            due = last or self.step % self.plan.checkpoint_every == 0
            if stop or due or interruption.wants_checkpoint:
                interruption.wants_checkpoint = False
                self._check_finite()
                checkpoint.save(self._state())
            if stop:
                self._leave(interruption)

    def _one_step(self) -> dict[str, Tensor]:
        """Propose, answer, go backward, step, learn; return the step's figures."""
        phase, own = self.timeline.at(self.step)
        self.learner.prepare(phase, own, self.step)
        if not phase.network and isinstance(self.policy, SharedPolicy) and self.policy.workers:
            return self._workers_step(self.policy, phase, own)
        draws = self._draws() if self.plan.finite_only else {}
        played: list[tuple[Proposal, Outcome]] = []
        batch = self.batches.batch(self.step, self.timeline.progress(self.step))
        parts = parts_of(batch, self.plan.course.optimisation.accumulate)
        for part in parts:
            proposal = self.policy.propose(part, self.plan.grid, self.generator)
            outcome = lead(self.learner, part, proposal.mask, phase, self.plan.pixels)
            played.append((proposal, outcome))
        figures = {}
        if phase.network:
            try:
                self._check_losses(outcome for _, outcome in played)
                figures = {
                    "gradient_norm": self.learner.update(self.step, self.plan.finite_only)
                }
            except DivergedError:
                self._diverged(self.step, self._kept(batch, played, draws))
        learnt = [self._learn(*one) if phase.policy else {} for one in played]
        seen = [
            {"loss": outcome.loss.detach(), **outcome.figures, **more}
            for (_, outcome), more in zip(played, learnt, strict=True)
        ]
        return {**averaged(seen), **figures}

    def _check_losses(self, outcomes: Iterable[Outcome]) -> None:
        if self.plan.finite_only:
            losses = torch.stack([outcome.loss.detach() for outcome in outcomes])
            if not bool(losses.isfinite().all()):
                raise DivergedError

    def _draws(self) -> dict[str, Tensor]:
        """Return the generators' states before a step draws anything."""
        return {"mask": self.generator.get_state(), "torch": torch.get_rng_state()}

    def _kept(
        self, batch: Batch, played: list[tuple[Proposal, Outcome]], draws: dict[str, Tensor]
    ) -> Diverged:
        return Diverged(
            step=self.step,
            network=self.objective.state_dict(),
            batch=batch,
            mask=torch.cat([proposal.mask for proposal, _ in played]),
            draws=draws,
            losses=[float(outcome.loss.detach()) for _, outcome in played],
        )

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
                timeline=self.timeline,
                last=self.step - own + phase.steps,
                grid=self.plan.grid,
                seed=self.plan.seed,
                mask_generator=self.generator.get_state(),
                channels_last=self.plan.course.channels_last,
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

    def _end_epoch(self, shown: Bar) -> None:
        self._check_finite()
        epoch = len(self.history) + 1
        row = {"epoch": epoch, "step": self.step, **self.means.read()}
        row["learning_rate"] = max(group["lr"] for group in self.learner.optimiser.param_groups)
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
        if self.plan.live:
            self.fabric.log_dict(
                {f"epoch/{name}": each for name, each in row.items()}, self.step
            )
        if self.plan.stop_collapsed and collapsed(table_of(self.history)):
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
        if step is not None:
            self._diverged(step, None)

    def _diverged(self, step: int, kept: Diverged | None) -> NoReturn:
        """Say at which step the loss or its gradient broke, why, and where the step is kept."""
        images = self.batches.batch(step, 0.0).images
        rate = self.plan.course.optimisation.learning_rate
        cause = (
            "likely the learning rate is too high: lower optimisation.learning_rate (now "
            f"{rate:g}) or optimisation.clip_norm"
            if bool(images.isfinite().all())
            else "the images of that step hold values that are not finite: run preprocess again"
        )
        replay = (
            "pretrain.finite_checks: step keeps such a step, to be looked at"
            if kept is None
            else self.plan.keep(kept)
        )
        raise UserError(
            f"pretrain {self.plan.replicate}: the loss or its gradient is no longer a finite "
            f"number at step {step + 1} (epoch {len(self.history) + 1}); {cause}. The last "
            f"good checkpoint is kept; a changed recipe starts anew; {replay}"
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
            "processes": self.ranks.number,
            **self.learner.state_dict(),
            "policy": self.policy.state_dict(),
            "generator": self.generator.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self._on_cuda else None,
            "means": self.means.state_dict(),
            "history": self.history,
            "frames": {epoch: plain(frame) for epoch, frame in self.frames.items()},
        }

    @property
    def _on_cuda(self) -> bool:
        return self.device.type == "cuda"

    def _resume(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.load()
        if state is None:
            return
        self.step = state["step"]
        self.learner.load_state_dict(state)
        self.policy.load_state_dict(state["policy"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        if self._on_cuda and state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.device)
        self.means.load_state_dict(state["means"])
        self.history = state["history"]
        self.frames = {epoch: framed(plain) for epoch, plain in state["frames"].items()}
        log.info(
            "pretrain %s: going on after step %d of %d.",
            self.plan.replicate,
            self.step,
            self.steps,
        )
        self._warn_of_change("thread", state["threads"], torch.get_num_threads())
        self._warn_of_change("process", state["processes"], self.ranks.number)

    def _warn_of_change(self, what: str, before: int, now: int) -> None:
        if before != now:
            log.warning(
                "pretrain %s: began with %s and goes on with %d: the weights will differ in "
                "their last bits from those of an uninterrupted run.",
                self.plan.replicate,
                count(before, what),
                now,
            )
