"""What going on from published weights costs beside the passes that it cannot do without.

A step of the recipe `simclr_continued` (EfficientNet-Lite0, stem and first two stages frozen,
statistics frozen, channels last) against two forward and backward passes of the same encoder,
equally frozen, over the same number of images: SimCLR sees each image twice. The rest of a step
is views, projector, loss, clipping and the optimiser. Both run in this process, by turns and in
changing order; printed is the median of the ratios of neighbouring steps. Aim: at most 1.1.

    python benchmarks/lite0_step.py [--rounds 20] [--side 128] [--batch 32]
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import torch
import yaml

from maskwise.pretrain.recipe import parse_recipe
from steps import noise, training_step, where
from turns import Work, by_turns, ratio

NAME = "simclr_continued"
RECIPE = Path(__file__).parents[1] / f"conf/base/recipes/parameters_{NAME}.yml"


def plain_passes(block: dict[str, Any], images: torch.Tensor) -> Work:
    """Return two passes forward and backward of the recipe's encoder alone."""
    encoder = parse_recipe(block, NAME).encoder.build(images.shape[1]).train()
    encoder.to(images.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def passes() -> None:
        for _ in range(2):
            encoder(images)[-1].square().mean().backward()
            encoder.zero_grad()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return passes


def main() -> None:
    """Measure and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="of steps")
    parser.add_argument("--side", type=int, default=128, help="pixels")
    parser.add_argument("--batch", type=int, default=32, help="images")
    options = parser.parse_args()
    block: dict[str, Any] = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))[NAME]
    images = noise(options.batch, options.side)
    taken = by_turns(
        {
            "step": training_step(block, images, 16, 0.5),
            "two passes": plain_passes(block, images),
        },
        options.rounds,
    )
    print(f"{where()}; {options.batch} images of {options.side} pixels")
    step, passes = taken["step"], taken["two passes"]
    print(f"two passes: {1000 * statistics.median(passes):.0f} ms")
    cost = f"{1000 * statistics.median(step):.0f} ms per step"
    print(f"step / two passes: {ratio(step, passes)}; {cost}")


if __name__ == "__main__":
    main()
