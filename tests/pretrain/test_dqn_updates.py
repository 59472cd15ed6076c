"""How ``dqn`` learns: updates, reductions, replay (invariants 5, 6 and 8)."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from maskwise.encoders import ENCODERS
from maskwise.pretrain.objectives.context_encoder import ContextEncoderConfig
from maskwise.pretrain.policies.dqn.policy import Dqn
from pretrain.dqn_toys import a_policy, weights_after
from pretrain.policy_toys import GRID, a_batch, equal, step, zeros

IMAGES = torch.randn(40, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def test_only_the_chosen_places_have_a_gradient() -> None:
    policy = a_policy(IMAGES)
    proposal = policy.propose(a_batch(IMAGES[:8]), GRID, Generator().manual_seed(0))
    proposal.episode.q.retain_grad()
    policy.learn(proposal, zeros(proposal.batch, proposal.mask))
    gradient = proposal.episode.q.grad
    assert gradient is not None
    chosen = torch.zeros_like(gradient, dtype=torch.bool).scatter(
        2, proposal.episode.chosen[:, :, None], True
    )
    assert (gradient[~chosen] == 0).all()
    assert (gradient[chosen] != 0).any()


def test_the_policy_and_the_network_never_feel_each_others_gradient() -> None:
    policy = a_policy(IMAGES)
    objective = ContextEncoderConfig().build(policy.setting, ENCODERS["context_cnn"]().build(1))
    batch = a_batch(IMAGES[:8])
    proposal = policy.propose(batch, GRID, Generator().manual_seed(0))
    outcome = objective(batch, proposal.mask)
    outcome.loss.backward()
    assert all(weight.grad is None for weight in policy.network.parameters())
    objective.zero_grad(set_to_none=True)
    policy.learn(proposal, outcome)
    assert all(weight.grad is None for weight in objective.parameters())
    ours = {id(weight) for group in policy.optimiser.param_groups for weight in group["params"]}
    assert ours == {id(weight) for weight in policy.network.parameters()}


def slow_targets(policy: Dqn, episode: Any, rewards: Tensor, next_q: Tensor) -> Tensor:
    """Return r + discount * value of the next state, image by image and box by box."""
    boxes, number = rewards.shape
    goals = torch.zeros_like(rewards)
    for image in range(number):
        for turn in range(boxes):
            goals[turn, image] = rewards[turn, image]
            if turn + 1 == boxes or not episode.allowed[turn + 1, image].any():
                continue
            places = episode.allowed[turn + 1, image].nonzero()[:, 0].tolist()
            judge = (
                episode.q.detach()[turn + 1, image]
                if policy.config.double
                else next_q[turn, image]
            )
            best = max(places, key=lambda place: float(judge[place]))
            goals[turn, image] += policy.config.discount * next_q[turn, image, best].detach()
    return goals


@pytest.mark.parametrize("double", [True, False])
def test_an_update_equals_one_made_image_by_image(double: bool) -> None:
    options: dict[str, Any] = {
        "boxes": 3,
        "discount": 0.7,
        "double": double,
        "loss": "squared",
        "baseline": "none",
    }
    policy = a_policy(IMAGES, scale="none", gradient_clip=None, target={"every": 5}, **options)
    generator = Generator().manual_seed(0)
    for _ in range(7):
        step(policy, a_batch(IMAGES[:8]), generator)
    proposal = policy.propose(a_batch(IMAGES[8:16], None), GRID, generator)
    episode, outcome = proposal.episode, zeros(proposal.batch, proposal.mask)
    with torch.no_grad():
        next_q = torch.stack(
            [
                policy.target(proposal.batch.images, episode.hidden[t], episode.allowed[t])
                for t in (1, 2)
            ]
        )
    rewards = torch.zeros(3, 8)
    for image in range(8):
        for turn in range(3):
            cells = outcome.error_map[image][episode.fresh[turn, image]]
            rewards[turn, image] = cells.sum() / 9
    goals = slow_targets(policy, episode, rewards, next_q)
    chosen = episode.q.gather(2, episode.chosen[:, :, None])[:, :, 0]
    loss = (chosen - goals).square().mean().detach()
    assert float(policy.learn(proposal, outcome)["policy_loss"]) == pytest.approx(
        float(loss), rel=1e-5
    )


@pytest.mark.parametrize(
    "options",
    [
        {"discount": 0.1},
        {"double": False},
        {"target": {"every": 7, "tau": 0.5}},
        {"least_new": 1.0},
    ],
)
def test_with_one_box_the_rest_of_the_machine_changes_nothing(options: dict[str, Any]) -> None:
    assert equal(weights_after(12, IMAGES), weights_after(12, IMAGES, **options))


def test_without_discount_several_boxes_are_learnt_from_their_own_reward() -> None:
    plain = weights_after(6, IMAGES, boxes=3, discount=0.0)
    other = weights_after(6, IMAGES, boxes=3, discount=0.0, double=False, target={"every": 9})
    assert equal(plain, other)
    assert not equal(plain, weights_after(6, IMAGES, boxes=3, discount=0.9))


def test_a_target_network_that_follows_at_once_is_the_network_itself() -> None:
    policy = a_policy(IMAGES, boxes=2)
    generator = Generator().manual_seed(0)
    for _ in range(3):
        step(policy, a_batch(IMAGES[:8]), generator)
        assert equal(list(policy.network.parameters()), list(policy.target.parameters()))
    # Then double Q-learning chooses and values by the same network.
    double = weights_after(6, IMAGES, boxes=2, double=True)
    assert equal(double, weights_after(6, IMAGES, boxes=2, double=False))


def test_a_hard_target_is_copied_every_few_steps_and_a_soft_one_moves_by_tau() -> None:
    policy = a_policy(IMAGES, boxes=2, target={"every": 3})
    generator = Generator().manual_seed(0)
    fresh = [weight.clone() for weight in policy.target.parameters()]
    for number in range(1, 4):
        step(policy, a_batch(IMAGES[:8]), generator)
        assert equal(fresh, list(policy.target.parameters())) == (number < 3)
    soft = a_policy(IMAGES, boxes=2, target={"tau": 0.25})
    before = [weight.clone() for weight in soft.target.parameters()]
    step(soft, a_batch(IMAGES[:8]), generator)
    for old, ours, theirs in zip(
        before, soft.network.parameters(), soft.target.parameters(), strict=True
    ):
        torch.testing.assert_close(theirs, old + 0.25 * (ours - old))


def test_without_replay_the_current_batch_is_the_sample() -> None:
    assert equal(
        weights_after(6, IMAGES), weights_after(6, IMAGES, replay={"capacity": 0, "batch": 3})
    )
    # With it, but nothing young enough to remember at the first step, likewise.
    assert equal(weights_after(1, IMAGES), weights_after(1, IMAGES, replay={"capacity": 64}))
    assert not equal(
        weights_after(6, IMAGES), weights_after(6, IMAGES, replay={"capacity": 64})
    )


def test_replaying_the_batch_just_seen_gives_its_own_loss_again() -> None:
    policy = a_policy(IMAGES, boxes=2, replay={"capacity": 8, "batch": 500})
    proposal, _ = step(policy, a_batch(IMAGES[:8]), Generator().manual_seed(0))
    sample = policy.memory.sample(policy.step)
    assert sample is not None
    again, _ = policy._remembered_losses(sample, torch.device("cpu"))
    direct, _ = policy._losses(
        IMAGES[:8],
        policy._play(IMAGES[:8], lambda q, allowed, turn: proposal.episode.chosen[turn]),
        policy.memory.rewards,
    )
    torch.testing.assert_close(again, direct[:, sample.index])


def test_replay_holds_no_pixels_forgets_the_oldest_and_the_aged() -> None:
    policy = a_policy(IMAGES, replay={"capacity": 20, "batch": 64, "max_age": 2})
    generator = Generator().manual_seed(0)
    for number in range(4):
        step(policy, a_batch(IMAGES, torch.arange(8) + 8 * number), generator)
    memory = policy.memory
    assert sorted(memory.index.tolist()) == list(range(12, 32))
    sample = memory.sample(4)  # steps 2 and 3 are at most 2 steps old
    assert sample is not None
    assert set(sample.index.tolist()) <= set(range(16, 32))
    assert memory.sample(40) is None
    arrays = [
        v
        for v in memory.state_dict().values()
        if isinstance(v, Tensor) and v.shape[-1:] == (20,)
    ]
    assert sum(array.numel() * array.element_size() for array in arrays) / 20 <= 40


def test_parts_of_a_batch_may_all_be_proposed_before_any_is_learnt_from() -> None:
    policy, generator = a_policy(IMAGES), Generator().manual_seed(0)
    parts = [a_batch(IMAGES, torch.arange(8) + start) for start in (0, 8)]
    proposals = [policy.propose(part, GRID, generator) for part in parts]
    for proposal in proposals:
        policy.learn(proposal, zeros(proposal.batch, proposal.mask))
    again, generator = a_policy(IMAGES), Generator().manual_seed(0)
    proposals = [again.propose(part, GRID, generator) for part in parts]
    again.learn(proposals[0], zeros(parts[0], proposals[0].mask))
    fresh = again._play(
        parts[1].images, lambda q, allowed, turn: proposals[1].episode.chosen[turn]
    )
    late = replace(proposals[1], episode=fresh, step=1)
    again.learn(late, zeros(parts[1], late.mask))
    assert equal(list(policy.network.parameters()), list(again.network.parameters()))


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [("cosine", [1.0, 0.75, 0.5, 0.25]), ("thirds", [1.0, 0.33, 0.33, 0.33**2])],
)
def test_the_rate_of_learning_falls_over_the_run(schedule: str, shares: list[float]) -> None:
    policy, generator = a_policy(IMAGES, schedule=schedule), Generator().manual_seed(0)
    rates = []
    for progress in (0.0, 1 / 3, 1 / 2, 2 / 3):
        step(policy, a_batch(IMAGES[:8], progress=progress), generator)
        rates.append(policy.optimiser.param_groups[0]["lr"] / policy.config.learning_rate)
    assert rates == pytest.approx(shares)
