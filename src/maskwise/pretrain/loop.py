"""The one training loop. It names no policy and no objective."""

import logging
import signal
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn

import pandas as pd
import torch
from torch import Generator, Tensor

from maskwise import seeds
from maskwise.artefacts.gallery import Gallery
from maskwise.errors import Terminated, UserError
from maskwise.interruption import Interruption, interruptions
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
from maskwise.pretrain.diagnostics import Probe, Watch
from maskwise.pretrain.divergence import Diverged
from maskwise.pretrain.epochs import Epochs
from maskwise.pretrain.learner import DivergedError, Learner, parts_of
from maskwise.pretrain.phases import Phase
from maskwise.pretrain.plan import Plan
from maskwise.pretrain.policy_workers import PolicyWorkers, Shift, check_shareable
from maskwise.pretrain.records import averaged
from maskwise.pretrain.together import begin_together, lead
from maskwise.progress import Bar, bar, note
from maskwise.ranks import ALONE, Ranks
from maskwise.wording import count

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger(__name__)

SHOWN_EVERY = 20
"""Steps after which whoever watches is shown a step's own figures, for which a GPU waits."""


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
        self.generator = Generator(self.device)
        self.generator.manual_seed(seeds.torch_seed(plan.seed, "mask"))
        self.step = 0
        self.timeline = plan.course.timeline
        self.steps = self.timeline.steps
        per_epoch = batches.steps_per_epoch
        self.epochs = Epochs(plan, fabric, self.learner, policy, probe, watch, per_epoch)
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
        return self.epochs.results()

    def _train(self, checkpoint: Checkpoint, interruption: Interruption, shown: Bar) -> None:
        if self.step == 0:
            self.epochs.begin()
        while self.step < self.steps:
            shown.epoch(self.epochs.now, self.epochs.number)
            made = self._one_step()
            self.epochs.means.add(self.step, made)
            self.step += 1
            shown.step()
            if self.plan.live and self.step % SHOWN_EVERY == 0:
                told_now = {name: float(value) for name, value in made.items()}
                self.fabric.log_dict(told_now, step=self.step)
            if self.step in self.plan.snapshots:
                self._check_finite()
                self.plan.snapshots[self.step]()
            if self.epochs.over(self.step):
                self._check_finite()
                self.epochs.end(self.step, shown.say)
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
            raise UserError(
                f"pretrain {self.plan.replicate}, step {self.step + 1} (epoch "
                f"{self.epochs.now}, batch {self.step - self.epochs.begun + 1}): {error}"
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

    def _check_finite(self) -> None:
        step = self.epochs.means.first_broken()
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
            f"number at step {step + 1} (epoch {self.epochs.now}); {cause}. The last "
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
            **self.epochs.state_dict(),
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
        self.epochs.load_state_dict(state)
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
