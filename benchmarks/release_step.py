"""Speed of `dqn` with the authors' predictor, as a share of a supervised ResNet-18's.

The predictor is that of the release (``RELEASE`` of encoder and objective) on 128 pixels; the
ResNet-18 is the published one, total stride 32, on 64 pixels. Both train in this process, by
turns and in changing order, at the same batch; printed is the median of the ratios of images a
second of neighbouring steps. Aim: at least 0.19.

    python benchmarks/release_step.py [--rounds 20] [--batch 32]
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Generator, nn

from maskwise.encoders.context_cnn import RELEASE as RELEASE_ENCODER
from maskwise.encoders.resnet18 import Resnet18Config
from maskwise.pretrain.contracts import Batch, Setting
from maskwise.pretrain.objectives.context_encoder import RELEASE as RELEASE_OBJECTIVE
from maskwise.pretrain.optimisation import build_optimiser
from maskwise.pretrain.recipe import parse_recipe

Step = Callable[[], None]
RECIPE = {
    "objective": {"name": "context_encoder", **RELEASE_OBJECTIVE},
    "policy": {"name": "dqn", "preset": "paper"},
    "encoder": {"name": "context_cnn", **RELEASE_ENCODER},
}


def masked_step(batch_size: int) -> Step:
    """Return a step of Intelligent Masking: choose boxes, fill in, learn twice."""
    recipe = parse_recipe(RECIPE, "release")
    images = torch.randn(batch_size, 1, 128, 128).to(memory_format=torch.channels_last)
    rows = torch.arange(batch_size)
    setting = Setting(
        channels=1,
        height=128,
        width=128,
        grid=(16, 16),
        steps_per_epoch=10.0,
        batch_size=batch_size,
        modality="ultrasound",
        images=lambda index, seed: images[index],
        mean=(0.0,),
        std=(1.0,),
        laterality="free",
        rows=batch_size,
    )
    encoder = recipe.encoder.build(1)
    objective = recipe.objective.build(setting, encoder)
    objective = objective.to(memory_format=torch.channels_last)  # type: ignore[call-arg]
    policy = recipe.policy.build(setting)
    optimiser = build_optimiser(recipe.optimisation, objective)
    parameters = list(objective.parameters())
    generator = Generator().manual_seed(0)
    batch = Batch(images, rows, rows, rows, progress=0.5)

    def step() -> None:
        proposal = policy.propose(batch, setting.grid, generator)
        outcome = objective(batch, proposal.mask)
        outcome.loss.backward()
        nn.utils.clip_grad_norm_(parameters, recipe.optimisation.clip_norm)
        optimiser.step()
        optimiser.zero_grad()
        policy.learn(proposal, outcome)

    return step


def supervised_step(batch_size: int) -> Step:
    """Return a step of a classifier: ResNet-18, average, linear layer."""
    encoder, head = Resnet18Config(stride=32).build(1), nn.Linear(512, 3)
    model = nn.ModuleList([encoder, head])
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    images = torch.randn(batch_size, 1, 64, 64).to(memory_format=torch.channels_last)
    labels = torch.arange(batch_size) % 3

    def step() -> None:
        logits = head(encoder(images)[-1].mean(dim=(2, 3)))
        nn.functional.cross_entropy(logits, labels).backward()
        optimiser.step()
        optimiser.zero_grad()

    return step


def seconds(step: Step) -> float:
    """Return how long one step takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    """Measure by turns and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="pairs of steps, at least 20")
    parser.add_argument("--batch", type=int, default=32, help="images")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    steps = {
        "masked": masked_step(arguments.batch),
        "supervised": supervised_step(arguments.batch),
    }
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(3 + max(20, arguments.rounds)):
        for name in list(steps) if number % 2 else list(steps)[::-1]:
            spent = seconds(steps[name])
            if number >= 3:  # the first rounds warm caches and allocators up
                taken[name].append(spent)
    pairs = zip(taken["supervised"], taken["masked"], strict=True)
    ratios = sorted(supervised / masked for supervised, masked in pairs)
    low, high = ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]
    speeds = {name: arguments.batch / statistics.median(taken[name]) for name in taken}
    print(f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    print(
        f"images/s, Intelligent Masking at 128 px / supervised ResNet-18 at 64 px: "
        f"{statistics.median(ratios):.3f} (quartiles {low:.3f} to {high:.3f}, {len(ratios)} "
        f"rounds; {speeds['masked']:.0f} and {speeds['supervised']:.0f} images/s)"
    )


if __name__ == "__main__":
    main()
