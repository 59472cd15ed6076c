"""Operating points: a threshold that validation images chose, measured on test images."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.metrics import roc_curve

from maskwise.array_types import Floats
from maskwise.evaluate import scales
from maskwise.evaluate.figures import Figure, figure, rounded
from maskwise.evaluate.referee.networks import Asked, Networks, found_and_spared
from maskwise.evaluate.resampling import Draws, resample

_NEARLY = 1e-9
"""What rounding takes of a rate that is just reached."""


@dataclass(frozen=True)
class Goal:
    """What of the two rates is fixed, and at which value."""

    fixed: Literal["sensitivity", "specificity"]
    target: float


def threshold(validation: Asked, goal: Goal) -> float:
    """Return from which probability on the class is called; infinite where that is never.

    Of all thresholds that reach the goal on validation images the one whose other rate is
    highest there; of equal ones the highest. NaN where they do not hold both kinds.
    """
    if not validation.both:
        return float("nan")
    false, true, thresholds = roc_curve(
        validation.shows,
        validation.probabilities,
        sample_weight=validation.weights,
        drop_intermediate=False,
    )
    # From the strictest threshold, which calls nothing, to the one that calls everything.
    if goal.fixed == "sensitivity":
        return float(thresholds[np.argmax(true >= goal.target - _NEARLY)])
    within = true[1 - false >= goal.target - _NEARLY]
    return float(thresholds[np.argmax(true >= within[-1] - _NEARLY)])


def operating_point(networks: Networks, goal: Goal, prevalence: float | None) -> dict[str, Any]:
    """Return what the networks reach on test images, each at its own threshold."""
    at = {one.seed: threshold(one.validation, goal) for one in networks.each()}
    point: dict[str, Any] = {
        "fixed": goal.fixed,
        "target": goal.target,
        "chosen": not np.isnan(list(at.values())).any(),
        # JSON has no infinity: where a class is never called there is no threshold.
        "thresholds": [rounded(one) if np.isfinite(one) else None for one in at.values()],
    }
    if not point["chosen"]:
        return point
    draws = networks.draws
    rates = networks.over(lambda one: rates_at(one.test, at[one.seed], draws))  # (2, R, D)
    reached = networks.over(
        lambda one: rates_at(one.validation, at[one.seed], once(one.validation))
    ).mean(axis=1)
    shows, others = networks.apart
    sensitivity = share_of(rates[0], draws, shows)
    specificity = share_of(rates[1], draws, others)
    return point | {
        "validation": {
            "sensitivity": rounded(float(reached[0, 0])),
            "specificity": rounded(float(reached[1, 0])),
        },
        "sensitivity": sensitivity,
        "specificity": specificity,
        **predictive_values(sensitivity, specificity, prevalence),
    }


def rates_at(asked: Asked, threshold: float, draws: Draws) -> Floats:
    """Return sensitivity and specificity, ``(2, D)``, where called from ``threshold`` on."""
    return np.stack(found_and_spared(asked, asked.probabilities >= threshold, draws))


def once(asked: Asked) -> Draws:
    """Return no draw, but the data as they are."""
    groups = int(asked.group.max()) + 1
    return Draws(np.zeros(0), np.ones((groups, 1)), (groups,), 1)


def share_of(values: Floats, draws: Draws, groups: int) -> Figure:
    """Return a share ``(R, D)`` of the images of so many groups, with its interval."""
    found = resample(values, draws, groups)
    ends = scales.interval(found.value, found.both, groups, "outcome")
    return figure(found.value, ends)


def predictive_values(
    sensitivity: Figure, specificity: Figure, prevalence: float | None
) -> dict[str, Figure | None]:
    """Return PPV and NPV at a stated prevalence, by Bayes' theorem.

    Both rise with sensitivity and with specificity. The ends are computed from the ends of
    both intervals, and so hold the truth at least as often as these.
    """
    if prevalence is None:
        return {"ppv": None, "npv": None}
    ppv: Figure = {}
    npv: Figure = {}
    for end in ("value", "low", "high"):
        found, spared = sensitivity[end], specificity[end]
        if found is None or spared is None:
            ppv[end] = npv[end] = None
            continue
        called = found * prevalence + (1 - spared) * (1 - prevalence)
        passed = spared * (1 - prevalence) + (1 - found) * prevalence
        ppv[end] = rounded(found * prevalence / called) if called > 0 else None
        npv[end] = rounded(spared * (1 - prevalence) / passed) if passed > 0 else None
    return {"ppv": ppv, "npv": npv}
