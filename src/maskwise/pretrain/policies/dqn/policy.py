"""Intelligent Masking: deep Q-learning chooses the box that is hardest to fill in.

Bahrami, Ghorbani and Navab, MLMI 2022 (arXiv 2203.13865). What is the paper's, what its
release's and what ours stands in ``docs/methods/intelligent_masking.md``, by number.
"""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import huber_loss

from maskwise.artefacts.encoder import fill
from maskwise.masks import Grid
from maskwise.pretrain.contracts import Batch, Outcome, PlaceMap, Proposal, Setting
from maskwise.pretrain.policies.cells import filled, hidden_cells, uniform
from maskwise.pretrain.policies.dqn import reward
from maskwise.pretrain.policies.dqn.episode import (
    Chooser,
    Episode,
    any_best,
    first_best,
    nth_allowed,
    play,
)
from maskwise.pretrain.policies.dqn.network import EncoderCopy, SmallQ
from maskwise.pretrain.policies.dqn.places import Places
from maskwise.pretrain.policies.dqn.replay import Memory, Remembered
from maskwise.pretrain.policies.dqn.reward import Expectation
from maskwise.pretrain.schedule import learning_rate

if TYPE_CHECKING:  # the options build what they are of
    from maskwise.pretrain.policies.dqn.config import DqnConfig


@dataclass(frozen=True)
class DqnProposal(Proposal):
    """The mask, and the episode that led to it."""

    batch: Batch
    episode: Episode
    epsilon: float
    step: int
    """How often the network had learnt when Q was computed."""


class Dqn:
    """The policy: a Q-network that is regressed on the errors of the places it chose."""

    learns = True

    def __init__(self, config: "DqnConfig", setting: Setting) -> None:
        self.config, self.setting = config, setting
        overhang = config.actions == "all_cells"
        self.places = Places(setting.grid, config.box, config.stride, overhang)
        # The release's agent spends most of a step in maps of full size: 1.75 times faster.
        self.network = cast(Any, self._build_network()).to(memory_format=torch.channels_last)
        self.target = copy.deepcopy(self.network).requires_grad_(False)
        self.optimiser = torch.optim.Adam(self.network.parameters(), config.learning_rate)
        self.expectation = Expectation(
            config.baseline,
            config.scale == "deviation",
            config.baseline_decay,
            setting.rows,
            self.places.number,
            config.clip,
        )
        seeds = torch.randint(2**62, (2,)).tolist()
        self.tie_seed, self.step = int(seeds[0]), 0
        self.memory = Memory(config.replay, config.boxes, int(seeds[1]))

    def _build_network(self) -> nn.Module:
        config, setting = self.config, self.setting
        if config.q_network == "encoder_copy":
            return EncoderCopy(setting.channels, self.places, setting.height, setting.width)
        return SmallQ(
            setting.channels,
            self.places,
            config.width,
            config.norm,
            config.head,
            config.dueling,
            sees_hidden=config.boxes > 1,
        )

    def propose(self, batch: Batch, grid: Grid, generator: Generator) -> DqnProposal:
        """Choose ``boxes`` boxes per image; Q is computed once, and learnt from later."""
        epsilon = self.config.epsilon.at(batch.progress)
        # Two draws per image and box whatever epsilon is: changing it shifts no other draw.
        shape = (self.config.boxes, 2, len(batch.images))
        draws = torch.rand(shape, generator=generator, device=generator.device)
        draws = draws.to(batch.images.device)

        def choose(q: Tensor, allowed: Tensor, turn: int) -> Tensor:
            coin, share = draws[turn]
            best = self._greedy(q, allowed, batch.index, turn)
            # As in the release, no box overhangs while exploring, unless no other is left.
            whole = allowed & self.places.inside(allowed.device)
            explored = torch.where(whole.any(1, keepdim=True), whole, allowed)
            return torch.where(coin < epsilon, nth_allowed(explored, share), best)

        self.network.train()
        with torch.enable_grad():
            episode = self._play(batch.images, choose)
        mask = self._filled(episode.hidden[-1], generator)
        return DqnProposal(mask, batch, episode, epsilon, self.step)

    def _filled(self, mask: Tensor, generator: Generator) -> Tensor:
        """Hide further cells beside an episode's boxes; they are in no box's reward."""
        if self.config.fill_to is None:
            return mask
        grid = self.setting.grid
        number = hidden_cells(self.config.fill_to, grid)
        return filled(mask, number, uniform(mask, grid, generator))

    def _play(self, images: Tensor, choose: Chooser) -> Episode:
        config = self.config
        return play(self.network, images, self.places, config.boxes, config.least_new, choose)

    def _greedy(self, q: Tensor, allowed: Tensor, index: Tensor, turn: int) -> Tensor:
        if self.config.ties == "first":
            return first_best(q, allowed)
        key = self.tie_seed + self.step * self.config.boxes + turn
        return any_best(q, allowed, index, key)

    def learn(self, proposal: DqnProposal, outcome: Outcome) -> dict[str, Tensor]:
        """Regress the chosen places' Q on what they were worth, in one optimiser step."""
        batch, episode = proposal.batch, self._up_to_date(proposal)
        raw = self._rewards(episode, batch.images, outcome)
        reward.refuse_infinite(raw, self.step)
        told = reward.another(raw, self.step) if self.config.told == "shuffled" else raw
        rewards = self.expectation.normalise(told, batch.index, episode.chosen, episode.played)
        sample = self.memory.sample(self.step) if self.config.replay.capacity else None
        losses, weights = self._losses(batch.images, episode, rewards)
        if sample is not None:
            more = self._remembered_losses(sample, batch.images.device)
            losses, weights = (
                torch.cat(pair, 1) for pair in zip((losses, weights), more, strict=True)
            )
        loss = (losses * weights).sum() / weights.sum()
        norm = self._update(loss, batch.progress)
        if self.config.replay.capacity:
            self.memory.add(
                Remembered(batch.index, batch.augmentation_seed, episode.chosen, rewards),
                self.step,
            )
        self.step += 1
        figures = {
            "reward": raw.sum(0).mean(),
            "policy_loss": loss.detach(),
            "policy_gradient_norm": norm,
            "epsilon": norm.new_tensor(proposal.epsilon),
        }
        return figures | self._own_figures(episode, raw, outcome)

    def _up_to_date(self, proposal: DqnProposal) -> Episode:
        """Return the episode with the present network's Q.

        When gradients accumulate, several parts of a batch are proposed before any is learnt
        from, and the first part's update outdates the graphs of the others.
        """
        places = proposal.episode.chosen
        if proposal.step == self.step:
            return proposal.episode
        return self._play(proposal.batch.images, lambda q, allowed, turn: places[turn])

    def _rewards(self, episode: Episode, images: Tensor, outcome: Outcome) -> Tensor:
        """Return what each box was worth, ``(T, B)``, before anything is taken off."""
        if self.config.reward == "sum_full":
            return reward.full_sums(outcome)
        area = torch.stack([self.places.masks(p).sum((1, 2)) for p in episode.chosen])
        errors = reward.cell_errors(outcome, self.setting.grid, self.config.pool_px)
        means = reward.box_means(errors, episode.fresh, area)
        if self.config.normalise == "none":
            return means
        floor = self.config.variance_floor
        return reward.unexplained(means, images, episode.fresh, area, floor)

    def _losses(
        self, images: Tensor, episode: Episode, rewards: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the loss of every chosen place ``(T, N)`` and 1 where a box was played."""
        chosen = episode.q.gather(2, episode.chosen[:, :, None])[:, :, 0]
        goal = rewards + self._later(images, episode)
        if self.config.loss == "squared":
            losses = (chosen - goal).square()
        else:
            losses = huber_loss(chosen, goal, reduction="none")
        return losses, episode.played.to(losses.dtype)

    def _later(self, images: Tensor, episode: Episode) -> Tensor:
        """Return discount * the target network's value of the next state, ``(T, N)``."""
        later = torch.zeros_like(episode.q[:, :, 0]).detach()
        if self.config.boxes == 1 or self.config.discount == 0:
            return later
        allowed = episode.allowed[1:]
        with torch.no_grad():
            value = torch.stack(
                [
                    self.target(images, hidden, places)
                    for hidden, places in zip(episode.hidden[1:-1], allowed, strict=True)
                ]
            ).masked_fill(~allowed, -torch.inf)
            judge = episode.q[1:].detach().masked_fill(~allowed, -torch.inf)
            best = (judge if self.config.double else value).argmax(2, keepdim=True)
            value = value.gather(2, best)[:, :, 0]
        later[:-1] = self.config.discount * torch.where(episode.played[1:], value, 0.0)
        return later

    def _remembered_losses(
        self, sample: Remembered, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Play remembered episodes again on rebuilt images, and compare with their rewards."""
        images = self.setting.images(sample.index, sample.augmentation_seed).to(device)
        places = sample.places.to(device)
        episode = self._play(images, lambda q, allowed, turn: places[turn])
        return self._losses(images, episode, sample.rewards.to(device))

    def _update(self, loss: Tensor, progress: float) -> Tensor:
        """Step the network, then move the target network; return the gradient's norm."""
        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(config.schedule, config.learning_rate, 0, progress, 1)
        self.optimiser.zero_grad()
        loss.backward()
        limit = torch.inf if config.gradient_clip is None else config.gradient_clip
        norm: Tensor = nn.utils.clip_grad_norm_(self.network.parameters(), limit)
        self.optimiser.step()
        if (self.step + 1) % config.target.every == 0:
            config.target.follow(self.network, self.target)
        return norm

    def _own_figures(
        self, episode: Episode, raw: Tensor, outcome: Outcome
    ) -> dict[str, Tensor]:
        """Return the figures that only some options have."""
        figures: dict[str, Tensor] = {}
        if self.config.boxes > 1:
            figures["ended_early"] = (~episode.played.all(0)).float().mean()
        if self.config.actions == "all_cells":
            whole = self.places.inside(raw.device)
            figures["overhanging"] = (~whole[episode.chosen]).float().mean()
        if self.config.reward == "sum_full":
            figures["reward_outside"] = reward.share_outside(outcome, raw[0])
        return figures

    def maps(self, images: Tensor, grid: Grid) -> PlaceMap:
        """Return the Q-map over the first box's places."""
        hidden = images.new_zeros((len(images), *self.setting.grid), dtype=torch.bool)
        inputs = (images, hidden, self.places.allowed(hidden, 0.0))
        parts = zip(*(each.split(self.setting.batch_size) for each in inputs), strict=True)
        self.network.eval()
        with torch.no_grad():
            q = torch.cat([self.network(*part) for part in parts])
        values = q.reshape(-1, *self.places.shape)
        return PlaceMap(values, self.places.box, self.places.stride)

    def choose_masks(self, images: Tensor, grid: Grid, generator: Generator) -> Tensor:
        """Return the greedy masks; nothing is drawn but what fills them up."""
        inputs = (images, torch.arange(len(images), device=images.device))
        parts = zip(*(each.split(self.setting.batch_size) for each in inputs), strict=True)
        self.network.eval()
        with torch.no_grad():
            masks = torch.cat([self._greedy_masks(*part) for part in parts])
        return self._filled(masks, generator)

    def _greedy_masks(self, images: Tensor, index: Tensor) -> Tensor:
        episode = self._play(
            images, lambda q, allowed, turn: self._greedy(q, allowed, index, turn)
        )
        return episode.hidden[-1]

    def map_state(self) -> dict[str, Tensor]:
        """Return the network; ``maps`` needs no more."""
        return dict(self.network.state_dict())

    def load_map_state(self, state: dict[str, Tensor], where: str) -> None:
        """Take the network back, all of it."""
        fill(self.network, state, where)

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "target": self.target.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "expectation": self.expectation.state_dict(),
            "memory": self.memory.state_dict(),
            "tie_seed": self.tie_seed,
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("network", "target", "optimiser", "expectation", "memory"):
            getattr(self, name).load_state_dict(state[name])
        self.tie_seed, self.step = int(state["tie_seed"]), int(state["step"])

    def to(self, device: torch.device | str) -> "Dqn":
        """Move networks and running means; replay stays where images are rebuilt."""
        self.network.to(device)
        self.target.to(device)
        self.expectation.to(device)
        # Adam's moments follow the parameters when a state is loaded.
        self.optimiser.load_state_dict(self.optimiser.state_dict())
        return self
