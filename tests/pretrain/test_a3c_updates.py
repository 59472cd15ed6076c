"""How ``a3c`` learns: gradients, skipped steps, resuming (invariants 6, 9, 10)."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from maskwise.encoders import ENCODERS
from maskwise.pretrain.contracts import Outcome
from maskwise.pretrain.objectives.context_encoder import ContextEncoderConfig
from maskwise.pretrain.policies.a3c.policy import A3c
from pretrain.a3c_toys import PAIRS, RICH, a_policy, taught, weights_after
from pretrain.policy_toys import GRID, a_batch, equal, step

IMAGES = torch.randn(40, 1, 32, 32, generator=Generator().manual_seed(0))
AHM: dict[str, Any] = {"preset": "ahm"}


def constant(mask: Tensor) -> Outcome:
    return Outcome(torch.zeros(()), torch.where(mask, 0.7, torch.nan))


@pytest.mark.parametrize("name", PAIRS)
def test_reordering_the_batch_teaches_the_same(name: str) -> None:
    gradients = []
    order = torch.randperm(8, generator=Generator().manual_seed(0))
    for rows in (torch.arange(8), order):
        policy = taught(a_policy(IMAGES, **PAIRS[name]))
        scores, values = policy.scores(IMAGES[rows])
        choice = policy._choice(
            scores, torch.rand(8, 64, generator=Generator().manual_seed(1))[rows]
        )
        proposal = policy.propose(a_batch(IMAGES, rows), GRID, Generator())
        mask = choice.mask.reshape(8, *GRID)
        proposal = type(proposal)(
            mask, proposal.batch, choice, scores, values, proposal.overlap, 0
        )
        errors = torch.rand(8, *GRID, generator=Generator().manual_seed(2))[rows]
        judgement = policy.judge(
            proposal, Outcome(torch.zeros(()), torch.where(mask, errors, torch.nan))
        )
        judgement.loss.backward()
        gradients.append([weight.grad for weight in policy.network.parameters()])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-3)


def test_the_policy_and_the_network_never_feel_each_others_gradient() -> None:
    for options in PAIRS.values():
        policy = a_policy(IMAGES, **options)
        encoder = ENCODERS["context_cnn"]().build(1)
        objective = ContextEncoderConfig().build(policy.setting, encoder)
        batch = a_batch(IMAGES[:8])
        proposal = policy.propose(batch, GRID, Generator().manual_seed(0))
        outcome = objective(batch, proposal.mask)
        outcome.loss.backward()
        assert all(weight.grad is None for weight in policy.network.parameters())
        objective.zero_grad(set_to_none=True)
        policy.learn(proposal, outcome)
        assert all(weight.grad is None for weight in objective.parameters())
    groups = policy.optimiser.param_groups
    ours = {id(weight) for group in groups for weight in group["params"]}
    assert ours == {id(weight) for weight in policy.network.parameters()}


@pytest.mark.parametrize("name", PAIRS)
def test_what_is_learnt_of_choices_teaches_the_values_nothing(name: str) -> None:
    policy = taught(a_policy(IMAGES, **{**PAIRS[name], "value_weight": 0.0}))
    weight = policy.network.cells.heads.get_parameter("value.weight")
    before = weight.clone()
    step(policy, a_batch(IMAGES[:8]), Generator().manual_seed(0))
    assert weight.grad is not None
    assert weight.grad.abs().max() == 0
    assert weight.equal(before)


@pytest.mark.parametrize("name", PAIRS)
def test_where_all_cells_earn_the_same_the_update_is_skipped_and_counted(name: str) -> None:
    policy, generator = taught(a_policy(IMAGES, **PAIRS[name])), Generator().manual_seed(0)
    step(policy, a_batch(IMAGES[:8]), generator)  # so that the optimiser has some momentum
    before = [value.clone() for value in policy.network.parameters()]
    moments = [value.clone() for value in policy.optimiser.state_dict()["state"][0].values()]
    proposal = policy.propose(a_batch(IMAGES[8:16]), GRID, generator)
    figures = policy.learn(proposal, constant(proposal.mask))
    assert float(figures["skipped_updates"]) == 1
    assert equal(before, list(policy.network.parameters()))
    assert equal(moments, list(policy.optimiser.state_dict()["state"][0].values()))
    _, figures = step(policy, a_batch(IMAGES[:8]), generator)
    assert float(figures["skipped_updates"]) == 0
    assert not equal(before, list(policy.network.parameters()))


def test_the_constant_control_never_learns() -> None:
    start = weights_after(0, IMAGES, reward={"told": "constant"})
    assert equal(start, weights_after(3, IMAGES, reward={"told": "constant"}))
    assert not equal(start, weights_after(3, IMAGES, reward={"told": "shuffled"}))


def test_one_image_alone_has_nothing_that_its_mean_could_be_compared_with() -> None:
    policy = a_policy(IMAGES, **PAIRS["image_batch"])
    _, figures = step(policy, a_batch(IMAGES[:1]), Generator().manual_seed(0))
    assert float(figures["skipped_updates"]) == 1


@pytest.mark.parametrize("name", PAIRS)
def test_errors_and_images_that_are_no_numbers_leave_the_weights_finite(name: str) -> None:
    broken = IMAGES[:8].clone()
    broken[3] = torch.nan
    policy, generator = a_policy(IMAGES, **PAIRS[name]), Generator().manual_seed(0)

    def learn(images: Tensor, worst: float) -> bool:
        proposal = policy.propose(a_batch(images), GRID, generator)
        errors = torch.rand(8, *GRID, generator=generator)
        errors[3] *= worst
        outcome = Outcome(torch.zeros(()), torch.where(proposal.mask, errors, torch.nan))
        return not bool(policy.learn(proposal, outcome)["skipped_updates"])

    assert not learn(broken, worst=torch.nan)
    assert not learn(broken, worst=1.0)
    assert not learn(IMAGES[:8], worst=torch.inf)
    assert learn(IMAGES[:8], worst=1.0)
    assert all(weight.isfinite().all() for weight in policy.network.parameters())


def test_the_entropy_that_is_rewarded_keeps_the_policy_open() -> None:
    spreads = []
    for weight in (0.0, 1.0):
        policy = taught(a_policy(IMAGES, entropy_weight=weight, learning_rate=1e-2), 3.0)
        generator = Generator().manual_seed(0)
        for number in range(20):
            _, figures = step(policy, a_batch(IMAGES[:8], progress=number / 40), generator)
        spreads.append(float(figures["policy_entropy"]))
    assert spreads[1] > spreads[0] + 0.05


@pytest.mark.parametrize("options", [{}, RICH, AHM, PAIRS["exact_k"]])
def test_a_policy_that_was_saved_goes_on_as_if_nothing_had_happened(
    options: dict[str, Any], tmp_path: Path
) -> None:
    def go_on(policy: A3c, generator: Generator, start: int) -> list[Tensor]:
        seen: list[Tensor] = []
        for number in range(start, start + 4):
            batch = a_batch(IMAGES, torch.arange(8) + number, number / 8)
            proposal, figures = step(policy, batch, generator)
            seen += [proposal.mask, *figures.values()]
        return seen

    whole, generator = a_policy(IMAGES, **options), Generator().manual_seed(0)
    go_on(whole, generator, 0)
    file, state = tmp_path / "policy.pt", generator.get_state()
    torch.save(whole.state_dict(), file)
    straight = go_on(whole, generator, 4)
    resumed = a_policy(IMAGES, seed=1, **options)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    resumed.to("cpu")
    generator = Generator()
    generator.set_state(state)
    assert equal(straight, go_on(resumed, generator, 4))
    names = ("frequency", "temperature", "step")
    assert all(torch.equal(*(torch.as_tensor(getattr(p, name)) for p in (whole, resumed)))
               for name in names)  # fmt: skip
    assert equal(list(whole.network.parameters()), list(resumed.network.parameters()))


def test_parts_of_a_batch_may_all_be_proposed_before_any_is_learnt_from() -> None:
    for options in (dict[str, Any](), AHM):
        policy, generator = a_policy(IMAGES, **options), Generator().manual_seed(0)
        parts = [a_batch(IMAGES, torch.arange(8) + start) for start in (0, 8)]
        proposals = [policy.propose(part, GRID, generator) for part in parts]
        cells = torch.rand(8, *GRID, generator=generator)
        for proposal in proposals:
            errors = torch.where(proposal.mask, cells, torch.nan)
            policy.learn(proposal, Outcome(torch.zeros(()), errors))
        again, generator = a_policy(IMAGES, **options), Generator().manual_seed(0)
        for part, proposal in zip(parts, proposals, strict=True):
            scores, values = again.scores(part.images)
            errors = torch.where(proposal.mask, cells, torch.nan)
            fresh = type(proposal)(
                proposal.mask,
                part,
                proposal.choice,
                scores,
                values,
                proposal.overlap,
                again.step,
            )
            again.learn(fresh, Outcome(torch.zeros(()), errors))
        assert equal(list(policy.network.parameters()), list(again.network.parameters()))


def test_masks_and_rewards_are_the_same_under_autocast() -> None:
    for options in (dict[str, Any](), AHM):
        results = []
        for enabled in (False, True):
            policy = taught(a_policy(IMAGES, **options))
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                proposal, figures = step(
                    policy, a_batch(IMAGES[:8]), Generator().manual_seed(0)
                )
            results.append([proposal.mask, proposal.scores.detach(), *figures.values()])
        assert equal(*results)
