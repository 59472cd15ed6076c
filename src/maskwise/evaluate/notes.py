"""What a reader of the scores must know, in sentences with numbers."""

from collections.abc import Mapping

from scipy import stats

from maskwise.evaluate.arrangement import Arrangement
from maskwise.evaluate.comparisons import least_p
from maskwise.evaluate.config import EvaluateConfig

FEW_GROUPS = 30
"""Test groups in a class, below which an interval is a rough guide."""
ENOUGH_SEEDS = 10
LEVEL = 0.05
"""Holm-adjusted p under which a difference counts as shown."""


def class_counts(arrangement: Arrangement) -> dict[str, dict[str, int]]:
    """Count test images and groups of each class."""
    images = arrangement.images()
    return {
        name: {
            "n_images": int((images["truth"] == code).sum()),
            "n_groups": int(images.loc[images["truth"] == code, "group"].nunique()),
        }
        for code, name in enumerate(arrangement.measures.kinds)
    }


def write_notes(
    arrangement: Arrangement,
    counts: Mapping[str, Mapping[str, int]],
    undefined: int,
    config: EvaluateConfig,
) -> list[str]:
    """Return the notes; ``undefined`` draws lacked a class altogether."""
    notes = [*_seeds(arrangement), *_classes(counts), *_folds(arrangement)]
    notes += [
        f"{100 * fraction:g} % of the labels are left out: with seed "
        f"{', '.join(map(str, seeds))} they were too few groups to learn from."
        for fraction, seeds in arrangement.left_out.items()
    ]
    if undefined:
        notes.append(arrangement.measures.undefined(undefined, config.draws))
    if config.weigh == "group":
        notes.append(
            "Every test group (a patient, or duplicates of one image) counts once: its images "
            "share its weight, so duplicated images count once."
        )
    if config.test == "sign_flip":
        notes.append(
            "p comes from the exact sign-flip test over seeds, which says nothing about other "
            "test images; the interval comes from the bootstrap, so the two may disagree."
        )
    return notes + arrangement.measures.notes()


def cannot_pass(family: int, seeds: int, config: EvaluateConfig) -> str:
    """Say so where no p could stay under ``LEVEL`` after Holm's correction, else nothing."""
    flips = config.test == "sign_flip"
    least = 2 / 2**seeds if flips else least_p(config.draws)
    if family * least < LEVEL:
        return ""
    found = f"{seeds} seeds" if flips else f"{config.draws} draws"
    # 2 m / (draws + 1) < 1 / 20 from 40 m draws on.
    remedy = "run more seeds" if flips else f"set evaluate.draws to {40 * family} or more"
    return (
        f"With {found} p cannot fall below {least:.2g}, and Holm multiplies the least of "
        f"{family} by {family}: no comparison could pass {LEVEL:g}, however large; {remedy}."
    )


def _seeds(arrangement: Arrangement) -> list[str]:
    n = len(arrangement.repetitions)
    unit = "repetition of all folds" if arrangement.folds else "seed"
    if n == 1:
        return [
            f"One {unit}: the intervals hold the chance of the test set alone, and nothing "
            "of the chance of training; another seed may rank the recipes otherwise."
        ]
    if n < ENOUGH_SEEDS:
        wider = stats.t.ppf(0.975, n - 1) / stats.norm.ppf(0.975)
        return [
            f"{n} {unit}s: their part of the intervals is Student's, with {n - 1} degrees of "
            f"freedom; for want of more {unit}s it is {wider:.1f} times as wide as their "
            "spread alone would make it."
        ]
    return []


def _classes(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    absent = [name for name, count in counts.items() if not count["n_images"]]
    few = [
        f"{name} {count['n_groups']}"
        for name, count in counts.items()
        if 0 < count["n_groups"] < FEW_GROUPS
    ]
    notes = []
    if absent:
        notes.append(
            f"No test image shows {', '.join(absent)}; means over classes leave it out."
        )
    if few:
        notes.append(
            f"Fewer than {FEW_GROUPS} test groups in a class ({', '.join(few)}): the intervals "
            "are rough and rather too narrow, and can show large differences only."
        )
    return notes


def _folds(arrangement: Arrangement) -> list[str]:
    if not arrangement.folds:
        return []
    sizes = {len(seeds) for seeds in arrangement.repetitions}
    notes = [
        "Folds: each seed tested another part of the images; the parts are pooled and scored "
        f"together, so {arrangement.measures.pooled()}. Seeds and folds are confounded: "
        "the chance of training and the chance of the fold cannot be told apart."
    ]
    if len(sizes) > 1:
        notes.append("Not all repetitions cover all folds: add the missing seeds.")
    return notes
