"""What ``a3c`` hides, and how alike its draws are (invariants 4, 10, 15)."""

from typing import Any

import pytest
import torch
from torch import Generator

from maskwise.pretrain.diagnostics.lift import lift_matrix
from maskwise.pretrain.policies.a3c.bernoulli import bernoulli_overlap
from maskwise.pretrain.policies.a3c.config import Temperature
from pretrain.a3c_toys import PAIRS, RICH, a_policy, planted, taught
from pretrain.policy_toys import GRID, a_batch, equal, step

IMAGES = torch.randn(40, 1, 32, 32, generator=Generator().manual_seed(0))
AHM: dict[str, Any] = {"preset": "ahm"}


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
    policy.choose_masks(IMAGES, GRID, Generator().manual_seed(0))
    assert equal(before, list(policy.network.state_dict().values()))
    assert equal(list(running), [policy.frequency, policy.temperature])


def test_the_map_has_a_value_a_cell() -> None:
    policy = taught(a_policy(IMAGES))
    places, logits = policy.maps(IMAGES, GRID), policy.network(IMAGES)[0]
    assert (places.box, places.stride) == ((1, 1), 1)
    torch.testing.assert_close(places.values, logits.detach().reshape(40, *GRID))


def test_nothing_is_drawn_from_the_global_generator_and_one_draw_serves_all_masks() -> None:
    states = []
    before = torch.get_rng_state()
    for options in (dict[str, Any](), AHM, PAIRS["exact_k"], RICH):
        policy, generator = a_policy(IMAGES, **options), Generator().manual_seed(0)
        step(policy, a_batch(IMAGES[:8]), generator)
        states.append(generator.get_state())
    assert torch.get_rng_state().equal(before)
    assert all(state.equal(states[0]) for state in states)
