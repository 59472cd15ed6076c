"""How often sets of answers hold the truth: calibrated on held-out images, measured on test.

As `predict` makes them (``limits.conformal``), from the same probabilities: a network's own
validation images calibrate it, those of its fraction of the labels. What is counted is patients
(groups): the set holds the truth for all test images of the patient of whom an answer is true.

The 95 % interval is Wilson's, for so many test patients, whichever network answered.
``expected`` is where the share of one network would lie in 95 of 100 cases if patients are
exchangeable: with n held-out patients the coverage itself is drawn from a beta distribution
(Vovk 2012), and what so many test patients show of it is beta-binomial.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import betabinom, norm

from maskwise.array_types import Floats
from maskwise.evaluate.few_labels import with_labels
from maskwise.evaluate.figures import rounded
from maskwise.limits.conformal import (
    NEAR,
    Calibration,
    chances_of_labels,
    needed,
    of_labels,
)

CHANCE = 0.95
_NETWORK = ["recipe", "mode", "fraction", "seed"]


class _Network(NamedTuple):
    """What one network's sets did."""

    held_out: list[int]
    """Patients, of each answer."""
    covered: list[set[str]]
    patients: list[set[str]]
    """Test patients of whom each answer is true."""
    size: float
    """Mean number of answers in an image's set, of several labels per label."""
    single: float
    """Share of images (times labels) of which one answer alone is in the set."""


def measure(
    predictions: pd.DataFrame, subsets: pd.DataFrame, names: tuple[str, ...], level: float
) -> dict[str, Any] | None:
    """Return what ``scores.json`` says of sets at ``level``; None of a task that outlines.

    Args:
        predictions: ``tables.PREDICTIONS``, validation and test part, and ``p_<name>``.
        subsets: ``tables.SUBSETS``.
        names: the classes, or labels.
        level: coverage that sets are to have.
    """
    if f"p_{names[0]}" not in predictions:
        return None
    several = f"truth_{names[0]}" in predictions
    # A label may itself be called "not x": what an answer says is no part of its name.
    answers = [(name, absent) for absent in (False, True)[: 1 + several] for name in names]
    labelled = with_labels(predictions[predictions["truth"].notna()], subsets)
    held_out = labelled[labelled["split"] == "validation"]
    held_out_of = dict(list(held_out.groupby(_NETWORK, sort=False)))
    networks: dict[tuple[str, str, float], list[_Network]] = {}
    for network, rows in labelled[labelled["split"] == "test"].groupby(_NETWORK, sort=False):
        recipe, mode, fraction, _ = network
        if network in held_out_of:
            found = _network(held_out_of[network], rows, names, several, level)
            networks.setdefault((recipe, mode, float(fraction)), []).append(found)
    scores: dict[str, Any] = {}
    for (recipe, mode, fraction), each in networks.items():
        figures = {
            "size": rounded(float(np.mean([one.size for one in each]))),
            "single": rounded(float(np.mean([one.single for one in each]))),
            "answers": [
                {"name": name, "absent": absent, **_figures(each, k, level)}
                for k, (name, absent) in enumerate(answers)
            ],
        }
        scores.setdefault(recipe, {}).setdefault(mode, {})[str(fraction)] = figures
    return {"coverage": level, "needed": needed(level), "scores": scores}


def _network(
    held_out: pd.DataFrame,
    test: pd.DataFrame,
    names: tuple[str, ...],
    several: bool,
    level: float,
) -> _Network:
    chances, shows = _arrays(held_out, names, several)
    answers = of_labels(names) if several else names
    patients = held_out["group"].to_numpy(dtype=object)
    calibration = Calibration.of(answers, chances, shows, patients)
    chances, shows = _arrays(test, names, several)
    held = calibration.sets(chances, level)
    groups = test["group"].astype(str).to_numpy(dtype=object)
    shown = [set(groups[true]) for true in shows.T]
    missed = [set(groups[true & ~inside]) for true, inside in zip(shows.T, held.T, strict=True)]
    per_question = held.reshape(len(held), 2, -1).sum(axis=1) if several else held.sum(axis=1)
    return _Network(
        held_out=[len(scores) for scores in calibration.scores],
        covered=[all_ - out for all_, out in zip(shown, missed, strict=True)],
        patients=shown,
        size=float(per_question.mean()),
        single=float((per_question == 1).mean()),
    )


def _arrays(
    rows: pd.DataFrame, names: tuple[str, ...], several: bool
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the probability ``(N, A)`` of each answer, and whether it is true."""
    chances = rows[[f"p_{name}" for name in names]].to_numpy(np.float64)
    if several:
        truth = rows[[f"truth_{name}" for name in names]].to_numpy(np.float64) > 0
        return chances_of_labels(chances), np.concatenate([truth, ~truth], axis=1)
    return chances, rows["truth"].to_numpy(dtype=object)[:, None] == np.asarray(names, object)


def _figures(networks: list[_Network], answer: int, level: float) -> dict[str, Any]:
    tested = [one for one in networks if one.patients[answer]]
    everyone = set().union(*(one.patients[answer] for one in networks))
    held_out = min(one.held_out[answer] for one in networks)
    found = {"held_out": held_out, "patients": len(everyone)}
    if not tested:
        return {**found, **dict.fromkeys(("value", "low", "high"))}
    shares = [len(one.covered[answer]) / len(one.patients[answer]) for one in tested]
    value, fewest = float(np.mean(shares)), min(len(one.patients[answer]) for one in tested)
    low, high = wilson(value, len(everyone))
    first, last = expected(held_out, fewest, level)
    figures = {"value": value, "low": low, "high": high}
    figures |= {"expected_low": first, "expected_high": last}
    return {**found, **{name: rounded(figure) for name, figure in figures.items()}}


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the ends of Wilson's 95 % interval of a share of ``count``."""
    z = float(norm.ppf((1 + CHANCE) / 2))
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    root = math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    half = z / (1 + z**2 / count) * root
    return max(0.0, middle - half), min(1.0, middle + half)


def expected(held_out: int, tested: int, level: float) -> tuple[float, float]:
    """Return between which shares of ``tested`` patients one network's coverage should lie.

    In at least 95 of 100 cases, with ``held_out`` patients to calibrate by.
    """
    kept_out = math.floor((1 + held_out) * (1 - level) + NEAR)
    if kept_out == 0:  # too few: every set holds the answer
        return 1.0, 1.0
    found = betabinom(tested, held_out + 1 - kept_out, kept_out).ppf([0.025, 0.975])
    return float(found[0] / tested), float(found[1] / tested)
