"""The learning rate of each step, and when an epoch ends."""

import math
from typing import Literal

ScheduleName = Literal["cosine", "thirds"]


def learning_rate(
    name: ScheduleName, peak: float, warm_up: float, step: float, steps: float
) -> float:
    """Return the rate of ``step`` (from 0) of ``steps``; ``warm_up`` is a share of the steps.

    It rises linearly to ``peak``; then ``cosine`` falls to 0 along half a cosine, while
    ``thirds`` keeps .33 of it after each third of the steps (authors' ``MultiStepLR``).
    """
    rising = round(warm_up * steps)
    if step < rising:
        return peak * (step + 1) / (rising + 1)
    if name == "thirds":
        return float(peak * 0.33 ** (3 * step // steps))
    done = (step - rising) / max(1, steps - rising)
    return 0.5 * peak * (1 + math.cos(math.pi * done))


def epoch_ends(steps: int, steps_per_epoch: float) -> list[int]:
    """Return after how many steps each epoch ends; the last ends with the run."""
    whole = range(1, int(steps / steps_per_epoch) + 1)
    ends = {math.ceil(epoch * steps_per_epoch) for epoch in whole}
    return sorted({end for end in ends if end < steps} | {steps})


def moments(epochs: int, number: int) -> set[int]:
    """Return about ``number`` of ``epochs`` (from 1), evenly spread, from first to last."""
    if number < 2:
        return {epochs}
    return {round(1 + i * (epochs - 1) / (number - 1)) for i in range(number)}
