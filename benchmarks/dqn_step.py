"""What a step of ``dqn`` costs, as a multiple of a step of ``random_box`` at the same batch.

Both steps run in this process, by turns and in changing order; printed is the median of the
ratios of neighbouring steps, so that other work falls on both. Aim: at most 1.15.

    python benchmarks/dqn_step.py [--rounds 40] [--side 64] [--batch 32]
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from torch import Generator

from maskwise.pretrain.contracts import Batch, Setting
from maskwise.pretrain.optimisation import build_optimiser
from maskwise.pretrain.recipe import parse_recipe

RECIPES = Path(__file__).parents[1] / "conf/base/recipes"


def build_step(recipe_name: str, images: torch.Tensor) -> Callable[[], None]:
    """Return one training step of the recipe as its YAML stands, on ``images``."""
    text = (RECIPES / f"parameters_{recipe_name}.yml").read_text(encoding="utf-8")
    recipe = parse_recipe(yaml.safe_load(text)[recipe_name], recipe_name)
    b, channels, height, width = images.shape
    rows, device = torch.arange(b, device=images.device), images.device
    setting = Setting(
        channels=channels,
        height=height,
        width=width,
        grid=(16, 16),
        steps_per_epoch=10.0,
        batch_size=b,
        modality="ultrasound",
        images=lambda index, seed: images[index],
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        laterality="free",
        rows=b,
    )
    encoder = recipe.encoder.build(channels)
    objective = recipe.objective.build(setting, encoder).to(device)
    objective = objective.to(memory_format=torch.channels_last)
    policy = recipe.policy.build(setting)
    policy.to(device)
    optimiser = build_optimiser(recipe.optimisation, objective)
    generator = Generator(device).manual_seed(0)
    parameters = list(objective.parameters())
    batch = Batch(images, rows, rows, rows, progress=0.5)

    def step() -> None:
        proposal = policy.propose(batch, setting.grid, generator)
        outcome = objective(batch, proposal.mask)
        outcome.loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, recipe.optimisation.clip_norm)
        optimiser.step()
        optimiser.zero_grad()
        policy.learn(proposal, outcome)

    return step


def seconds(step: Callable[[], None]) -> float:
    """Return how long one step takes, to its end on a GPU."""
    start = time.perf_counter()
    step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print one line a recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help="pairs of steps, at least 20")
    parser.add_argument("--side", type=int, default=64, help="pixels")
    parser.add_argument("--batch", type=int, default=32, help="images")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    images = torch.randn(arguments.batch, 1, arguments.side, arguments.side)
    images = images.to(device).to(memory_format=torch.channels_last)
    names = ("random_box", "dqn", "dqn_release")
    steps = {name: build_step(name, images) for name in names}
    taken: dict[str, list[float]] = {name: [] for name in names}
    for number in range(5 + max(20, arguments.rounds)):
        order = names if number % 2 else names[::-1]
        for name in order:
            spent = seconds(steps[name])
            if number >= 5:  # the first rounds warm caches and allocators up
                taken[name].append(spent)
    where = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    print(f"{device}, {where}; {arguments.batch} images of {arguments.side} pixels")
    for name in names[1:]:
        ratios = sorted(a / b for a, b in zip(taken[name], taken["random_box"], strict=True))
        low, high = ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]
        print(
            f"{name} / random_box: {statistics.median(ratios):.3f} "
            f"(quartiles {low:.3f} to {high:.3f}, {len(ratios)} rounds; "
            f"{1000 * statistics.median(taken[name]):.1f} ms a step)"
        )


if __name__ == "__main__":
    main()
