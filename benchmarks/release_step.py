"""Speed of `dqn` with the authors' predictor, as a share of a supervised ResNet-18's.

The predictor is that of the release (``RELEASE`` of encoder and objective) on 128 pixels; the
ResNet-18 is the published one, total stride 32, on 64 pixels. Both train in this process, by
turns and in changing order, at the same batch; printed is the median of the ratios of images a
second of neighbouring steps. Aim: at least 0.19.

    python benchmarks/release_step.py [--rounds 20] [--batch 32]
"""

import argparse
import statistics

import torch

from maskwise.encoders.context_cnn import RELEASE as RELEASE_ENCODER
from maskwise.pretrain.objectives.context_encoder import RELEASE as RELEASE_OBJECTIVE
from steps import noise, supervised_step, training_step, where
from turns import by_turns, ratio

RECIPE = {
    "objective": {"name": "context_encoder", **RELEASE_OBJECTIVE},
    "policy": {"name": "dqn", "preset": "paper"},
    "encoder": {"name": "context_cnn", **RELEASE_ENCODER},
}


def main() -> None:
    """Measure by turns and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="pairs of steps, at least 20")
    parser.add_argument("--batch", type=int, default=32, help="images")
    options = parser.parse_args()
    torch.manual_seed(0)
    steps = {
        "masked": training_step(RECIPE, noise(options.batch, 128), cells=16, progress=0.5),
        "supervised": supervised_step(noise(options.batch, 64)),
    }
    taken = by_turns(steps, max(20, options.rounds))
    speeds = {name: options.batch / statistics.median(times) for name, times in taken.items()}
    print(where())
    print(
        "images/s, Intelligent Masking at 128 px / supervised ResNet-18 at 64 px: "
        f"{ratio(taken['supervised'], taken['masked'])}; {speeds['masked']:.0f} and "
        f"{speeds['supervised']:.0f} images/s"
    )


if __name__ == "__main__":
    main()
