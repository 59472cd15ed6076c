"""Adaptive hard masking: an actor-critic learns which cells are hard to fill in.

A re-construction of Xu et al., IEEE TMI 44(1), 2025 (doi 10.1109/TMI.2024.3436608) from its
abstract, its README and a third-party re-implementation; neither its text nor its authors' code
was available. What is read and what is ours stands in ``docs/methods/ahm.md``, by number.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor, nn

from maskwise.artefacts.encoder import fill
from maskwise.masks import Grid
from maskwise.pretrain.contracts import Batch, Outcome, PlaceMap, Proposal, Setting
from maskwise.pretrain.policies.a3c.advantage import ADVANTAGES, standardised, value_loss
from maskwise.pretrain.policies.a3c.bernoulli import (
    balanced,
    bernoulli_entropy,
    bernoulli_overlap,
)
from maskwise.pretrain.policies.a3c.network import PolicyValueNetwork
from maskwise.pretrain.policies.a3c.pairs import law
from maskwise.pretrain.policies.a3c.reward import cell_errors, credited, scaled
from maskwise.pretrain.policies.a3c.sampling import Choice, softmax_entropy
from maskwise.pretrain.policies.a3c.shared import Shared
from maskwise.pretrain.policies.cells import hidden_cells, uniform
from maskwise.pretrain.schedule import learning_rate

if TYPE_CHECKING:  # the options build what they are of
    from maskwise.pretrain.policies.a3c.config import A3cConfig


@dataclass(frozen=True)
class A3cProposal(Proposal):
    """The mask, and what its probability depends on."""

    batch: Batch
    choice: Choice
    scores: Tensor
    """``(B, L)``, the logits that were drawn from, with their graph."""
    values: Tensor
    """``(B, L)``, with their graph."""
    overlap: Tensor
    """``()``, share of a mask that another draw would hide too."""
    step: int
    """How often the network had learnt when it was asked."""


@dataclass(frozen=True)
class Judgement:
    """What a draw teaches."""

    loss: Tensor
    """``()``, with its graph."""
    usable: Tensor
    """bool ``()``: whether rewards differ, so that there is something to learn."""
    figures: dict[str, Tensor]


class A3c:
    """The policy: one step, one draw, one reward; the batch plays A3C's workers."""

    learns = True

    def __init__(self, config: "A3cConfig", setting: Setting) -> None:
        self.config, self.setting = config, setting
        self.number = hidden_cells(config.ratio, setting.grid)
        self.sample, self.terms = law(config.sampler, config.logp, config.exact_k, self.number)
        self.network = PolicyValueNetwork(
            setting.channels, setting.grid, config.widths, config.bound
        )
        # Fused, because only then an update can be skipped without waiting for the device.
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), config.learning_rate, fused=True
        )
        self.frequency = torch.full((setting.grid[0] * setting.grid[1],), config.ratio)
        """How often each place was hidden lately."""
        self.temperature = torch.ones(())
        self.step = 0
        self.workers = config.workers if config.learner == "asynchronous" else 0
        self.shared: Shared | None = None
        """What this worker teaches together with others."""

    def propose(self, batch: Batch, grid: Grid, generator: Generator) -> A3cProposal:
        """Draw cells; the network is asked once, and learns from that answer later."""
        with torch.enable_grad():
            scores, values = self.scores(batch.images)
        choice = self._choice(scores, uniform(batch.images, grid, generator))
        return A3cProposal(
            mask=choice.mask.reshape(-1, *grid),
            batch=batch,
            choice=choice,
            scores=scores,
            values=values,
            overlap=self._overlap(scores, choice, uniform(batch.images, grid, generator)),
            step=self.step,
        )

    def scores(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits that are drawn from and the values, each ``(B, L)``."""
        logits, values = self.network(images)
        logits = logits / self.temperature
        if self.config.logp == "bernoulli":
            logits = balanced(logits, self.number)
        return logits, values

    def _choice(self, scores: Tensor, draws: Tensor) -> Choice:
        choice = self.sample(scores, self.number, draws)
        # Judged cell by cell, picks have no order, whatever drew them.
        return replace(choice, order=None) if self.config.logp == "bernoulli" else choice

    def _overlap(self, scores: Tensor, choice: Choice, draws: Tensor) -> Tensor:
        if self.config.sampler == "bernoulli":
            return bernoulli_overlap(scores)
        again = self._choice(scores, draws)
        return (choice.mask & again.mask).sum() / choice.mask.sum()

    def learn(self, proposal: A3cProposal, outcome: Outcome) -> dict[str, Tensor]:
        """Make one optimiser step, unless every draw earned the same."""
        judgement = self.judge(self._up_to_date(proposal), outcome)
        norm, skipped = self._update(judgement, proposal.batch.progress)
        # In place: several workers may share them.
        self.temperature.copy_(
            self.config.temperature.after(self.temperature, proposal.overlap)
        )
        decay = self.config.reward.balance_decay
        hidden = proposal.choice.mask.to(self.frequency.dtype).mean(dim=0)
        self.frequency.lerp_(hidden, 1 - decay)
        self.step += 1
        figures = {
            **judgement.figures,
            "policy_gradient_norm": norm,
            "overlap": proposal.overlap,
            "skipped_updates": skipped,
        }
        if self.config.temperature.most_overlap is not None:
            figures["temperature"] = self.temperature
        return figures

    def _up_to_date(self, proposal: A3cProposal) -> A3cProposal:
        """Return the proposal with the present network's scores of the cells it chose.

        When gradients accumulate, several parts of a batch are proposed before any is learnt
        from, and the first part's update outdates the graphs of the others.
        """
        if proposal.step == self.step:
            return proposal
        scores, values = self.scores(proposal.batch.images)
        return replace(proposal, scores=scores, values=values)

    def judge(self, proposal: A3cProposal, outcome: Outcome) -> Judgement:
        """Return what the draw teaches, without teaching it."""
        config, choice = self.config, proposal.choice
        errors = cell_errors(outcome, self.setting.grid, config.reward.blur_px)
        cells = self._cell_rewards(errors)
        rewards = self._told(credited(cells, choice, config.reward.credit))
        advantages = ADVANTAGES[config.advantage](
            rewards, proposal.scores.detach(), proposal.values.detach(), choice
        )
        weights, usable = standardised(advantages, rewards)
        policy_loss = -(weights * self.terms(proposal.scores, choice)).mean()
        critic_loss, explained = value_loss(
            config.advantage, proposal.values, rewards, self._told(cells), choice
        )
        entropy = self._entropy(proposal.scores)
        loss = policy_loss + config.value_weight * critic_loss
        loss = loss - config.entropy_weight * entropy
        figures = {
            "reward": errors.nanmean(dim=1).mean(),
            "policy_loss": policy_loss.detach(),
            "value_loss": critic_loss.detach(),
            "value_explained": explained,
            "advantage_above": (advantages > 0).float().mean(),
            "policy_entropy": entropy.detach(),
        }
        return Judgement(loss, usable, figures)

    def _cell_rewards(self, errors: Tensor) -> Tensor:
        """Return what each hidden cell earned, ``(B, L)``, NaN where visible."""
        reward = self.config.reward
        cells = scaled(errors, reward.scaling)
        if reward.balance > 0:
            cells = cells - reward.balance * (self.frequency - self.config.ratio)
        return cells

    def _told(self, rewards: Tensor) -> Tensor:
        """Return what each image of a batch is told that it earned: a control may lie."""
        told, others = self.config.reward.told, len(rewards) - 1
        if told == "constant":
            return torch.ones_like(rewards)
        if told == "shuffled" and others > 0:
            return rewards.roll(1 + self.step % others, 0)
        return rewards

    def _entropy(self, scores: Tensor) -> Tensor:
        if self.config.logp == "bernoulli":
            return bernoulli_entropy(scores, self.number)
        return softmax_entropy(scores)

    def _update(self, judgement: Judgement, progress: float) -> tuple[Tensor, Tensor]:
        """Step the network; return the gradient's norm, and 1 where the step was skipped."""
        config = self.config
        optimiser = self.optimiser if self.shared is None else self.shared.optimiser
        if config.schedule == "cosine":
            rate = learning_rate("cosine", config.learning_rate, 0, progress, 1)
            for group in optimiser.param_groups:
                group["lr"] = rate
        self.network.zero_grad()
        judgement.loss.backward()
        norm: Tensor = nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_clip)
        skipped = (~(judgement.usable & norm.isfinite())).float()
        if self.shared is not None:
            self.shared.take_gradients(self.network)
        # The optimiser leaves weights, moments and its count alone where this is 1.
        optimiser.found_inf = skipped  # type: ignore[attr-defined]
        optimiser.step()
        if self.shared is not None:
            self.network.load_state_dict(self.shared.network.state_dict())
        return norm, skipped

    def share(self) -> Shared:
        """Move network, moments and running means into shared memory; for workers to join."""
        running = (self.frequency, self.temperature)
        return Shared.of(self.network, self.optimiser, *running, self.step)

    def join(self, shared: Shared) -> None:
        """Teach ``shared`` from now on; the network here becomes a copy that follows it."""
        self.shared = shared
        self.network.load_state_dict(shared.network.state_dict())
        self.frequency, self.temperature = shared.frequency, shared.temperature
        self.step = shared.step

    def maps(self, images: Tensor, grid: Grid) -> PlaceMap:
        """Return the policy map: the logits of all cells."""
        with torch.no_grad():
            logits = torch.cat([self.network(chunk)[0] for chunk in self._chunks(images)])
        return PlaceMap(logits.reshape(-1, *grid), box=(1, 1))

    def _chunks(self, images: Tensor) -> tuple[Tensor, ...]:
        chunks: tuple[Tensor, ...] = images.split(max(1, self.setting.batch_size))
        return chunks

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        """Return one draw for each image."""
        draws = uniform(images, grid, generator)
        with torch.no_grad():
            scores = torch.cat([self.scores(chunk)[0] for chunk in self._chunks(images)])
        return self._choice(scores, draws).mask.reshape(-1, *grid)

    def map_state(self) -> dict[str, Tensor]:
        """Return the network; ``maps`` needs no more."""
        return dict(self.network.state_dict())

    def load_map_state(self, state: dict[str, Tensor], where: str) -> None:
        """Take the network back, all of it."""
        fill(self.network, state, where)

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "frequency": self.frequency,
            "temperature": self.temperature,
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.frequency = state["frequency"].to(self.frequency.device)
        self.temperature = state["temperature"].to(self.temperature.device)
        self.step = int(state["step"])

    def to(self, device: torch.device | str) -> "A3c":
        """Move the network, its optimiser's moments and the running means."""
        self.network.to(device)
        self.frequency = self.frequency.to(device)
        self.temperature = self.temperature.to(device)
        self.optimiser.load_state_dict(self.optimiser.state_dict())
        return self
