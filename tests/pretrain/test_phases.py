"""Staged schedules: each phase changes what it promised, and no other part."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from maskwise.errors import UserError
from maskwise.pretrain.learner import Learner
from maskwise.pretrain.loop import Loop
from maskwise.pretrain.phases import AlternatingConfig, StagedConfig, Timeline
from maskwise.pretrain.recipe import parse_recipe
from pretrain.toys import RANDOM_BOX, SIMCLR, make_run, make_store, pretrain

Weights = dict[str, torch.Tensor]

DQN: dict[str, Any] = {**RANDOM_BOX, "policy": {"name": "dqn", "box": [2, 2]}}


def staged(**options: Any) -> dict[str, Any]:
    """Return a recipe whose network makes 9 steps, and whose policy 6 between them."""
    return {**DQN, "schedule": {"name": "staged", "policy_steps": 6, **options}}


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Weights, Weights]]:
    """Return what will hold, per step, the network's and the policy's weights before it."""
    seen: list[tuple[int, Weights, Weights]] = []
    step: Callable[[Loop], Any] = Loop._one_step

    def watching(loop: Loop) -> Any:
        network = {name: value.clone() for name, value in loop.objective.state_dict().items()}
        policy = loop.policy.state_dict()["network"]
        agent = {name: value.clone() for name, value in policy.items()}
        seen.append((loop.step, network, agent))
        return step(loop)

    monkeypatch.setattr(Loop, "_one_step", watching)
    return seen


def changes(weights: list[Weights]) -> list[bool]:
    """Return, for each step, whether any tensor differs from before it."""
    return [
        any(not torch.equal(one[name], other[name]) for name in one)
        for one, other in itertools.pairwise(weights)
    ]


def test_the_policy_waits_learns_alone_and_then_stays_as_it_is(
    tmp_path: Path, watched: list[tuple[int, Weights, Weights]]
) -> None:
    store, splits = make_store(tmp_path / "store")
    pretrain(store, splits, make_run(tmp_path, staged(first=0.34)))
    assert [step for step, _, _ in watched] == list(range(15))
    network = changes([one for _, one, _ in watched])
    policy = changes([one for _, _, one in watched])
    assert network == [True] * 3 + [False] * 6 + [True] * 5
    assert policy == [False] * 3 + [True] * 6 + [False] * 5


def test_batch_norms_of_a_frozen_network_keep_their_statistics(
    tmp_path: Path, watched: list[tuple[int, Weights, Weights]]
) -> None:
    store, splits = make_store(tmp_path / "store")
    block = {**staged(first=0.34), "encoder": {**DQN["encoder"], "norm": "batch"}}
    pretrain(store, splits, make_run(tmp_path, block))
    statistics = [
        {name: value for name, value in one.items() if "running" in name}
        for _, one, _ in watched
    ]
    assert statistics[0]
    assert changes(statistics) == [True] * 3 + [False] * 6 + [True] * 5


def test_a_network_that_restarts_forgets_its_first_phase(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update, before = Learner.update, {}

    def updating(learner: Learner, step: int, finite_only: bool) -> Tensor:
        weights = learner.objective.state_dict()
        before[step] = {name: tensor.clone() for name, tensor in weights.items()}
        return update(learner, step, finite_only)

    monkeypatch.setattr(Learner, "update", updating)
    store, splits = make_store(tmp_path / "store")
    pretrain(store, splits, make_run(tmp_path, staged(first=0.34, restart=True)))
    assert list(before) == [0, 1, 2, 9, 10, 11, 12, 13, 14]
    assert all(torch.equal(before[0][name], before[9][name]) for name in before[0])
    assert any(not torch.equal(before[2][name], before[9][name]) for name in before[0])


def test_without_a_last_phase_the_encoder_is_that_of_random_masks(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    waiting = pretrain(store, splits, make_run(tmp_path / "a", staged(first=1)))
    # Epsilon is 1 until the policy learns: the very boxes of an alternating run's first steps.
    assert list(waiting.history["step"])[-1] == 15
    longer = pretrain(store, splits, make_run(tmp_path / "b", staged(first=1, policy_steps=9)))
    one, other = waiting.encoder.state_dict(), longer.encoder.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_learning_rate_begins_anew_in_each_phase_of_the_network(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    run = make_run(tmp_path, staged(first=1 / 3), steps=18, batch_size=12)
    rates = pretrain(store, splits, run).history["learning_rate"].tolist()
    first, waiting, last = rates[:6], rates[6:12], rates[12:]
    assert first[-1] < 0.1 * max(first)
    assert waiting == [first[-1]] * 6
    assert max(last) > 0.9 * max(first)
    assert last[-1] < 0.1 * max(last)


def test_the_history_has_the_policy_s_figures_where_it_learns_alone(tmp_path: Path) -> None:
    store, splits = make_store(tmp_path / "store")
    history = pretrain(store, splits, make_run(tmp_path, staged(first=1 / 3))).history
    assert history["reward"].notna().tolist() == [False, True, True, False, False]
    assert history["gradient_norm"].notna().tolist() == [True, False, False, True, True]
    assert history["loss"].notna().all()


def test_progress_counts_the_policy_s_own_steps() -> None:
    timeline = Timeline(StagedConfig(first=0.5, policy_steps=4).phases(6))
    assert timeline.steps == 10
    shares = [timeline.progress(step) for step in range(10)]
    assert shares == [0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    together = Timeline(AlternatingConfig().phases(4))
    assert [together.progress(step) for step in range(4)] == [0, 0.25, 0.5, 0.75]
    phase, own = timeline.at(7)
    assert (phase.network, phase.policy, own) == (True, False, 0)


def test_a_schedule_that_makes_no_sense_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"recipe\.schedule\.first: is 2.0, but must lie"):
        parse_recipe(staged(first=2), "recipe")
    with pytest.raises(UserError, match=r"did you mean 'staged'"):
        parse_recipe({**DQN, "schedule": {"name": "stagd"}}, "recipe")
    with pytest.raises(UserError, match=r"schedule\.name: policy none never learns"):
        parse_recipe({**SIMCLR, "schedule": {"name": "staged"}}, "recipe")


def test_the_network_s_share_counts_its_own_steps_and_begins_anew_with_it() -> None:
    staged = Timeline(StagedConfig(first=0.5, policy_steps=3).phases(8))
    assert [staged.network_progress(step) for step in (1, 4, 7, 8, 11)] == [
        1 / 8, 4 / 8, 4 / 8, 5 / 8, 1.0,
    ]  # fmt: skip
    anew = Timeline(StagedConfig(first=0.5, policy_steps=3, restart=True).phases(8))
    assert [anew.network_progress(step) for step in (1, 4, 7, 8, 11)] == [
        1 / 4, 1.0, 1.0, 1 / 4, 1.0,
    ]  # fmt: skip
