"""The policy ``dqn``: options, controls and resuming (invariants 13, 17)."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator

from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.pretrain.contracts import Outcome
from maskwise.pretrain.policies.dqn.config import DqnConfig
from maskwise.pretrain.policies.dqn.policy import Dqn
from maskwise.pretrain.policies.dqn.reward import another
from pretrain.dqn_toys import a_policy, weights_after
from pretrain.policy_toys import GRID, a_batch, equal, step

IMAGES = torch.randn(40, 1, 32, 32, generator=torch.Generator().manual_seed(0))
RANDOM: dict[str, Any] = {"epsilon": {"schedule": "const", "end": 1.0}}
GREEDY: dict[str, Any] = {"epsilon": {"schedule": "const", "end": 0.0}}
RELEASE: dict[str, Any] = {"preset": "release", "box": [2, 2], "stride": 1, "grid": (4, 4)}


def test_the_control_tells_every_image_the_reward_of_another() -> None:
    rewards = torch.arange(8.0)[None]
    seen = set()
    for number in range(7):
        shuffled = another(rewards, number)
        assert sorted(shuffled[0].tolist()) == list(range(8))
        assert (shuffled != rewards).all()
        seen.add(tuple(shuffled[0].tolist()))
    assert len(seen) == 7
    assert another(rewards[:, :1], 0).equal(rewards[:, :1])


def test_a_reward_that_is_no_number_stops_the_run_and_says_how_many_there_are() -> None:
    broken = IMAGES[:8].clone()
    broken[3] = torch.nan
    policy = a_policy(IMAGES)
    with pytest.raises(UserError, match=r"policy dqn: 1 of 8 rewards \(12 %\) are not"):
        step(policy, a_batch(broken), Generator().manual_seed(0))


@pytest.mark.parametrize("number", [1, 3, 8])
def test_a_batch_of_any_size_is_learnt_from(number: int) -> None:
    for options in ({}, {"boxes": 2, "dueling": True}, {"normalise": "variance"}):
        policy = a_policy(IMAGES, **options)
        _, figures = step(policy, a_batch(IMAGES[:number]), Generator().manual_seed(0))
        assert all(figure.shape == () and figure.isfinite() for figure in figures.values())


def test_constant_images_and_huge_rewards_leave_finite_weights() -> None:
    for images in (torch.zeros(8, 1, 32, 32), torch.full((8, 1, 32, 32), 1e3)):
        for options in ({}, {"normalise": "variance"}, {"baseline": "image_place"}):
            assert all(w.isfinite().all() for w in weights_after(3, images, **options))


def test_the_release_reward_is_refused_where_no_pixels_are_drawn() -> None:
    policy = a_policy(IMAGES, **RELEASE)
    proposal = policy.propose(a_batch(IMAGES[:8]), (4, 4), Generator().manual_seed(0))
    outcome = Outcome(torch.zeros(()), torch.zeros(8, 4, 4))
    with pytest.raises(
        UserError, match="reward: sum_full: needs an objective that reconstructs"
    ):
        policy.learn(proposal, outcome)


def test_it_learns_from_an_error_map_alone() -> None:
    policy = a_policy(IMAGES)
    proposal = policy.propose(a_batch(IMAGES[:8]), GRID, Generator().manual_seed(0))
    errors = torch.where(proposal.mask, torch.rand(8, *GRID), torch.nan)
    assert policy.learn(proposal, Outcome(torch.zeros(()), errors))["reward"].isfinite()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"preset": "paperr"}, "policy.preset: there is no 'paperr'; did you mean 'paper'"),
        (
            {"rewrad": "mask_mean"},
            "policy.rewrad: there is no such option; did you mean 'reward'",
        ),
        ({"reward": "sum_full", "boxes": 2}, "reward: sum_full needs boxes: 1"),
        ({"q_network": "encoder_copy", "dueling": True}, "encoder_copy needs dueling: False"),
        ({"box": [9, 9]}, "policy.box: 1 x 9 x 9 cells"),
        ({"box": [6, 6]}, "more than half of the grid of 8 x 8"),
        ({"pool_px": 3}, "policy.pool_px: 3 does not divide a grid cell of 4 x 4"),
    ],
)
def test_a_wrong_option_names_the_key_and_the_remedy(
    block: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        a_policy(IMAGES, **block)


def test_the_release_preset_does_what_the_release_does_and_written_keys_win() -> None:
    release = parse(DqnConfig, {"preset": "release"}, "policy")
    paper = parse(DqnConfig, {"preset": "paper"}, "policy")
    assert (release.reward, release.actions, release.ties) == ("sum_full", "all_cells", "first")
    assert (release.baseline, release.scale, release.loss) == ("none", "none", "squared")
    assert release.gradient_clip is None
    assert release.epsilon.at(0.19) == 1.0
    assert release.epsilon.at(0.2) == 0.0
    assert paper == DqnConfig() == parse(DqnConfig, {}, "policy")
    assert (paper.reward, paper.actions, paper.ties) == ("mask_mean", "valid", "random")
    assert paper.epsilon.at(0.2) == 0.05
    mended = parse(DqnConfig, {"preset": "release", "reward": "mask_mean"}, "policy")
    assert (mended.reward, mended.actions) == ("mask_mean", "all_cells")


def test_the_release_preset_overhangs_and_says_how_much_of_its_reward_is_outside() -> None:
    policy = a_policy(IMAGES, **RELEASE, **GREEDY, seed=1)
    proposal, figures = step(policy, a_batch(IMAGES), Generator().manual_seed(0))
    assert 0 < float(figures["overhanging"]) < 1
    # The network that draws 0 errs alike everywhere, so what is visible earns its share.
    visible = 1 - float(proposal.mask.double().mean())
    assert float(figures["reward_outside"]) == pytest.approx(visible, abs=0.02)


MACHINE: dict[str, Any] = {
    "boxes": 2,
    "dueling": True,
    "baseline": "image_place",
    "replay": {"capacity": 24, "batch": 8},
    "target": {"every": 2, "tau": 0.5},
}


@pytest.mark.parametrize("options", [{}, MACHINE, RELEASE])
def test_a_policy_that_was_saved_goes_on_as_if_nothing_had_happened(
    options: dict[str, Any], tmp_path: Path
) -> None:
    def go_on(policy: Dqn, generator: Generator, start: int) -> None:
        for number in range(start, start + 4):
            step(policy, a_batch(IMAGES, torch.arange(8) + number, number / 8), generator)

    whole, generator = a_policy(IMAGES, **options), Generator().manual_seed(0)
    go_on(whole, generator, 0)
    file, state = tmp_path / "policy.pt", generator.get_state()
    torch.save(whole.state_dict(), file)
    go_on(whole, generator, 4)
    resumed = a_policy(IMAGES, seed=1, **options)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    resumed.to("cpu")
    generator = Generator()
    generator.set_state(state)
    go_on(resumed, generator, 4)
    assert equal(
        list(whole.network.state_dict().values()), list(resumed.network.state_dict().values())
    )
    assert equal(list(whole.target.parameters()), list(resumed.target.parameters()))
    assert whole.choose_masks(IMAGES, whole.setting.grid, generator).equal(
        resumed.choose_masks(IMAGES, resumed.setting.grid, generator)
    )


def test_looking_at_a_policy_does_not_change_it() -> None:
    for options in (dict[str, Any](), RELEASE):
        policy = a_policy(IMAGES, **options)
        step(policy, a_batch(IMAGES[:8]), Generator().manual_seed(0))
        before = [value.clone() for value in policy.network.state_dict().values()]
        generator = Generator().manual_seed(3)
        state = generator.get_state()
        policy.maps(IMAGES, policy.setting.grid)
        policy.choose_masks(IMAGES, policy.setting.grid, generator)
        assert equal(before, list(policy.network.state_dict().values()))
        assert generator.get_state().equal(state)
