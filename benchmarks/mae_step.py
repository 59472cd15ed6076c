"""How fast masked autoencoders train, beside a supervised step and beside one another.

Printed are images per second of `mae` as a share of a supervised ResNet-18's (64 pixels, its
published stride; ViT-tiny/8, a decoder of 512 x 1, three quarters hidden), and the time of a
step of `multiscale` as a multiple of that of `mae`. Aims: at least .62, at most 1.5.

    OMP_NUM_THREADS=2 python benchmarks/mae_step.py [--rounds 9] [--batch 64]
"""

import argparse
import statistics

from steps import noise, supervised_step, training_step, where
from turns import by_turns, ratio

SIDE, HIDDEN = 64, 0.75


def recipe(objective: dict[str, object]) -> dict[str, object]:
    """Return a recipe of ViT-tiny/8 that hides three quarters at random."""
    return {
        "objective": objective,
        "policy": {"name": "random_cells", "ratio": HIDDEN},
        "encoder": {"name": "vit"},
        "optimisation": {"optimiser": {"name": "adamw", "betas": [0.9, 0.95]}},
    }


OBJECTIVES: dict[str, dict[str, object]] = {
    "mae": {"name": "mae"},
    "mae, all patches in the loss": {"name": "mae", "loss_region": "all"},
    "multiscale": {"name": "multiscale"},
    "multiscale, enlarged target": {"name": "multiscale", "hi_target": "upsampled"},
    "multiscale, fine width 512": {
        "name": "multiscale",
        "fine_width": 512,
        "fine_heads": 16,
    },
}
RELEASE: dict[str, object] = {"name": "multiscale", "preset": "release"}


def main() -> None:
    """Measure and print one line per objective."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="of steps")
    parser.add_argument("--batch", type=int, default=64, help="images of a step")
    parser.add_argument(
        "--release", action="store_true", help="the authors' decoders, too: slow"
    )
    options = parser.parse_args()
    chosen = OBJECTIVES | ({"the release's decoders": RELEASE} if options.release else {})
    print(f"{where()}; ViT-tiny/8, {options.batch} images of {SIDE} pixels")
    images = noise(options.batch, SIDE)
    steps = {
        name: training_step(recipe(objective), images, SIDE // 8, HIDDEN, fine=2)
        for name, objective in chosen.items()
    }
    taken = by_turns({"supervised": supervised_step(images), **steps}, options.rounds, warm=2)
    for name in steps:
        cost = f"{1000 * statistics.median(taken[name]):.0f} ms per step"
        speed = ratio(taken["supervised"], taken[name])
        times = ratio(taken[name], taken["mae"])
        print(f"{name}: speed / supervised {speed}; time / mae {times}; {cost}")


if __name__ == "__main__":
    main()
