"""Contrast: the loss by a loop, which images are strangers, and the views."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from maskwise.config import parse
from maskwise.encoders.context_cnn import ContextCnnConfig
from maskwise.masks import to_pixels
from maskwise.pretrain.contracts import Batch
from maskwise.pretrain.objectives.simclr import Simclr, SimclrConfig, contrast
from maskwise.pretrain.views import Views, ViewsConfig, view_seeds
from pretrain.toys import make_setting

GRID = (4, 4)
STRANGERS = torch.arange(4)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def loss_by_loop(embeddings: Tensor, group: Tensor, temperature: float) -> list[float]:
    """Say for each view how surprising its partner is among all strangers and the partner."""
    unit = [e.double() / e.double().norm() for e in embeddings]
    b, losses = len(group), []
    for i, one in enumerate(unit):
        partner, terms = (i + b) % (2 * b), []
        for j, other in enumerate(unit):
            if j == partner or int(group[i % b]) != int(group[j % b]):
                terms.append(math.exp(float(one @ other) / temperature))
        own = math.exp(float(one @ unit[partner]) / temperature)
        losses.append(-math.log(own / sum(terms)))
    return losses


@pytest.mark.parametrize("group", [[0, 1, 2, 3], [0, 0, 1, 2], [0, 0, 0, 0]])
@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_the_loss_is_that_of_a_loop_over_views(group: list[int], temperature: float) -> None:
    embeddings = draw(8, 5).double()
    losses, _ = contrast(embeddings, torch.tensor(group), temperature)
    by_loop = loss_by_loop(embeddings, torch.tensor(group), temperature)
    expected = torch.tensor(by_loop, dtype=torch.float64)
    torch.testing.assert_close(losses, expected, atol=1e-10, rtol=1e-10)


def test_images_of_one_group_are_no_negatives_of_each_other() -> None:
    embeddings = draw(8, 5)
    embeddings[[1, 5]] = embeddings[[0, 4]]  # image 1 is a duplicate of image 0
    together, _ = contrast(embeddings, torch.tensor([0, 0, 1, 2]), 0.1)
    apart, _ = contrast(embeddings, STRANGERS, 0.1)
    assert together[0] < apart[0]


def test_swapping_the_views_changes_no_image_s_loss() -> None:
    embeddings = draw(8, 5)
    losses, _ = contrast(embeddings, STRANGERS, 0.2)
    swapped, _ = contrast(embeddings.roll(4, 0), STRANGERS, 0.2)
    torch.testing.assert_close(swapped, losses.roll(4))


def test_a_network_that_tells_no_images_apart_is_at_chance() -> None:
    losses, _ = contrast(torch.ones(8, 5), STRANGERS, 0.2)
    torch.testing.assert_close(losses, torch.full((8,), math.log(2 * 4 - 1)))


def test_the_loss_is_finite_at_a_low_temperature_and_for_equal_images() -> None:
    embeddings = (100 * draw(1, 5)).expand(8, 5).clone().requires_grad_()
    losses, _ = contrast(embeddings, STRANGERS, 0.05)
    losses.mean().backward()
    assert losses.isfinite().all()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()


def build(block: dict[str, Any] | None = None, modality: str = "ultrasound") -> Simclr:
    setting = make_setting(grid=GRID, batch_size=4, modality=modality, mean=(0.5,), std=(0.25,))
    torch.manual_seed(0)
    encoder = ContextCnnConfig(widths=(8, 16), convolutions=(1, 1)).build(1)
    options = {"hidden": 8, "embedding": 8, **(block or {})}
    return parse(SimclrConfig, options, "objective").build(setting, encoder)


def batch(seeds: Tensor = STRANGERS) -> Batch:
    images = draw(4, 1, 32, 32, seed=1)
    return Batch(images, STRANGERS, group=STRANGERS, augmentation_seed=seeds, progress=0.0)


NOTHING = torch.zeros(4, *GRID, dtype=torch.bool)


def test_every_parameter_is_taught_and_the_figures_are_finite() -> None:
    objective = build()
    outcome = objective(batch(), NOTHING)
    outcome.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.parameters())
    assert {"alignment", "uniformity"} == set(outcome.figures)
    assert all(figure.isfinite() for figure in outcome.figures.values())


def test_equal_seeds_give_equal_losses_and_other_seeds_others() -> None:
    objective = build()
    first, again = objective(batch(), NOTHING).loss, objective(batch(), NOTHING).loss
    other = objective(batch(STRANGERS + 100), NOTHING).loss
    assert first == again
    assert first != other


def test_with_a_mask_an_image_s_loss_is_the_error_of_its_hidden_cells() -> None:
    mask = NOTHING.clone()
    mask[:, 1:3, 1:3] = True
    outcome = build()(batch(), mask)
    errors = outcome.error_map[mask].reshape(4, 4)
    assert torch.equal(outcome.error_map.isnan(), ~mask)
    assert (errors == errors[:, :1]).all()
    torch.testing.assert_close(errors[:, 0].mean(), outcome.loss.detach())


def test_hiding_cells_changes_the_task_and_hiding_none_does_not() -> None:
    objective, mask = build(), NOTHING.clone()
    bare = objective(batch(), NOTHING).loss
    mask[:, :2] = True
    assert objective(batch(), mask).loss != bare
    assert objective(batch(), NOTHING).error_map.isnan().all()


def views_seen(objective: Simclr, shown: Batch, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the encoder is given for the first views, and for the second."""
    seen: list[Tensor] = []
    hook = objective.encoder.register_forward_pre_hook(
        lambda module, given: seen.append(given[0])
    )
    objective(shown, mask)
    hook.remove()
    first, second = seen[0].chunk(2)
    return first, second


def test_a_mask_hides_cells_of_one_view_and_leaves_the_other_whole() -> None:
    objective, mask = build(), NOTHING.clone()
    mask[:, 1:3, 2] = True
    bare, masked = views_seen(objective, batch(), NOTHING), views_seen(objective, batch(), mask)
    assert masked[1].equal(bare[1])
    assert all(not torch.equal(*pair) for pair in zip(masked[0], bare[0], strict=True))


def test_the_masked_view_is_made_of_the_image_with_its_cells_at_the_image_s_mean() -> None:
    objective, shown, mask = build(), batch(), NOTHING.clone()
    mask[:, 1:3, 2] = True
    filled = shown.images.clone()
    for image, pixels in zip(filled, to_pixels(mask, 32, 32), strict=True):
        image[pixels] = float(image.double().mean())
    by_hand = views_seen(objective, replace(shown, images=filled), NOTHING)[0]
    torch.testing.assert_close(views_seen(objective, shown, mask)[0], by_hand)


def test_with_reward_easy_an_agent_earns_the_negative_and_the_network_learns_the_same() -> None:
    mask = NOTHING.clone()
    mask[:, 1:3, 1:3] = True
    hard, easy = build()(batch(), mask), build({"reward": "easy"})(batch(), mask)
    assert easy.loss == hard.loss
    assert easy.error_map[mask].equal(-hard.error_map[mask])


def test_uniformity_is_that_of_pairs_of_different_images() -> None:
    objective, seen = build(), []
    objective.projector.register_forward_hook(lambda module, given, out: seen.append(out))
    figures = objective(batch(), NOTHING).figures
    unit = [each.double() / each.double().norm() for each in seen[0].detach()]
    apart = [
        math.exp(-2 * float((unit[i] - unit[j]).square().sum()))
        for i in range(4)
        for j in range(i)
    ]
    assert float(figures["uniformity"]) == pytest.approx(
        math.log(sum(apart) / len(apart)), 1e-4
    )


def test_the_two_views_of_an_image_are_strangers() -> None:
    objective, seen = build(), []
    objective.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    objective(batch(), NOTHING)
    first, second = seen[0].chunk(2)
    assert all(
        not torch.allclose(*views, atol=0.1) for views in zip(first, second, strict=True)
    )


def test_a_view_of_another_size_and_area_is_the_same_part_of_the_image() -> None:
    setting = make_setting(grid=GRID, mean=(0.0,), std=(1.0,))
    still = ViewsConfig(
        least_area=0.25, most_area=0.25, aspect=1, rotation=0, brightness=0, contrast=0,
        gamma=0, blur=0, noise=0,
    )  # fmt: skip
    ramp = torch.linspace(0, 1, 32).expand(4, 1, 32, 32)
    views = Views(still, setting, size=(16, 16))(ramp, STRANGERS)
    assert views.shape == (4, 1, 16, 16)
    # A quarter of the area is half of a side: as many pixels, each as it was.
    steps = (views[..., 1:] - views[..., :-1]).abs()
    torch.testing.assert_close(steps, torch.full_like(steps, 1 / 31), atol=1e-4, rtol=0)


def test_views_of_an_image_are_drawn_from_different_seeds() -> None:
    seeds = torch.cat([view_seeds(STRANGERS, number) for number in range(6)])
    assert len(seeds.unique()) == 24


def test_a_crop_whose_least_area_is_its_most_exceeded_is_refused() -> None:
    with pytest.raises(ValueError, match=r"least_area is 0.5 and most_area 0.25"):
        ViewsConfig(least_area=0.5, most_area=0.25)
