"""What a reader of the scores must know, in sentences with numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy import stats

from maskwise.evaluate.arrangement import Arrangement, Curve
from maskwise.evaluate.config import EvaluateConfig, Primary
from maskwise.evaluate.resampling import LEAST
from maskwise.wording import count

FEW_GROUPS = 30
"""Test groups in a class, below which an interval is a rough guide."""
ENOUGH_SEEDS = 10
FEW_VALIDATION = 10
"""Validation images below which what is chosen by them is chosen by chance."""


@dataclass(frozen=True)
class Stuck:
    """A curve some of whose networks gave nearly all images one answer, or a perfect one."""

    curve: Curve
    what: str
    """A clause of one of them: "nothing was outlined in 99 % of the test images"."""
    networks: int
    of: int

    def entry(self) -> dict[str, Any]:
        """Return it as JSON."""
        recipe, mode, fraction = self.curve
        return {
            "recipe": recipe,
            "mode": mode,
            "fraction": float(fraction),
            "what": self.what,
            "networks": self.networks,
            "of": self.of,
        }

    def note(self) -> str:
        """Return it as a sentence."""
        recipe, mode, fraction = self.curve
        return (
            f"{recipe} ({mode}, {100 * fraction:g} % of the labels): {self.what}, or the like, "
            f"by {self.networks} of {self.of} networks; a difference to a recipe that did the "
            "same says nothing about either."
        )


@dataclass(frozen=True)
class Validation:
    """What epochs and learning rates were chosen by, of each fraction the least."""

    images: Mapping[float, int]
    classes: Mapping[float, int] | None
    """None where no class is learnt."""

    def entry(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            str(fraction): {
                "n_images": n,
                "n_classes": None if self.classes is None else self.classes[fraction],
            }
            for fraction, n in self.images.items()
        }

    def notes(self) -> list[str]:
        """Return what is too little."""
        notes = []
        for fraction, n in self.images.items():
            where = f"{100 * fraction:g} % of the labels: some seed was validated on"
            if n < FEW_VALIDATION:
                notes.append(
                    f"{where} {count(n, 'image')}, fewer than {FEW_VALIDATION}: its "
                    "probabilities were calibrated, and a learning rate was chosen where "
                    "several were tried, almost by chance."
                )
            if self.classes is not None and self.classes[fraction] < 2:
                notes.append(
                    f"{where} images of one class alone, which cannot tell a good network from "
                    "one that always names this class."
                )
        return notes


def count_validation(subsets: pd.DataFrame, task: str) -> Validation:
    """Count the fewest validation images, and classes among them, that a seed had."""
    rows = subsets[subsets["role"] == "validation"]
    counted = rows.groupby(["fraction", "recipe", "seed"]).agg(
        images=("image_id", "nunique"), classes=("label", "nunique")
    )
    least = counted.groupby("fraction").min()
    images, classes = (
        {float(fraction): int(n) for fraction, n in least[name].items()}
        for name in ("images", "classes")
    )
    return Validation(images, classes if task == "diagnosis" else None)


def class_counts(arrangement: Arrangement) -> dict[str, dict[str, int]]:
    """Count the test images that show each class, and their groups."""
    images, measures = arrangement.images(), arrangement.measures
    shows = measures.shows[images["truth"]]  # (n, classes)
    return {
        name: {
            "n_images": int(shows[:, place].sum()),
            "n_groups": int(images.loc[shows[:, place], "group"].nunique()),
        }
        for place, name in enumerate(measures.classes)
    }


def write_notes(
    arrangement: Arrangement,
    counts: Mapping[str, Mapping[str, int]],
    undefined: int,
    config: EvaluateConfig,
) -> list[str]:
    """Return the notes; ``undefined`` draws lacked a class altogether."""
    notes = [
        *_repetitions(arrangement),
        *_classes(counts, arrangement.measures.noun),
        *_folds(arrangement),
    ]
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


def about_primary(primary: Primary | None, run: frozenset[Any]) -> list[str]:
    """Say what was named beforehand and when, and what of it was not run.

    ``run`` holds ``(recipe, mode, fraction)``.
    """
    if primary is None:
        return [
            "Nothing was named beforehand (evaluate.primary), so all comparisons are "
            "exploration and have no p."
        ]
    named = ", ".join(f"{one} against {other}" for one, other in primary.comparisons)
    point = (primary.mode, primary.fraction)
    notes = [
        f"Named beforehand, on {primary.written.isoformat()}: {named} ({primary.mode}, "
        f"{100 * primary.fraction:g} % of the labels). Holm's correction counts these; all "
        "other comparisons are exploration and have no p."
    ]
    missing = [
        f"{one} against {other}"
        for one, other in primary.comparisons
        if not {(one, *point), (other, *point)} <= run
    ]
    if missing:
        notes.append(f"Named beforehand, but not run: {', '.join(missing)}.")
    return notes


def _repetitions(arrangement: Arrangement) -> list[str]:
    n = len(arrangement.repetitions)
    unit = "fold" if arrangement.folds else "seed"
    if n < LEAST:
        once = f"One {unit}" if n == 1 else f"{n} {unit}s"
        return [
            f"{once}: the intervals cover only the choice of test images. What another "
            f"training would give is not estimated below {LEAST} repetitions, and no p is "
            "given; another seed may rank the recipes differently."
        ]
    if n < ENOUGH_SEEDS:
        wider = stats.t.ppf(0.975, n - 1) / stats.norm.ppf(0.975)
        return [
            f"{n} {unit}s: their part of the intervals is Student's, with {n - 1} degrees of "
            f"freedom; with so few {unit}s it is {wider:.1f} times as wide as their "
            "spread alone would make it."
        ]
    return []


def _classes(counts: Mapping[str, Mapping[str, int]], noun: str) -> list[str]:
    absent = [name for name, count in counts.items() if not count["n_images"]]
    few = [
        f"{name} {count['n_groups']}"
        for name, count in counts.items()
        if 0 < count["n_groups"] < FEW_GROUPS
    ]
    notes = []
    if absent:
        notes.append(
            f"No test image shows {', '.join(absent)}; means over {_plural(noun)} leave it out."
        )
    if few:
        notes.append(
            f"Fewer than {FEW_GROUPS} test groups in a {noun} ({', '.join(few)}): the "
            "intervals are rough and rather too narrow, and can show large differences only."
        )
    return notes


def _plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith("s") else f"{noun}s"


def _folds(arrangement: Arrangement) -> list[str]:
    if not arrangement.folds:
        return []
    folds, networks = len(arrangement.repetitions), arrangement.networks
    notes = [
        f"{count(folds, 'fold')}, each tested by {count(networks, 'network')} of its own. A "
        "fold is scored by itself and a figure is the mean of the folds; the repetition is the "
        "fold's network, not its test group. Intervals are Student's with "
        f"{count(folds - 1, 'degree')} of freedom, and the variance is enlarged because the "
        "networks' training images overlap (Nadeau and Bengio 2003, "
        f"n_test / n_train = 1 / {folds - 1}, nominal)."
    ]
    if networks == 1:
        notes.append(
            "One network per fold: the chance of training and the chance of the fold cannot "
            f"be told apart; seeds that are {folds} apart share a fold, so twice as many seeds "
            "train two per fold."
        )
    if len({len(seeds) for seeds in arrangement.repetitions}) > 1:
        notes.append("Not all folds have the same number of networks: add the missing seeds.")
    return notes
