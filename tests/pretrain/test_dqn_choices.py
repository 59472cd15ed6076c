"""Where ``dqn`` puts its boxes (invariants 10 and 12)."""

from typing import Any

import torch
from scipy.stats import chisquare
from torch import Generator

from maskwise.pretrain.policies.dqn.episode import any_best, first_best
from maskwise.pretrain.policies.dqn.policy import Dqn
from pretrain.dqn_toys import a_policy
from pretrain.policy_toys import GRID, a_batch, step

IMAGES = torch.randn(40, 1, 32, 32, generator=torch.Generator().manual_seed(0))
RANDOM: dict[str, Any] = {"epsilon": {"schedule": "const", "end": 1.0}}
GREEDY: dict[str, Any] = {"epsilon": {"schedule": "const", "end": 0.0}}
RELEASE: dict[str, Any] = {"preset": "release", "box": [2, 2], "stride": 1, "grid": (4, 4)}


def biased(policy: Dqn, value: float = 0.0) -> Dqn:
    """Make Q the same at every place."""
    with torch.no_grad():
        for weight in policy.network.parameters():
            weight.fill_(value)
    return policy


def test_exploring_draws_every_place_equally_often() -> None:
    policy = a_policy(IMAGES, **RANDOM)
    batch, generator = a_batch(IMAGES), Generator().manual_seed(0)
    places = torch.cat(
        [policy.propose(batch, GRID, generator).episode.chosen[0] for _ in range(250)]
    )
    counts = places.bincount(minlength=36)
    assert counts.sum() == 10_000
    assert chisquare(counts.numpy()).pvalue > 0.001


def test_ties_spread_over_the_places_the_same_way_from_the_same_seed() -> None:
    first, again = (biased(a_policy(IMAGES, **GREEDY)) for _ in range(2))
    masks = [
        p.propose(a_batch(IMAGES), GRID, Generator()).episode.chosen[0] for p in (first, again)
    ]
    assert masks[0].equal(masks[1])
    assert len(masks[0].unique()) > 15


def test_how_a_tie_falls_does_not_depend_on_the_order_of_the_batch() -> None:
    policy = biased(a_policy(IMAGES, **GREEDY))
    order = torch.randperm(40, generator=Generator().manual_seed(0))
    straight = policy.propose(a_batch(IMAGES), GRID, Generator()).mask
    shuffled = policy.propose(a_batch(IMAGES, order), GRID, Generator()).mask
    assert shuffled.equal(straight[order])


def test_the_release_breaks_ties_towards_the_top_left() -> None:
    policy = biased(a_policy(IMAGES, **{**RELEASE, **GREEDY}))
    chosen = policy.propose(a_batch(IMAGES), (4, 4), Generator()).episode.chosen
    assert chosen.unique().tolist() == [0]


def test_a_q_map_without_numbers_still_hides_a_box() -> None:
    for options in (dict[str, Any](), RELEASE):
        policy = biased(a_policy(IMAGES, **{**options, **GREEDY}), float("nan"))
        mask = policy.propose(a_batch(IMAGES), policy.setting.grid, Generator()).mask
        assert mask.flatten(1).any(1).all()


def test_changing_epsilon_shifts_no_other_draw() -> None:
    states = []
    for options in (RANDOM, GREEDY):
        generator = Generator().manual_seed(0)
        a_policy(IMAGES, **options).propose(a_batch(IMAGES), GRID, generator)
        states.append(generator.get_state())
    assert states[0].equal(states[1])


def test_masks_do_not_depend_on_the_global_generator() -> None:
    policy = a_policy(IMAGES)
    masks = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        masks.append(policy.propose(a_batch(IMAGES), GRID, Generator().manual_seed(0)).mask)
    assert masks[0].equal(masks[1])


def test_the_greedy_box_stands_where_q_is_largest() -> None:
    policy = a_policy(IMAGES, **GREEDY)
    torch.nn.init.normal_(policy.network.advantage.weight, generator=Generator().manual_seed(0))
    best = policy.maps(IMAGES, GRID).values.flatten(1).argmax(1)
    assert policy.propose(a_batch(IMAGES), GRID, Generator()).episode.chosen[0].equal(best)
    assert policy.choose_masks(IMAGES, GRID, Generator()).equal(policy.places.masks(best))


def test_later_boxes_hide_enough_that_is_new_and_never_the_same_place() -> None:
    policy = a_policy(IMAGES, boxes=3, least_new=0.5, **RANDOM)
    episode = policy.propose(a_batch(IMAGES), GRID, Generator().manual_seed(0)).episode
    assert (episode.fresh.sum((2, 3)) >= 4.5).all()
    assert all(len(places.unique()) == 3 for places in episode.chosen.T)
    union = torch.stack([policy.places.masks(place) for place in episode.chosen]).any(0)
    assert union.equal(episode.hidden[-1])


def test_an_episode_ends_where_no_place_is_left_and_is_counted() -> None:
    # On 4 x 4 cells, after a box of 2 x 2 in the middle, no other one is wholly new.
    policy = a_policy(IMAGES, grid=(4, 4), box=[2, 2], boxes=2, least_new=1.0, **GREEDY)
    middle = torch.full((8,), 4)
    policy._greedy = lambda q, allowed, index, turn: middle  # type: ignore[method-assign]
    proposal, figures = step(policy, a_batch(IMAGES[:8]), Generator())
    assert proposal.mask.sum((1, 2)).tolist() == [4] * 8
    assert proposal.episode.played.tolist() == [[True] * 8, [False] * 8]
    assert float(figures["ended_early"]) == 1.0


def test_the_release_never_explores_a_place_where_the_box_overhangs() -> None:
    policy = a_policy(IMAGES, **{**RELEASE, **RANDOM})
    generator = Generator().manual_seed(0)
    proposals = [policy.propose(a_batch(IMAGES), (4, 4), generator) for _ in range(20)]
    chosen = torch.cat([proposal.episode.chosen[0] for proposal in proposals]).unique()
    assert chosen.tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]  # 3 x 3 of the 4 x 4 places


def test_a_cell_is_new_in_the_first_box_that_hides_it_and_in_no_other() -> None:
    block = {**RANDOM, "boxes": 3, "least_new": 0.25}
    policy = a_policy(IMAGES, **block)
    episode = policy.propose(a_batch(IMAGES), GRID, Generator().manual_seed(0)).episode
    times = episode.fresh.sum(0)
    assert times.equal(episode.hidden[-1].long())
    assert (episode.hidden[1:-1].sum((2, 3)) < episode.hidden[2:].sum((2, 3))).all()


def test_a_place_that_is_not_allowed_is_never_the_best() -> None:
    q = torch.arange(12.0).repeat(5, 1)
    allowed = torch.ones(5, 12, dtype=torch.bool)
    allowed[:, 8:] = False
    assert first_best(q, allowed).tolist() == [7] * 5
    assert any_best(q, allowed, torch.arange(5), key=3).tolist() == [7] * 5
