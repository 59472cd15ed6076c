"""What a step of ``a3c`` costs, as a multiple of a step of ``random_cells`` at the same ratio.

Both steps run in this process, on the same objective, batch and size, by turns and in changing
order; printed is the median of the ratios of neighbouring steps, so that other work falls on
both. Aim, for the default preset and for ``ahm``: at most 1.15.

    python benchmarks/a3c_step.py [--rounds 40] [--side 64] [--batch 32] [--grid 16]
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Generator

from maskwise.pretrain.contracts import Batch, Setting
from maskwise.pretrain.optimisation import build_optimiser
from maskwise.pretrain.recipe import parse_recipe

RECIPE = Path(__file__).parents[1] / "conf/base/recipes/parameters_a3c.yml"
POLICIES: dict[str, dict[str, Any]] = {
    "random_cells": {"name": "random_cells"},
    "a3c best": {"name": "a3c", "preset": "best"},
    "a3c ahm": {"name": "a3c", "preset": "ahm"},
    "a3c ahm, exact_k": {"name": "a3c", "preset": "ahm", "exact_k": True},
}
"""What is compared; the last is an option whose price is to be known, without an aim."""


def build_step(policy: dict[str, Any], images: torch.Tensor, cells: int) -> Callable[[], None]:
    """Return one training step of the recipe ``a3c`` with ``policy``, on ``images``."""
    block = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))["a3c"]
    ratio = block["policy"].get("ratio", 0.5)
    recipe = parse_recipe({**block, "policy": {**policy, "ratio": ratio}}, "a3c")
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
    )
    objective = recipe.objective.build(setting, recipe.encoder.build(channels)).to(device)
    objective = objective.to(memory_format=torch.channels_last)
    chooser = recipe.policy.build(replace(setting, objective=objective))
    chooser.to(device)
    optimiser = build_optimiser(recipe.optimisation, objective)
    generator = Generator(device).manual_seed(0)
    parameters = list(objective.parameters())
    batch = Batch(images, rows, rows, rows, progress=0.5)

    def step() -> None:
        proposal = chooser.propose(batch, setting.grid, generator)
        outcome = objective(batch, proposal.mask)
        outcome.loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, recipe.optimisation.clip_norm)
        optimiser.step()
        optimiser.zero_grad()
        chooser.learn(proposal, outcome)

    return step


def seconds(step: Callable[[], None]) -> float:
    """Return how long one step takes, to its end on a GPU."""
    start = time.perf_counter()
    step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print one line a policy."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help="rounds of steps, at least 20")
    parser.add_argument("--side", type=int, default=64, help="pixels")
    parser.add_argument("--batch", type=int, default=32, help="images")
    parser.add_argument("--grid", type=int, default=16, help="cells a side")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    images = torch.randn(arguments.batch, 1, arguments.side, arguments.side)
    images = images.to(device).to(memory_format=torch.channels_last)
    steps = {
        name: build_step(block, images, arguments.grid) for name, block in POLICIES.items()
    }
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(5 + max(20, arguments.rounds)):
        for name in list(steps)[:: 1 if number % 2 else -1]:
            spent = seconds(steps[name])
            if number >= 5:  # the first rounds warm caches and allocators up
                taken[name].append(spent)
    where = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    print(
        f"{device}, {where}; {arguments.batch} images of {arguments.side} pixels, "
        f"{arguments.grid} x {arguments.grid} cells"
    )
    control = taken.pop("random_cells")
    print(f"random_cells: {1000 * statistics.median(control):.1f} ms a step")
    for name, times in taken.items():
        ratios = sorted(a / b for a, b in zip(times, control, strict=True))
        low, high = ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]
        print(
            f"{name} / random_cells: {statistics.median(ratios):.3f} "
            f"(quartiles {low:.3f} to {high:.3f}, {len(ratios)} rounds; "
            f"{1000 * statistics.median(times):.1f} ms a step)"
        )


if __name__ == "__main__":
    main()
