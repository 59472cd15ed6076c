"""The options of ``a3c``: presets, pairs, literal readings, figures."""

import logging
from typing import Any

import pytest
import torch
from torch import Generator

from maskwise.config import parse
from maskwise.errors import UserError
from maskwise.masks import to_pixels
from maskwise.pretrain.contracts import Batch
from maskwise.pretrain.policies.a3c.config import A3cConfig
from maskwise.pretrain.policies.a3c.reward import RewardConfig
from pretrain.a3c_toys import AT_ACTION, PAIRS, a_policy, weights_after
from pretrain.policy_toys import GRID, a_batch, equal, step

IMAGES = torch.randn(40, 1, 32, 32, generator=Generator().manual_seed(0))
AHM: dict[str, Any] = {"preset": "ahm"}
OF_IMAGE: dict[str, Any] = {"reward": {"credit": "image"}, "advantage": "image_batch"}
LITERAL: dict[str, dict[str, Any]] = {
    "at the action": AT_ACTION,
    "softmax": {"logp": "softmax", "mismatch": "allow"},
    "bernoulli of picks": {**OF_IMAGE, "logp": "bernoulli", "mismatch": "allow"},
    "bernoulli of picks, cell_value": {
        **OF_IMAGE,
        "logp": "bernoulli",
        "advantage": "cell_value",
        "mismatch": "allow",
    },
    "topk": {"sampler": "topk", "mismatch": "allow"},
    "topk, bernoulli": {
        **OF_IMAGE,
        "sampler": "topk",
        "logp": "bernoulli",
        "mismatch": "allow",
    },
    "value of the image's picks": {
        **OF_IMAGE,
        "advantage": "cell_value",
        "mismatch": "allow",
    },
}


def test_presets_are_what_they_promise_and_written_keys_win() -> None:
    best, ahm = (parse(A3cConfig, {"preset": name}, "policy") for name in ("best", "ahm"))
    assert best == A3cConfig() == parse(A3cConfig, {}, "policy")
    assert (best.sampler, best.logp, best.advantage) == (
        "gumbel_topk",
        "plackett_luce",
        "cell_expected",
    )
    assert (ahm.sampler, ahm.logp, ahm.advantage) == ("bernoulli", "bernoulli", "cell_value")
    assert (ahm.reward.credit, ahm.reward.scaling) == ("image", "raw")
    mended = parse(A3cConfig, {"preset": "ahm", "advantage": "image_value"}, "policy")
    assert (mended.sampler, mended.advantage) == ("bernoulli", "image_value")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"preset": "bset"}, "policy.preset: there is no 'bset'; did you mean 'best'"),
        ({"samplr": "topk"}, "policy.samplr: there is no such option; did you mean 'sampler'"),
        ({"logp": "softmax"}, "logp: softmax is not the log-probability .* plackett_luce, or"),
        ({**OF_IMAGE, "logp": "bernoulli"}, "logp: bernoulli is not .* mismatch: allow"),
        ({"sampler": "topk"}, "sampler: topk draws nothing, .* use sampler: gumbel_topk, or"),
        (
            {"reward": {"credit": "image"}, "advantage": "cell_value"},
            "advantage: cell_value takes a pick's own value",
        ),
        (
            {"reward": {"credit": "cell"}, "advantage": "cell_value"},
            "advantage: cell_value takes a pick's own value off its reward",
        ),
        (
            {"sampler": "bernoulli", "mismatch": "allow"},
            "logp: plackett_luce is of cells picked one after another",
        ),
        (
            {**AHM, "reward": {"credit": "cell"}, "mismatch": "allow"},
            "reward.credit: cell leaves visible cells without a reward",
        ),
        (
            {"advantage": "image_batch", "mismatch": "allow"},
            "advantage: image_batch does not suit reward.credit: cell; use .* cell_expected",
        ),
        (
            {"reward": {"credit": "to_go"}, "advantage": "cell_expected"},
            "advantage: cell_expected does not suit reward.credit: to_go; use advantage: to_go",
        ),
        ({"advantage": "to_go"}, "advantage: to_go does not suit reward.credit: cell"),
        (
            {"reward": {"credit": "image", "scale": "rank"}, "mismatch": "allow"},
            "scale: rank makes every image's mean the same",
        ),
        ({"exact_k": True}, "exact_k needs sampler: bernoulli"),
        ({"widths": [8, 9]}, "widths should be multiples of 8"),
        ({"grid": (1, 1)}, "policy.ratio: a grid of 1 x 1 has no cell to hide"),
    ],
)
def test_a_wrong_option_names_the_key_and_the_remedy(
    block: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        a_policy(IMAGES, **block)


@pytest.mark.parametrize("name", LITERAL)
def test_a_literal_reading_runs_when_it_is_asked_for_and_says_that_it_is_one(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        policy = a_policy(IMAGES, **LITERAL[name])
    assert "runs a literal reading" in caplog.text
    for number in range(3):
        proposal, figures = step(policy, a_batch(IMAGES[:8]), Generator().manual_seed(number))
        assert proposal.mask.sum((1, 2)).tolist() == [16] * 8
        assert all(figure.isfinite() for figure in figures.values())


@pytest.mark.parametrize("name", PAIRS)
def test_what_goes_together_runs_without_a_warning_and_every_figure_is_a_number(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        policy = a_policy(IMAGES, **PAIRS[name])
    assert not caplog.text
    _, figures = step(policy, a_batch(IMAGES[:8]), Generator().manual_seed(0))
    assert set(figures) == {
        "reward",
        "policy_loss",
        "value_loss",
        "value_explained",
        "advantage_above",
        "policy_entropy",
        "policy_gradient_norm",
        "overlap",
        "skipped_updates",
    }
    assert all(figure.shape == () and figure.isfinite() for figure in figures.values())
    assert float(figures["skipped_updates"]) == 0
    assert float(figures["policy_gradient_norm"]) > 0


@pytest.mark.parametrize(
    "options",
    [
        {"value_weight": 0.0},
        {"entropy_weight": 0.5},
        {"bound": 1e-3},
        {"learning_rate": 1e-3},
        {"schedule": "constant"},
        {"gradient_clip": 1e-4},
        {"widths": [8, 16]},
        {"reward": {"balance": 2.0}},
    ],
)
def test_every_option_changes_what_is_learnt(options: dict[str, Any]) -> None:
    assert not equal(weights_after(4, IMAGES), weights_after(4, IMAGES, **options))


@pytest.mark.parametrize(("schedule", "end"), [("cosine", 0.5), ("constant", 1.0)])
def test_the_rate_of_learning_falls_unless_it_is_to_be_constant(
    schedule: str, end: float
) -> None:
    policy = a_policy(IMAGES, schedule=schedule)
    step(policy, a_batch(IMAGES[:8], progress=0.5), Generator().manual_seed(0))
    rate = policy.optimiser.param_groups[0]["lr"] / policy.config.learning_rate
    assert rate == pytest.approx(end)


def test_the_ratio_says_how_many_cells_are_hidden() -> None:
    for ratio, number in ((0.25, 16), (0.5, 32), (0.001, 1), (0.999, 63)):
        policy = a_policy(IMAGES, ratio=ratio)
        proposal = policy.propose(a_batch(IMAGES), GRID, Generator().manual_seed(0))
        assert proposal.mask.sum((1, 2)).tolist() == [number] * 40


def test_the_reward_that_is_logged_is_the_mean_error_of_hidden_cells() -> None:
    policy = a_policy(IMAGES, reward={"credit": "cell"}, advantage="cell_expected")
    proposal, figures = step(policy, a_batch(IMAGES[:8]), Generator().manual_seed(0))
    pixels = to_pixels(proposal.mask, 32, 32)
    by_hand = torch.stack(
        [image[hidden].square().mean() for image, hidden in zip(IMAGES, pixels, strict=False)]
    )
    assert float(figures["reward"]) == pytest.approx(float(by_hand.mean()), rel=1e-5)


def test_a_batch_of_the_loop_is_all_that_it_needs() -> None:
    rows = torch.arange(3)
    policy = A3cConfig(reward=RewardConfig(credit="to_go"), advantage="to_go").build(
        a_policy(IMAGES).setting
    )
    batch = Batch(IMAGES[:3], rows, rows, rows, progress=1.0)
    _, figures = step(policy, batch, Generator().manual_seed(0))
    assert all(figure.isfinite() for figure in figures.values())
