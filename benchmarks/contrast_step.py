"""How near MoCo v2, BYOL and SwAV come to what their passes alone must cost.

With a forward pass as 1 and a backward pass as 2, a supervised step is 3, one of MoCo v2 4 (the
key encoder only looks), of BYOL 8 and of SwAV with two large views 6: they see at most 3/4, 3/8
and 1/2 of the images per second. Printed is the share of that bound which is reached, views
included, as the median of the ratios of neighbouring steps. Aim: at least .97.

    python benchmarks/contrast_step.py [--rounds 20] [--side 64] [--batch 128]
"""

import argparse
import statistics
from collections.abc import Mapping
from typing import Any

from steps import noise, supervised_step, training_step, where
from turns import by_turns, ratio

BOUNDS = {"moco_v2": 3 / 4, "byol": 3 / 8, "swav": 1 / 2}
OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "moco_v2": {"queue": 4096, "false_negatives": "image"},
    "byol": {},
    "swav": {"crops": 0, "prototypes": 512, "queue": 0},
}


def recipe(name: str) -> dict[str, Any]:
    """Return a recipe of the objective ``name`` with ResNet-18 at its published stride."""
    return {
        "objective": {"name": name, **OPTIONS[name]},
        "policy": {"name": "none"},
        "encoder": {"name": "resnet18", "stride": 32},
    }


def main() -> None:
    """Measure and print one line per objective."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="of steps")
    parser.add_argument("--side", type=int, default=64, help="pixels")
    parser.add_argument("--batch", type=int, default=128, help="images")
    options = parser.parse_args()
    images = noise(options.batch, options.side)
    steps = {
        name: training_step(recipe(name), images, 16, 0.5, trained_on=10_000) for name in BOUNDS
    }
    taken = by_turns({"supervised": supervised_step(images), **steps}, options.rounds, warm=2)
    print(f"{where()}; {options.batch} images of {options.side} pixels, ResNet-18")
    supervised = taken["supervised"]
    print(f"supervised: {1000 * statistics.median(supervised):.0f} ms per step")
    for name, bound in BOUNDS.items():
        reached = [second / bound for second in supervised]
        cost = f"{1000 * statistics.median(taken[name]):.0f} ms per step"
        print(f"{name}, share of {bound:g}: {ratio(reached, taken[name])}; {cost}")


if __name__ == "__main__":
    main()
