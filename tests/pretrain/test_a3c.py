"""The policy ``a3c``: options, masks, controls and resuming (invariants 4, 6, 9, 10, 15)."""

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from maskwise.config import parse
from maskwise.encoders import ENCODERS
from maskwise.errors import UserError
from maskwise.masks import to_pixels
from maskwise.pretrain.contracts import Batch, Outcome
from maskwise.pretrain.diagnostics.lift import lift_matrix
from maskwise.pretrain.objectives.context_encoder import ContextEncoderConfig
from maskwise.pretrain.policies.a3c import A3c, A3cConfig, Temperature
from maskwise.pretrain.policies.a3c_bernoulli import bernoulli_overlap
from maskwise.pretrain.policies.a3c_reward import RewardConfig
from pretrain.a3c_toys import AT_ACTION, PAIRS, a_policy, planted, step, weights_after
from pretrain.dqn_toys import GRID, a_batch, equal

IMAGES = torch.randn(40, 1, 32, 32, generator=Generator().manual_seed(0))
AHM: dict[str, Any] = {"preset": "ahm"}
LITERAL: dict[str, dict[str, Any]] = {
    "at the action": AT_ACTION,
    "softmax": {"logp": "softmax", "mismatch": "allow"},
    "bernoulli of picks": {"logp": "bernoulli", "mismatch": "allow"},
    "bernoulli of picks, cell_value": {
        "logp": "bernoulli",
        "advantage": "cell_value",
        "mismatch": "allow",
    },
    "topk": {"sampler": "topk", "mismatch": "allow"},
    "topk, bernoulli": {"sampler": "topk", "logp": "bernoulli", "mismatch": "allow"},
    "value of the image's picks": {"advantage": "cell_value", "mismatch": "allow"},
}
RICH: dict[str, Any] = {
    "reward": {"credit": "cell", "scale": "rank", "balance": 0.3},
    "advantage": "cell_expected",
    "temperature": {"most_overlap": 0.2},
    "bound": 3.0,
}


def taught(policy: A3c, scale: float = 1.0) -> A3c:
    """Give the policy a taste, as learning would."""
    generator = Generator().manual_seed(1)
    torch.nn.init.normal_(policy.network.policy.weight, std=scale, generator=generator)
    torch.nn.init.normal_(policy.network.value.weight, std=scale, generator=generator)
    return policy


def test_presets_are_what_they_promise_and_written_keys_win() -> None:
    best, ahm = (parse(A3cConfig, {"preset": name}, "policy") for name in ("best", "ahm"))
    assert best == A3cConfig() == parse(A3cConfig, {}, "policy")
    assert (best.sampler, best.logp, best.advantage) == (
        "gumbel_topk",
        "plackett_luce",
        "image_batch",
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
        ({"ratio": 1.0}, "ratio is 1.0, but must lie between 0 and 1"),
        ({"logp": "softmax"}, "logp: softmax is not the log-probability .* plackett_luce, or"),
        ({"logp": "bernoulli"}, "logp: bernoulli is not .* mismatch: allow"),
        ({"sampler": "topk"}, "sampler: topk draws nothing, .* use sampler: gumbel_topk, or"),
        ({"advantage": "cell_value"}, "advantage: cell_value takes a pick's own value"),
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
            {"reward": {"credit": "cell"}, "mismatch": "allow"},
            "advantage: image_batch does not suit reward.credit: cell; use .* cell_expected",
        ),
        (
            {"reward": {"credit": "to_go"}, "advantage": "cell_expected"},
            "advantage: cell_expected does not suit reward.credit: to_go; use advantage: to_go",
        ),
        ({"advantage": "to_go"}, "advantage: to_go does not suit reward.credit: image"),
        (
            {"reward": {"scale": "rank"}, "mismatch": "allow"},
            "scale: rank makes every image's mean the same",
        ),
        ({"exact_k": True}, "exact_k needs sampler: bernoulli"),
        ({"value_weight": -1.0}, "value_weight is -1.0, but must be 0 or more"),
        ({"entropy_weight": -1.0}, "entropy_weight is -1.0, but must be 0 or more"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0, but must be above 0"),
        ({"gradient_clip": 0.0}, "gradient_clip is 0.0, but must be above 0"),
        ({"bound": 0.0}, "bound is 0.0, but must be above 0"),
        ({"widths": [8]}, r"widths should be 2 or more, not \[8\]"),
        ({"widths": [8, 9]}, "widths should be multiples of 8"),
        ({"temperature": {"most_overlap": 1.0}}, "most_overlap is 1.0, but must lie between"),
        ({"temperature": {"rate": 0.0}}, "rate is 0.0, but must lie between 0 and 1"),
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
        "policy_entropy",
        "policy_gradient_norm",
        "overlap",
        "skipped_updates",
    }
    assert all(figure.shape == () and figure.isfinite() for figure in figures.values())
    assert float(figures["skipped_updates"]) == 0
    assert float(figures["policy_gradient_norm"]) > 0


def test_a_fresh_policy_hides_every_cell_equally_often() -> None:
    for options in (PAIRS["image_batch"], AHM, PAIRS["exact_k"]):
        policy = a_policy(IMAGES, **options)
        images = torch.zeros(1_000, 1, 32, 32)
        often = policy.choose_masks(images, GRID, Generator().manual_seed(0)).double().mean(0)
        error = (0.25 * 0.75 / 1_000) ** 0.5
        assert float((often - 0.25).abs().max()) < 4.5 * error
        assert float(often.mean()) == pytest.approx(0.25, abs=3 * error / 8)


def test_a_fresh_policy_s_lift_is_one_and_that_of_the_lesion_s_own_cells_is_the_most() -> None:
    images, lesions = planted(200, 0)
    policy = a_policy(images)
    masks = policy.choose_masks(images, GRID, Generator().manual_seed(5))
    lifts = lift_matrix(masks, lesions.double()).diagonal()
    error = float(lifts.std()) / 200**0.5
    assert abs(float(lifts.mean()) - 1) < 3 * error
    best = lift_matrix(lesions, lesions.double()).diagonal()
    assert best.tolist() == pytest.approx([1 / 0.25] * 200)
    smaller = lesions & (torch.arange(64).reshape(GRID) % 2 == 0)
    with_room = lift_matrix(lesions, smaller.double()).diagonal()
    assert with_room.tolist() == pytest.approx([1 / 0.25] * 200)


@pytest.mark.parametrize("name", ["image_batch", "ahm", "exact_k"])
def test_reordering_images_and_draws_reorders_the_masks(name: str) -> None:
    policy = taught(a_policy(IMAGES, **PAIRS[name]))
    order = torch.randperm(40, generator=Generator().manual_seed(0))
    draws = torch.rand(40, 64, generator=Generator().manual_seed(1))
    straight, _ = policy.scores(IMAGES)
    moved, _ = policy.scores(IMAGES[order])
    masks = policy._choice(moved, draws[order]).mask
    assert masks.equal(policy._choice(straight, draws).mask[order])


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


def constant(mask: Tensor) -> Outcome:
    return Outcome(torch.zeros(()), torch.where(mask, 0.7, torch.nan))


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


def test_one_image_alone_has_nothing_to_be_compared_with() -> None:
    policy = a_policy(IMAGES)
    _, figures = step(policy, a_batch(IMAGES[:1]), Generator().manual_seed(0))
    assert float(figures["skipped_updates"]) == 1


@pytest.mark.parametrize("name", PAIRS)
def test_errors_and_images_that_are_no_numbers_leave_the_weights_finite(name: str) -> None:
    broken = IMAGES[:8].clone()
    broken[3] = torch.nan
    policy, generator = a_policy(IMAGES, **PAIRS[name]), Generator().manual_seed(0)
    _, figures = step(policy, a_batch(broken), generator)
    assert float(figures["skipped_updates"]) == 1
    proposal = policy.propose(a_batch(IMAGES[:8]), GRID, generator)
    errors = torch.where(proposal.mask, torch.rand(8, *GRID), torch.nan)
    errors[proposal.mask & (errors == errors.nan_to_num().max())] = torch.inf
    figures = policy.learn(proposal, Outcome(torch.zeros(()), errors))
    assert float(figures["skipped_updates"]) == 1
    _, figures = step(policy, a_batch(IMAGES[:8]), generator)
    assert all(figure.isfinite() for figure in figures.values())
    assert all(weight.isfinite().all() for weight in policy.network.parameters())


def test_overlap_is_the_ratio_at_first_and_one_where_nothing_is_left_to_chance() -> None:
    images = torch.randn(400, 1, 32, 32, generator=Generator().manual_seed(0))
    for options in (PAIRS["image_batch"], AHM, PAIRS["exact_k"]):
        fresh = a_policy(images, **options)
        overlap = fresh.propose(a_batch(images), GRID, Generator().manual_seed(0)).overlap
        assert float(overlap) == pytest.approx(0.25, abs=0.02)
        certain = taught(a_policy(images, **options), scale=1e3)
        overlap = certain.propose(a_batch(images), GRID, Generator().manual_seed(0)).overlap
        assert float(overlap) > 0.95


def test_the_temperature_rises_while_draws_are_too_alike_and_falls_back_to_one() -> None:
    control = Temperature(most_overlap=0.5, rate=0.1)
    alike, apart = torch.tensor(0.6), torch.tensor(0.4)
    risen = control.after(control.after(torch.ones(()), alike), alike)
    assert float(risen) == pytest.approx(1.21)
    assert float(control.after(risen, apart)) == pytest.approx(1.1)
    assert float(control.after(torch.tensor(1.02), apart)) == 1
    assert float(Temperature().after(torch.ones(()), torch.tensor(1.0))) == 1


def test_a_collapsed_policy_is_warmed_until_its_draws_differ_again() -> None:
    for options in (dict[str, Any](), AHM):
        policy = taught(a_policy(IMAGES, temperature={"most_overlap": 0.5}, **options), 10)
        policy.temperature = torch.tensor(20.0)
        with torch.no_grad():
            warm = policy.scores(IMAGES)[0]
            policy.temperature = torch.ones(())
            cold = policy.scores(IMAGES)[0]
        assert float(bernoulli_overlap(warm)) < float(bernoulli_overlap(cold))
        _, figures = step(policy, a_batch(IMAGES[:8]), Generator().manual_seed(0))
        assert float(figures["overlap"]) > 0.5
        assert float(figures["temperature"]) == pytest.approx(1.02)


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


def test_what_is_chosen_is_drawn_and_depends_on_no_other_image() -> None:
    policy = taught(a_policy(IMAGES))
    chosen = policy.choose_masks(IMAGES, GRID, Generator().manual_seed(0))
    assert chosen.sum((1, 2)).tolist() == [16] * 40
    assert not chosen.equal(policy.choose_masks(IMAGES, GRID, Generator().manual_seed(1)))
    fewer = policy.choose_masks(IMAGES[:7], GRID, Generator().manual_seed(0))
    assert fewer.equal(chosen[:7])


def test_looking_at_a_policy_does_not_change_it() -> None:
    policy = a_policy(IMAGES, **RICH)
    step(policy, a_batch(IMAGES[:8]), Generator().manual_seed(0))
    before = [value.clone() for value in policy.network.state_dict().values()]
    running = policy.frequency.clone(), policy.temperature.clone()
    policy.maps(IMAGES, GRID)
    policy.value_map(IMAGES, GRID)
    policy.choose_masks(IMAGES, GRID, Generator().manual_seed(0))
    assert equal(before, list(policy.network.state_dict().values()))
    assert equal(list(running), [policy.frequency, policy.temperature])


def test_the_maps_have_a_value_a_cell() -> None:
    policy = taught(a_policy(IMAGES))
    places, values = policy.maps(IMAGES, GRID), policy.value_map(IMAGES, GRID)
    logits, expected = policy.network(IMAGES)
    assert (places.box, places.stride) == ((1, 1), 1)
    torch.testing.assert_close(places.values, logits.detach().reshape(40, *GRID))
    torch.testing.assert_close(values, expected.detach().reshape(40, *GRID))


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


def test_nothing_is_drawn_from_the_global_generator_and_one_draw_serves_all_masks() -> None:
    states = []
    before = torch.get_rng_state()
    for options in (dict[str, Any](), AHM, PAIRS["exact_k"], RICH):
        policy, generator = a_policy(IMAGES, **options), Generator().manual_seed(0)
        step(policy, a_batch(IMAGES[:8]), generator)
        states.append(generator.get_state())
    assert torch.get_rng_state().equal(before)
    assert all(state.equal(states[0]) for state in states)


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
