"""Training steps as the loop makes them, for the benchmarks to time."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, nn

from maskwise.encoders.resnet import Resnet18Config
from maskwise.preparation import Preparation
from maskwise.pretrain.contracts import Batch, Setting
from maskwise.pretrain.optimisation import build_optimiser
from maskwise.pretrain.recipe import parse_recipe
from maskwise.pretrain.rehearsal import untaught
from turns import Work, machine


def where() -> str:
    """Say what the steps ran on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{machine()}, {torch.get_num_threads()} threads, {device}, torch {torch.__version__}"
    )


def noise(batch: int, side: int) -> torch.Tensor:
    """Return images ``(batch, 1, side, side)`` as the loop has them, on a GPU where one is."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = torch.randn(batch, 1, side, side, generator=Generator().manual_seed(0))
    return images.to(device).to(memory_format=torch.channels_last)


def training_step(
    recipe_block: Mapping[str, Any],
    images: torch.Tensor,
    cells: int,
    progress: float,
    agent: Mapping[str, Any] | None = None,
    trained_on: int | None = None,
    fine: int = 1,
) -> Work:
    """Return one step of the recipe on ``images``: choose, fill in, learn twice.

    ``fine`` is how many times as large the images are kept, and reduced in each step;
    ``agent`` is the recipe whose agent it asks for a map; ``trained_on`` how many images there
    would be.
    """
    recipe = parse_recipe(recipe_block, "recipe")
    b, channels, height, width = images.shape
    rows, device = torch.arange(b, device=images.device), images.device
    setting = Setting(
        channels=channels,
        height=height,
        width=width,
        grid=(cells, cells),
        steps_per_epoch=10.0,
        batch_size=b,
        modality="ultrasound",
        images=lambda index, seed: images[index],
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        laterality="free",
        rows=b,
        steps=100,
        trained_on=trained_on or b,
        histogram=lambda: torch.ones(256),
        fine=fine,
    )
    if agent is not None:
        asked = parse_recipe(agent, "agent")
        seen = Preparation(
            channels=channels,
            height=height,
            width=width,
            geometry={"name": "resize"},
            intensity={"name": "range"},
            mean=setting.mean,
            std=setting.std,
            modality=setting.modality,
        )
        setting = replace(setting, learnt=untaught(asked, "agent", setting, seen, "noise"))
    torch.manual_seed(0)
    objective: Any = recipe.objective.build(setting, recipe.encoder.build(channels))
    # In the loop's order: a policy has its copy before the network moves.
    policy = recipe.policy.build(replace(setting, objective=objective))
    network = objective.to(device).to(memory_format=torch.channels_last)
    policy.to(device)
    optimiser = build_optimiser(recipe.optimisation, network)
    generator = Generator(device).manual_seed(0)
    parameters = list(network.parameters())
    batch = Batch(images, rows, rows, rows, progress=progress)
    kept = nn.functional.interpolate(images, scale_factor=fine) if fine > 1 else None

    def step() -> None:
        shown = batch
        if kept is not None:
            shown = replace(batch, images=nn.functional.avg_pool2d(kept, fine), fine=kept)
        proposal = policy.propose(shown, setting.grid, generator)
        outcome = network(shown, proposal.mask)
        outcome.loss.backward()
        nn.utils.clip_grad_norm_(parameters, recipe.optimisation.longest_gradient)
        optimiser.step()
        optimiser.zero_grad()
        network.stepped(progress)
        policy.learn(proposal, outcome)
        _finish()

    return step


def supervised_step(images: torch.Tensor) -> Work:
    """Return a step of a classifier: ResNet-18 of total stride 32, average, linear layer."""
    encoder, head = Resnet18Config(stride=32).build(images.shape[1]), nn.Linear(512, 3)
    model: Any = nn.ModuleList([encoder, head])
    model.to(images.device).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    labels = torch.arange(len(images), device=images.device) % 3

    def step() -> None:
        logits = head(encoder(images)[-1].mean(dim=(2, 3)))
        nn.functional.cross_entropy(logits, labels).backward()
        optimiser.step()
        optimiser.zero_grad()
        _finish()

    return step


def _finish() -> None:
    """Wait until a GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
